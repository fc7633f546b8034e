//! What a TPM, or whoever sits before it, may answer to the commands of the agent.

use std::collections::VecDeque;
use std::io;
use std::sync::LazyLock;
use std::time::Instant;

use evidence::{AkTemplate, Algorithm, Challenge, Hash, Hierarchy, PcrSelection, SvidKeyTemplate};
use tpm::{Activation, Auth, Created, Keyring, Native, SignatureScheme, Tpm, Transport};

use crate::machine::exchanges;
use crate::parts::Parts;

/// Responses in a row to the commands of one operation.
pub(crate) fn tpm_response(data: &[u8]) {
    let mut parts = Parts::of(data);
    let choice = parts.byte();
    let responses: VecDeque<_> = (0..MOST_RESPONSES)
        .map(|_| announced(parts.next()))
        .collect();
    // The response to TPM2_CreatePrimary names the key: by the key's own Name.
    let named = responses[0].clone();
    let mut tpm = Native::new(Script(responses));
    // In the past: nothing is waited for.
    let now = Instant::now();
    let none = Auth::default();
    match choice % 12 {
        0 => drop(tpm.property(0x12C, now)),
        1 => {
            if let Ok(Some(contents)) = tpm.read_nv(0x01C0_0002, &none, now) {
                assert!(contents.len() <= tpm::limits::NV);
            }
        }
        2 => {
            if let Ok(Some(key)) = tpm.persistent(0x8101_0001, now) {
                assert_eq!(key.public.name(), Some(key.name));
            }
        }
        3 => {
            let template = AkTemplate::EccP256.public();
            if let Ok(created) = tpm.create_primary(Hierarchy::Endorsement, &template, &none, now) {
                let name = created.key.name;
                assert_eq!(created.key.public.name().as_ref(), Some(&name));
                let said = named.windows(name.as_bytes().len());
                assert!(said.into_iter().any(|said| said == name.as_bytes()));
            }
        }
        4 => {
            let asked = [PcrSelection::new(Hash::Sha256, &[0, 4, 7])];
            if let Ok(banks) = tpm.read_pcrs(&asked, now) {
                let [bank] = banks.as_slice() else {
                    panic!("one bank was asked for")
                };
                assert_eq!(bank.values.keys().copied().collect::<Vec<_>>(), [0, 4, 7]);
                assert!(bank.values.values().all(|value| value.len() == 32));
            }
        }
        5 => {
            let asked = [PcrSelection::new(Hash::Sha256, &[0])];
            if let Ok(signed) = tpm.quote(&AK.key, &[7; 32], &asked, now) {
                assert!(evidence::Attest::parse(&signed.attest).is_ok());
                assert!(evidence::Signature::parse(&signed.signature).is_ok());
            }
        }
        6 => activate(&mut tpm, &none, now),
        7 => keys(tpm, now),
        8 => {
            if let Ok(signed) = tpm.certify(&AK.key, &AK.key, &[7; 32], now) {
                assert!(evidence::Attest::parse(&signed.attest).is_ok());
                assert!(evidence::Signature::parse(&signed.signature).is_ok());
            }
        }
        9 => drop(tpm.clock(now)),
        10 => {
            if let Ok(context) = tpm.save_context(&AK.key, now) {
                drop(tpm.load_context(&context, now));
            }
        }
        _ => drop(tpm.supports(&AkTemplate::EccP256.public(), now)),
    }
}

/// The SRK, a key below it, and what it signs.
fn keys(tpm: Native, now: Instant) {
    let Ok(mut keyring) = Keyring::open(Box::new(tpm), Auth::default(), now) else {
        return;
    };
    assert!(keyring.parent().is_storage_root());
    let Ok(made) = keyring.generate(SvidKeyTemplate::EccP256, now) else {
        return;
    };
    // It is loaded under its Name, so that nothing is asked for.
    assert!(keyring.load(&made, now).is_ok());
    let scheme = SignatureScheme::Ecdsa(Hash::Sha256);
    if let Ok(signature) = keyring.sign(&made, &[7; 32], scheme, now) {
        let hash = Hash::Sha256.algorithm();
        assert_eq!(
            (signature.algorithm, signature.hash),
            (Algorithm::ECDSA, hash)
        );
        assert!(
            made.public
                .subject_key()
                .is_none_or(|key| key.point().is_some())
        );
    }
}

