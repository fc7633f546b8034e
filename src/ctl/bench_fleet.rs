//! The machines of a load: each with an EK of its own, and with its first message made ahead.

use std::collections::VecDeque;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use evidence::{Algorithm, Hash, SvidKeyTemplate};
use softtpm::{Ak, Generation, Key, KeyKind, Parent, Prover, SoftTpm};

use crate::bench::{KeyType, Wire};
use crate::bench_boot::{Booted, Logs};
use crate::bench_keys::{Keys, in_parallel};
use crate::bench_pki::Authority;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::trial::TRUST_DOMAIN;

/// A machine that is about to attest.
pub(crate) struct Machine {
    pub(crate) prover: Prover,
    /// The first message.
    pub(crate) payload: Vec<u8>,
    /// The address that SPIRE would tell.
    pub(crate) address: String,
    /// The last part of the SPIFFE ID that it should get.
    pub(crate) ek_hash: String,
}

/// What machines are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) ek: KeyKind,
    pub(crate) ak: KeyType,
    pub(crate) ca_key: KeyType,
    pub(crate) wire: Wire,
}

/// The keys of all machines and authorities.
pub(crate) struct Maker {
    model: Model,
    eks: Vec<Key>,
    aks: Vec<Ak>,
    ca_keys: Vec<Key>,
}

/// Machines that take turns.
pub(crate) struct Fleet {
    waiting: Mutex<VecDeque<Machine>>,
    /// What becomes of their logs.
    pub(crate) logs: Logs,
    /// How many SVID keys each offers.
    pub(crate) svid_keys: usize,
}

/// What a fleet brings besides EKs and AKs.
#[derive(Clone, Copy)]
pub(crate) struct Outfit<'a> {
    /// What its machines have booted.
    pub(crate) booted: Option<&'a Booted>,
    /// What becomes of the logs.
    pub(crate) logs: Logs,
    /// SVID keys of each machine.
    pub(crate) svid_keys: usize,
}

impl Maker {
    /// Makes all keys that are not in the cache.
    pub(crate) fn new(
        model: Model,
        machines: usize,
        authorities: usize,
        keys: &Keys,
    ) -> Result<Self, Failure> {
        let ca_keys = keys.of("ca", model.ca_key.kind(), authorities)?;
        let aks = keys.of("ak", model.ak.kind(), machines.min(AKS))?;
        let aks = aks.into_iter().map(|key| attestation_key(key, model));
        Ok(Self {
            model,
            eks: keys.of("ek", model.ek, machines)?,
            aks: aks.collect::<Result<_, _>>()?,
            ca_keys,
        })
    }

    /// Machines without certificates, and in `directory` a file for each, named by its hash.
    pub(crate) fn enrolled(&self, directory: &Path, outfit: Outfit<'_>) -> Result<Fleet, Failure> {
        for ek in &self.eks {
            let name = ek.subject_key().ek_hash().hex();
            fs::write(directory.join(name), "").map_err(|error| unwritable(directory, &error))?;
        }
        self.machines("machines made", outfit, |_| Some(None))
    }

    /// Machines with certificates, each by one of as many authorities as asked for, and in `directory` a file for each authority.
    pub(crate) fn certified(
        &self,
        authorities: usize,
        directory: &Path,
        outfit: Outfit<'_>,
    ) -> Result<Fleet, Failure> {
        let keys = self.ca_keys.iter().take(authorities);
        let authorities: Vec<_> = keys
            .enumerate()
            .map(|(index, key)| Authority::new(&format!("Maker of TPMs {index}"), key))
            .collect::<Result<_, _>>()
            .map_err(|error| internal(&error))?;
        for (index, authority) in authorities.iter().enumerate() {
            let pem = authority.pem().map_err(|error| internal(&error))?;
            let file = directory.join(format!("{index:04}.pem"));
            fs::write(&file, pem).map_err(|error| unwritable(&file, &error))?;
        }
        self.machines("machines certified", outfit, |index| {
            let authority = authorities.get(index % authorities.len())?;
            let ek = self.eks.get(index)?;
            Some(Some(authority.certify(ek.subject_key()).ok()?))
        })
    }

