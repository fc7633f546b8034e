//! One machine's attestation keys, kept ready: the EK, the AK as a primary of the endorsement hierarchy, and what they sign.

use std::time::{Duration, Instant};

use evidence::{
    AkTemplate, Attest, AttestationKey, Attested, Capability, Creation, Credential, EndorsementKey,
    Hash, Hierarchy, Offer, OfferExtension, PcrBank, PcrSelection, Secret, VERSION, pcr_digest,
};

use crate::endorsement::Search;
use crate::operations::signing_hash;
use crate::storage_root::StorageRoot;
use crate::{Activation, Auth, Context, EkChoice, Endorsement, Error, Key, Signed, Tpm, limits};

/// How to attest.
#[derive(Clone)]
pub struct Options {
    /// Which EK identifies the machine.
    pub ek: EkChoice,
    /// Which AK is made.
    pub ak: AkTemplate,
    /// Password of the endorsement hierarchy, usually empty.
    pub endorsement_auth: Auth,
    /// Password of the owner hierarchy, for NV indices that only the owner may read, and for making the
    /// SRK where it is not persistent.
    pub owner_auth: Auth,
    /// An EK certificate in DER or PEM, used instead of the TPM's own.
    pub ek_certificate: Option<Vec<u8>>,
    /// Whether activated secrets cross the bus encrypted, in a session that is salted to the EK. It
    /// takes no further command, but one more private-key operation of the EK.
    pub salted: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ek: EkChoice::Auto,
            ak: AkTemplate::EccP256,
            endorsement_auth: Auth::default(),
            owner_auth: Auth::default(),
            ek_certificate: None,
            salted: true,
        }
    }
}

/// The keys of a machine inside its TPM.
///
/// When their handles get lost (the TPM was reset, the machine resumed, the connection broke), or
/// the TPM has no room, they are made again, once a call. Dropping it removes them from the TPM.
pub struct Attestor {
    pub(crate) tpm: Box<dyn Tpm>,
    pub(crate) options: Options,
    pub(crate) endorsement: Endorsement,
    pub(crate) ak: Key,
    creation: Option<Creation>,
    /// Whether the keys are in the TPM, as far as is known.
    pub(crate) present: bool,
    /// The SRK above SVID keys, once it was asked for.
    pub(crate) root: Option<StorageRoot>,
    pub(crate) aside: Aside,
}

/// The EK outside the TPM, where it would take the place of another key.
#[derive(Default)]
pub(crate) struct Aside {
    /// What brings it back.
    pub(crate) context: Option<Context>,
    /// Whether it is outside now.
    pub(crate) is_out: bool,
    /// Whether the TPM has no room for the EK even while a persistent SRK is used.
    pub(crate) is_needed: bool,
}

/// What the first message of an attestation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferParts {
    /// The EK certificate, in DER.
    pub certificate: Option<Vec<u8>>,
    /// The EK's canonical SubjectPublicKeyInfo, in DER.
    pub public_key: Vec<u8>,
    /// The AK's TPMT_PUBLIC.
    pub ak_public: Vec<u8>,
    /// The AK's statement about its own creation; `None` from the `tss` back end.
    pub creation: Option<Creation>,
    /// Certificates between the EK certificate and an anchor, in DER.
    pub intermediates: Vec<Vec<u8>>,
}

impl OfferParts {
    /// The first message with all that this project's agents offer: `evidence` is what the caller
    /// can give, `boot_id` the kernel's.
    pub fn into_offer(self, evidence: Vec<Capability>, boot_id: Option<String>) -> Offer {
        Offer {
            ek: EndorsementKey {
                certificate: self.certificate,
                public_key: Some(self.public_key),
            },
            ak: AttestationKey {
                public: self.ak_public,
                creation: self.creation,
            },
            extension: Some(OfferExtension {
                min_version: VERSION,
                max_version: VERSION,
                evidence,
                ek_intermediates: self.intermediates,
                svid_keys: Vec::new(),
                svid_parent: None,
                log_sha256: None,
                boot_id,
            }),
        }
    }
}

/// A quote and the values that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// TPMS_ATTEST and TPMT_SIGNATURE.
    pub signed: Signed,
    /// The PCR values, whose digest is in the quote.
    pub pcrs: Vec<PcrBank>,
}

impl Attestor {
    /// Finds the EK, makes the AK and has it certify its own creation.
    pub fn open(mut tpm: Box<dyn Tpm>, options: Options, deadline: Instant) -> Result<Self, Error> {
        let endorsement = Endorsement::find(&mut *tpm, &search(&options), deadline)?;
        match make_ak(&mut *tpm, &options, deadline) {
            Ok((ak, creation)) => Ok(Self {
                tpm,
                options,
                endorsement,
                ak,
                creation,
                present: true,
                root: None,
                aside: Aside::default(),
            }),
            Err(error) => {
                endorsement.discard(&mut *tpm, deadline);
                Err(error)
            }
        }
    }

    /// The EK in use.
    pub fn endorsement(&self) -> &Endorsement {
        &self.endorsement
    }

    /// The AK in use.
    pub fn ak(&self) -> &Key {
        &self.ak
    }