/// Unsalted: a salted session has a key that no input guesses.
fn activate(tpm: &mut Native, none: &Auth, now: Instant) {
    let credential = &CHALLENGE.credential;
    let activation = Activation {
        ak: &AK.key,
        ek: &AK.key,
        credential,
        endorsement_auth: none,
        salted: false,
    };
    if let Ok(secret) = tpm.activate(&activation, now) {
        assert!(secret.expose().len() <= 64);
    }
}

/// The transport hands over whole responses: as long as their headers say.
fn announced(response: &[u8]) -> Vec<u8> {
    let mut response = response.to_vec();
    let [.., a, b, c, d] = response.len().to_be_bytes();
    if let Some(size) = response.get_mut(2..6) {
        size.copy_from_slice(&[a, b, c, d]);
    }
    response
}

struct Script(VecDeque<Vec<u8>>);

impl Transport for Script {
    fn exchange(&mut self, command: &[u8], _deadline: Instant) -> io::Result<Vec<u8>> {
        assert!(command.len() <= tpm::limits::MESSAGE);
        self.0
            .pop_front()
            .ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

const MOST_RESPONSES: usize = 6;

static CHALLENGE: LazyLock<Challenge> = LazyLock::new(|| {
    let [_, challenge, _] = exchanges().remove(0);
    Challenge::decode(&challenge).expect("an honest challenge")
});

/// A key that a TPM made, as far as anybody can tell.
static AK: LazyLock<Created> = LazyLock::new(|| {
    let created = seeds::created(&AkTemplate::EccP256.public());
    let mut tpm = Native::new(Script([created].into()));
    let template = AkTemplate::EccP256.public();
    tpm.create_primary(
        Hierarchy::Endorsement,
        &template,
        &Auth::default(),
        Instant::now(),
    )
    .expect("a healthy response")
});

/// Responses of a healthy TPM.
pub(crate) mod seeds {
    use evidence::{AkTemplate, EkTemplate, Hash, PcrSelection, Public, Writer};
    use softtpm::{Key, KeyKind, Role, SoftTpm, SvidKey};

    use crate::parts::part;

    fn plain(parameters: Writer) -> Vec<u8> {
        let header = Writer::new().u16(0x8001).u32(0).u32(0);
        super::announced(&header.raw(&parameters.finish()).finish())
    }

    /// To a command with a password: a handle, if any, the parameters with their size, and a session.
    fn authorized(handle: &[u8], parameters: Writer) -> Vec<u8> {
        let parameters = parameters.finish();
        let size = u32::try_from(parameters.len()).expect("a short response");
        let header = Writer::new().u16(0x8002).u32(0).u32(0).raw(handle);
        let body = header.u32(size).raw(&parameters).u16(0).u8(1).u16(0);
        super::announced(&body.finish())
    }

    pub(super) fn created(public: &Public) -> Vec<u8> {
        let name = public.name().expect("a Name");
        let parameters = Writer::new()
            .sized(public.as_bytes())
            .sized(&[1])
            .sized(&[2; 32]);
        let ticket = parameters.u16(0x8021).u32(0x4000_000B).sized(&[3; 32]);
        authorized(&[0x80, 0, 0, 0], ticket.sized(name.as_bytes()))
    }

    fn of(choice: u8, responses: &[Vec<u8>]) -> Vec<u8> {
        let parts: Vec<_> = responses.iter().map(|response| part(response)).collect();
        [&[choice], parts.concat().as_slice()].concat()
    }

    pub(crate) fn tpm_response() -> Vec<Vec<u8>> {
        let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).expect("samples");
        let selections = [PcrSelection::new(Hash::Sha256, &[0, 4, 7])];
        let evidence = tpm.quote(&[7; 32], &selections).expect("a quote");
        let ek = EkTemplate::L2.public(&[]);
        let name = ek.name().expect("a Name");
        let index = Writer::new()
            .u32(0x01C0_0002)
            .u16(11)
            .u32(0x6207_2001)
            .u16(0)
            .u16(3)
            .finish();
        let list = PcrSelection::encode_list(&selections);
        let values = tpm.read_pcrs(&selections).remove(0).values;
        let values = values
            .values()
            .fold(Writer::new().u32(3), |out, value| out.sized(value));
        vec![
            of(
                0,
                &[plain(
                    Writer::new().u8(0).u32(6).u32(1).u32(0x12C).u32(1024),
                )],
            ),
            of(
                1,
                &[
                    plain(Writer::new().sized(&index).sized(&[0; 34])),
                    authorized(&[], Writer::new().sized(&[7; 3])),
                ],
            ),
            of(
                2,
                &[plain(
                    Writer::new()
                        .sized(ek.as_bytes())
                        .sized(name.as_bytes())
                        .sized(name.as_bytes()),
                )],
            ),
            of(3, &[created(&AkTemplate::EccP256.public())]),
            of(
                4,
                &[plain(Writer::new().u32(1).raw(&list).raw(&values.finish()))],
            ),
            of(
                5,
                &[authorized(
                    &[],
                    Writer::new()
                        .sized(&evidence.quote)
                        .raw(&evidence.signature),
                )],
            ),
            of(
                6,
                &[
                    plain(Writer::new().u32(0x0300_0000).sized(&[4; 32])),
                    authorized(
                        &[],
                        Writer::new()
                            .sized(&[])
                            .u16(0x8023)
                            .u32(0x4000_0007)
                            .sized(&[]),
                    ),
                    authorized(&[], Writer::new().sized(&[5; 32])),
                ],
            ),
        ]
        .into_iter()
        .chain(keys())
        .collect()
    }

    /// To what is asked with the keys of SVIDs.
    fn keys() -> Vec<Vec<u8>> {
        let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).expect("samples");
        let root = tpm.storage_root().expect("a storage root key");
        let key = Key::sample(Role::Other, KeyKind::P256).expect("a sample");
        let key = SvidKey::new(key, tpm.storage_parent().expect("a parent"));
        let (name, root_name) = (key.name().expect("a Name"), root.name().expect("a Name"));
        let persistent = Writer::new()
            .sized(root.as_bytes())
            .sized(root_name.as_bytes())
            .sized(root_name.as_bytes());
        let created = Writer::new()
            .sized(&[9; 32])
            .sized(key.public.as_bytes())
            .sized(&[1])
            .sized(&[2; 32])
            .u16(0x8021)
            .u32(0x4000_0001)
            .sized(&[3; 32]);
        let loaded = Writer::new().sized(name.as_bytes());
        let signature = key.sign(&[7; 32]).expect("a signature").encode();
        let certified = tpm.certify(&key, &[7; 32]).expect("a certification");
        let certified = Writer::new()
            .sized(&certified.attest)
            .raw(&certified.signature);
        let clock = Writer::new().u64(1).u64(2).u32(3).u32(4).u8(1);
        let context = Writer::new().u64(1).u32(0x8000_0000).u32(0x4000_0001);
        let handle = [0x80, 0, 0, 1];
        vec![
            of(
                7,
                &[
                    plain(persistent),
                    authorized(&[], created),
                    authorized(&handle, loaded),
                    authorized(&[], Writer::new().raw(&signature)),
                ],
            ),
            of(8, &[authorized(&[], certified)]),
            of(9, &[plain(clock)]),
            of(
                10,
                &[
                    plain(context.sized(&[5; 40])),
                    plain(Writer::new().raw(&handle)),
                ],
            ),
            of(11, &[plain(Writer::new())]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_get_as_far_as_a_signature() {
        let seeds = seeds::tpm_response();
        let seed = seeds.iter().find(|seed| seed[0] == 7).unwrap();
        let mut parts = Parts::of(&seed[1..]);
        let responses = (0..4).map(|_| announced(parts.next())).collect();
        let now = Instant::now();
        let tpm = Box::new(Native::new(Script(responses)));
        let mut keyring = Keyring::open(tpm, Auth::default(), now).unwrap();
        let made = keyring.generate(SvidKeyTemplate::EccP256, now).unwrap();
        let scheme = SignatureScheme::Ecdsa(Hash::Sha256);
        keyring.sign(&made, &[7; 32], scheme, now).unwrap();
    }
}