    /// One more machine of this kind, whose EK nobody knows.
    pub(crate) fn stranger(&self) -> Result<Prover, Failure> {
        let ek = Key::generate(self.model.ek).map_err(|error| internal(&error))?;
        let ak = self.aks.first().cloned();
        let ak = ak.ok_or_else(|| internal(&"no machines"))?;
        Ok(self.prover(SoftTpm::new(ek, ak)))
    }

    fn machines(
        &self,
        what: &str,
        outfit: Outfit<'_>,
        certificate: impl Fn(usize) -> Option<Option<Vec<u8>>> + Sync,
    ) -> Result<Fleet, Failure> {
        let machines = in_parallel(what, self.eks.len(), |index| {
            let ek = self.eks.get(index)?.clone();
            let ak = self.aks.get(index % self.aks.len())?.clone();
            let mut prover = self.prover(SoftTpm::new(ek, ak));
            prover.certificate = certificate(index)?;
            if let Some(booted) = outfit.booted {
                booted.by(&mut prover, outfit.logs);
            }
            for _ in 0..outfit.svid_keys {
                let made = prover.tpm.make_svid_key(SvidKeyTemplate::EccP256);
                made.ok()?;
            }
            Machine::new(prover, index).ok()
        })?;
        Ok(Fleet {
            waiting: Mutex::new(machines.into()),
            logs: outfit.logs,
            svid_keys: outfit.svid_keys,
        })
    }

    fn prover(&self, tpm: SoftTpm) -> Prover {
        let mut prover = Prover::new(tpm, TRUST_DOMAIN);
        prover.generation = match self.model.wire {
            Wire::First => Generation::First,
            Wire::Current => Generation::Current,
        };
        prover
    }
}

impl Machine {
    /// A machine whose address follows from its number.
    pub(crate) fn new(mut prover: Prover, index: usize) -> Result<Self, Failure> {
        let payload = prover.payload().map_err(|error| internal(&error))?;
        Ok(Self {
            payload,
            address: address(index),
            ek_hash: prover.tpm.ek_hash().hex(),
            prover,
        })
    }
}

impl Fleet {
    /// The machine whose turn it is; none if all are under way.
    pub(crate) fn take(&self) -> Option<Machine> {
        self.waiting().pop_front()
    }

    /// How many wait for their turn.
    pub(crate) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Its turn is over; the others come first now.
    pub(crate) fn put(&self, machine: Machine) {
        self.waiting().push_back(machine);
    }

    /// First messages of as many machines, beginning again where there are fewer.
    pub(crate) fn payloads(&self, count: usize) -> Vec<Vec<u8>> {
        let waiting = self.waiting();
        let payloads = waiting.iter().map(|machine| machine.payload.clone());
        payloads.cycle().take(count).collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Machine>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyType {
    fn kind(self) -> KeyKind {
        match self {
            Self::Rsa => KeyKind::Rsa2048,
            Self::Ecc => KeyKind::P256,
        }
    }
}

/// An address in 10.0.0.0/8 for a number.
pub(crate) fn address(index: usize) -> String {
    let number = u32::try_from(index % (1 << 24)).unwrap_or_default();
    Ipv4Addr::from(0x0A00_0000 | number).to_string()
}

/// Distinct attestation keys, which machines share.
const AKS: usize = 64;

/// The AK of an agent of the first generation hangs under the SRK.
fn attestation_key(key: Key, model: Model) -> Result<Ak, Failure> {
    let algorithm = match model.ak {
        KeyType::Rsa => Algorithm::RSASSA,
        KeyType::Ecc => Algorithm::ECDSA,
    };
    let ak = Ak::new(key, algorithm, Hash::Sha256);
    match model.wire {
        Wire::Current => Ok(ak),
        Wire::First => Ok(ak.under(Parent::srk().map_err(|error| internal(&error))?)),
    }
}

fn internal(error: &impl ToString) -> Failure {
    Failure::new(Exit::Internal, "bench_failed", error.to_string())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::new(Exit::Environment, "output_failed", message)
}