    /// What there is to offer. No command is sent.
    pub fn offer(&self) -> OfferParts {
        let key = self.endorsement.key.public.subject_key();
        OfferParts {
            certificate: self.endorsement.certificate.clone(),
            public_key: key.map(|key| key.spki()).unwrap_or_default(),
            ak_public: self.ak.public.as_bytes().to_vec(),
            creation: self.creation.clone(),
            intermediates: self.endorsement.intermediates.clone(),
        }
    }

    /// Opens a credential that was made for this EK and this AK.
    pub fn activate(
        &mut self,
        credential: &Credential,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        self.with_keys(deadline, |this| {
            let activation = Activation {
                ak: &this.ak,
                ek: &this.endorsement.key,
                credential,
                endorsement_auth: &this.options.endorsement_auth,
                salted: this.options.salted,
            };
            this.tpm.activate(&activation, deadline)
        })
    }

    /// Quotes the selected PCRs with `binding` (at most 32 bytes) as extraData. A PCR that changes
    /// between the quote and the reading makes both happen again, [`limits::PCR_READS`] times.
    pub fn quote(
        &mut self,
        binding: &[u8],
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Quoted, Error> {
        self.with_keys(deadline, |this| {
            for _ in 0..limits::PCR_READS {
                let signed = this.tpm.quote(&this.ak, binding, selections, deadline)?;
                let pcrs = this.tpm.read_pcrs(selections, deadline)?;
                if agrees(&this.ak, &signed, selections, &pcrs) {
                    return Ok(Quoted { signed, pcrs });
                }
            }
            Err(Error::PcrsChanging)
        })
    }

    pub(crate) fn with_keys<T>(
        &mut self,
        deadline: Instant,
        mut operation: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if !self.present {
            self.restore(deadline)?;
            return operation(self);
        }
        match operation(self) {
            Err(error) if error.lost_handles() || error.exhausted() => {
                // What may still be there goes first, since a TPM has few places.
                self.discard(deadline);
                self.restore(deadline)?;
                operation(self)
            }
            outcome => outcome,
        }
    }

    fn restore(&mut self, deadline: Instant) -> Result<(), Error> {
        let search = search(&self.options);
        self.endorsement
            .restore(&mut *self.tpm, &search, deadline)?;
        match self.same_ak(deadline) {
            Ok(ak) => {
                self.ak = ak;
                self.present = true;
                Ok(())
            }
            Err(error) => {
                self.endorsement.discard(&mut *self.tpm, deadline);
                Err(error)
            }
        }
    }

    fn same_ak(&mut self, deadline: Instant) -> Result<Key, Error> {
        let template = self.options.ak.public();
        let auth = &self.options.endorsement_auth;
        let created = self
            .tpm
            .create_primary(Hierarchy::Endorsement, &template, auth, deadline)?;
        if created.key.name != self.ak.name {
            self.tpm.flush(created.key.handle, deadline).ok();
            return Err(Error::KeysChanged);
        }
        Ok(created.key)
    }

    pub(crate) fn discard(&mut self, deadline: Instant) {
        if self.present {
            self.present = false;
            // They may be gone already.
            self.tpm.flush(self.ak.handle, deadline).ok();
            if !self.aside.is_out {
                self.endorsement.discard(&mut *self.tpm, deadline);
            }
        }
        // Both may be another TPM's by now, or from before a clear.
        self.aside.context = None;
        self.aside.is_out = false;
        self.root = None;
    }
}

impl Drop for Attestor {
    fn drop(&mut self) {
        self.discard(Instant::now() + CLOSING);
    }
}

pub(crate) fn search(options: &Options) -> Search<'_> {
    Search {
        choice: options.ek,
        endorsement_auth: &options.endorsement_auth,
        owner_auth: &options.owner_auth,
        certificate: options.ek_certificate.as_deref(),
    }
}

fn make_ak(
    tpm: &mut dyn Tpm,
    options: &Options,
    deadline: Instant,
) -> Result<(Key, Option<Creation>), Error> {
    let template = options.ak.public();
    let auth = &options.endorsement_auth;
    let created = tpm.create_primary(Hierarchy::Endorsement, &template, auth, deadline)?;
    let Some(record) = created.record else {
        return Ok((created.key, None));
    };
    match tpm.certify_creation(&created.key, &record, deadline) {
        Ok(signed) => {
            let creation = Creation {
                data: record.data,
                attestation: signed.attest,
                signature: signed.signature,
            };
            Ok((created.key, Some(creation)))
        }
        Err(error) => {
            tpm.flush(created.key.handle, deadline).ok();
            Err(error)
        }
    }
}

/// Whether the values hash to the digest in the quote.
fn agrees(ak: &Key, signed: &Signed, selections: &[PcrSelection], pcrs: &[PcrBank]) -> bool {
    let Ok(Attest {
        attested: Attested::Quote { digest, .. },
        ..
    }) = Attest::parse(&signed.attest)
    else {
        return false;
    };
    Hash::from_algorithm(signing_hash(&ak.public))
        .and_then(|hash| pcr_digest(hash, selections, pcrs))
        .is_some_and(|expected| expected == digest)
}

/// How long the removal of the keys may take when nobody waits for it.
const CLOSING: Duration = Duration::from_secs(2);
