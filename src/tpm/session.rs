//! A policy session that satisfies an EK's policy, salted or not (TPM library part 1, sections 19 and 21).

use aws_lc_rs::rand;
use evidence::{
    EkProfile, Encapsulated, Hash, Hierarchy, Public, Symmetric, Writer, cfb_decrypt, kdfa,
    seed_label,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::command::{Acknowledgement, Answer, Authorization, Command};
use crate::{CommandCode, Error, Key};

/// How the policy of an EK is satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EkPolicy {
    /// PolicyA: the endorsement hierarchy's authorisation.
    Secret,
    /// PolicyB: the same, as one of these branches.
    SecretOr([Vec<u8>; 2]),
}

/// What is agreed before the session starts.
pub(crate) struct Opening {
    hash: Hash,
    nonce: Vec<u8>,
    /// The seed, its encrypted form and the size of the AES key.
    salt: Option<(Encapsulated, u16)>,
}

/// A policy session inside the TPM.
pub(crate) struct Session {
    pub(crate) handle: u32,
    hash: Hash,
    nonce_tpm: Vec<u8>,
    /// The session key and the size of the AES key.
    salt: Option<(Zeroizing<Vec<u8>>, u16)>,
}

/// What the response to a command in the session is checked and decrypted with.
pub(crate) struct Exchange {
    hash: Hash,
    nonce_caller: Vec<u8>,
    attributes: u8,
    salt: Option<(Zeroizing<Vec<u8>>, u16)>,
}

impl EkPolicy {
    /// The policy of an EK by the EK Credential Profile, annex B.6.
    pub(crate) fn of(ek: &Public) -> Result<Self, Error> {
        let (profile, hash) = profile(ek)?;
        let branches = profile.policy_b_branches();
        let [a, c] = &branches;
        let command = CommandCode::POLICY_OR.0.to_be_bytes();
        let policy_b = hash.digest(&[&vec![0; hash.size()], &command, a, c]);
        match &ek.auth_policy {
            policy if policy == a => Ok(Self::Secret),
            policy if *policy == policy_b => Ok(Self::SecretOr(branches)),
            _ => Err(Error::UnsupportedPolicy),
        }
    }
}

impl Opening {
    /// Draws the caller's nonce and, for a salted session, wraps a salt to the EK.
    pub(crate) fn new(ek: &Key, salted: bool) -> Result<Self, Error> {
        let (profile, hash) = profile(&ek.public)?;
        let salt = if salted {
            let key = ek.public.subject_key().ok_or(evidence::BadCredential)?;
            let seed = Zeroizing::new(random(hash.size())?);
            let wrapped = Encapsulated::new(&key, hash, seed_label::SECRET, &seed)?;
            Some((wrapped, profile.aes_bits))
        } else {
            None
        };
        Ok(Self {
            hash,
            nonce: random(hash.size())?,
            salt,
        })
    }

    /// TPM2_StartAuthSession.
    pub(crate) fn command(&self, ek: u32) -> Command {
        let null = Hierarchy::Null.handle();
        let empty = Vec::new();
        let (key, encrypted) = match &self.salt {
            Some((wrapped, _)) => (ek, &wrapped.encrypted),
            None => (null, &empty),
        };
        let parameters = Writer::new().sized(&self.nonce).sized(encrypted).u8(POLICY);
        let parameters = match self.salt {
            Some((_, bits)) => parameters.u16(AES).u16(bits).u16(CFB),
            None => parameters.u16(NULL),
        };
        let parameters = parameters.u16(self.hash.algorithm().0);
        Command::new(CommandCode::START_AUTH_SESSION, parameters)
            .handles(&[key, null])
            .returns_handle()
    }

    /// The session that the TPM has started. The key follows from the salt alone, since the
    /// session is bound to nothing (part 1, section 19.6.8).
    pub(crate) fn started(self, answer: &Answer) -> Result<Session, Error> {
        let nonce_tpm = answer.read(|reader| reader.sized(64).map(<[u8]>::to_vec))?;
        let handle = answer.handle.unwrap_or_default();
        let bits = bits(self.hash);
        let salt = self.salt.map(|(wrapped, aes)| {
            let seed = &wrapped.seed;
            (
                kdfa(self.hash, seed, "ATH", &nonce_tpm, &self.nonce, bits),
                aes,
            )
        });
        Ok(Session {
            handle,
            hash: self.hash,
            nonce_tpm,
            salt,
        })
    }
}

impl Session {
    /// Ends the session with one last command: continueSession stays clear, so the TPM removes it.
    /// `names` are those of the command's handles.
    pub(crate) fn authorize(
        self,
        command: Command,
        names: &[&[u8]],
    ) -> Result<(Command, Exchange), Error> {
        let nonce_caller = random(self.hash.size())?;
        let (attributes, hmac) = match &self.salt {
            None => (0, Vec::new()),
            Some((key, _)) => {
                let code = command.code.0.to_be_bytes();
                let mut parts: Vec<&[u8]> = vec![&code];
                parts.extend(names);
                parts.push(&command.parameters);
                let cp_hash = self.hash.digest(&parts);
                let parts: [&[u8]; 4] = [&cp_hash, &nonce_caller, &self.nonce_tpm, &[ENCRYPT]];
                (ENCRYPT, self.hash.hmac(key, &parts))
            }
        };
        let command = command.authorize(Authorization::Session {
            handle: self.handle,
            nonce: nonce_caller.clone(),
            attributes,
            hmac,
        });
        let exchange = Exchange {
            hash: self.hash,
            nonce_caller,
            attributes,
            salt: self.salt,
        };
        Ok((command, exchange))
    }
}

impl Exchange {
    /// Checks the response and decrypts its first parameter, a TPM2B.
    pub(crate) fn open(&self, answer: &mut Answer) -> Result<(), Error> {
        let Some((key, aes_bits)) = &self.salt else {
            return Ok(());
        };
        let forged = Error::NotAuthentic {
            command: answer.command,
        };
        let Some(acknowledgement) = answer.acknowledgements.last() else {
            return Err(forged);
        };
        let code = answer.command.0.to_be_bytes();
        let rp_hash = self.hash.digest(&[&[0; 4], &code, &answer.parameters]);
        let Acknowledgement {
            nonce,
            attributes,
            hmac,
        } = acknowledgement;
        let parts: [&[u8]; 4] = [&rp_hash, nonce, &self.nonce_caller, &[*attributes]];
        let expected = self.hash.hmac(key, &parts);
        if *attributes != self.attributes || !bool::from(expected.ct_eq(hmac)) {
            return Err(forged);
        }
        if decrypt(
            self.hash,
            key,
            *aes_bits,
            [nonce, &self.nonce_caller],
            &mut answer.parameters,
        ) {
            Ok(())
        } else {
            Err(forged)
        }
    }
}

/// Decrypts what follows the size of the first parameter (part 1, section 21.3). False: the
/// parameter is shorter than its size says.
fn decrypt(
    hash: Hash,
    key: &[u8],
    aes_bits: u16,
    [newer, older]: [&[u8]; 2],
    parameters: &mut [u8],
) -> bool {
    let derived = kdfa(hash, key, "CFB", newer, older, u32::from(aes_bits) + 128);
    let Some((aes_key, iv)) = derived.split_last_chunk::<16>() else {
        return false;
    };
    let Some((size, rest)) = parameters.split_first_chunk_mut::<2>() else {
        return false;
    };
    rest.get_mut(..usize::from(u16::from_be_bytes(*size)))
        .is_some_and(|data| cfb_decrypt(aes_key, *iv, data))
}

/// The profile that the EK's own public area gives.
fn profile(ek: &Public) -> Result<(EkProfile, Hash), Error> {
    let hash =
        Hash::from_algorithm(ek.name_alg).ok_or(Error::UnsupportedNameAlgorithm(ek.name_alg))?;
    let aes_bits = match ek.symmetric {
        Symmetric::Cipher { bits, .. } => bits,
        Symmetric::Null => return Err(Error::UnsupportedPolicy),
    };
    Ok((EkProfile { hash, aes_bits }, hash))
}

fn random(len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    match rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_unspecified) => Err(Error::Random),
    }
}

fn bits(hash: Hash) -> u32 {
    u32::try_from(hash.size() * 8).unwrap_or_default()
}

/// TPM_SE_POLICY.
const POLICY: u8 = 0x01;
/// TPMA_SESSION encrypt: the first response parameter comes encrypted.
const ENCRYPT: u8 = 0x40;
const AES: u16 = evidence::Algorithm::AES.0;
const CFB: u16 = evidence::Algorithm::CFB.0;
const NULL: u16 = evidence::Algorithm::NULL.0;

#[cfg(test)]
mod tests {
    use evidence::{AkTemplate, EkTemplate, SubjectKey};

    use super::*;

    #[test]
    fn every_template_has_a_policy_that_can_be_satisfied() {
        for template in EkTemplate::ALL {
            let policy = EkPolicy::of(&template.public(&[])).unwrap();
            let low = matches!(template, EkTemplate::L1 | EkTemplate::L2);
            assert_eq!(policy == EkPolicy::Secret, low, "{}", template.name());
        }
        assert!(EkPolicy::of(&AkTemplate::EccP256.public()).is_err());
    }

    /// Whether a type can be printed: the constant of the type itself goes before the trait's.
    struct Shown<T>(std::marker::PhantomData<T>);

    trait Hidden {
        const SHOWN: bool = false;
    }

    impl<T> Hidden for Shown<T> {}

    impl<T: std::fmt::Debug> Shown<T> {
        const SHOWN: bool = true;
    }

    #[test]
    fn what_holds_keys_and_passwords_cannot_be_printed() {
        const {
            assert!(Shown::<Vec<u8>>::SHOWN);
            assert!(!Shown::<Opening>::SHOWN);
            assert!(!Shown::<Session>::SHOWN);
            assert!(!Shown::<Exchange>::SHOWN);
            assert!(!Shown::<Encapsulated>::SHOWN);
            assert!(!Shown::<Command>::SHOWN);
            assert!(!Shown::<Authorization>::SHOWN);
            assert!(!Shown::<Answer>::SHOWN);
            assert!(!Shown::<Writer>::SHOWN);
        }
    }

    #[test]
    fn session_keys_are_wiped() {
        fn wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        let ek = SubjectKey::rsa(&[0xC1; 256], 65_537).unwrap();
        let wrapped = Encapsulated::new(&ek, Hash::Sha256, seed_label::SECRET, &[7; 32]).unwrap();
        wiped(&wrapped.seed);
        let opening = Opening {
            hash: Hash::Sha256,
            nonce: vec![1; 32],
            salt: Some((wrapped, 128)),
        };
        let started = Writer::new().sized(&[2; 32]).finish();
        let session = opening.started(&answer(&started, &[], 0, Vec::new()));
        let session = session.unwrap();
        wiped(&session.salt.as_ref().unwrap().0);
        let command = Command::new(CommandCode::ACTIVATE_CREDENTIAL, Writer::new());
        let (command, exchange) = session.authorize(command, &[]).unwrap();
        wiped(&exchange.salt.as_ref().unwrap().0);
        wiped(&command.parameters);
    }

    fn answer(parameters: &[u8], nonce: &[u8], attributes: u8, hmac: Vec<u8>) -> Answer {
        Answer {
            command: CommandCode::ACTIVATE_CREDENTIAL,
            handle: None,
            parameters: Zeroizing::new(parameters.to_vec()),
            acknowledgements: vec![Acknowledgement {
                nonce: nonce.to_vec(),
                attributes,
                hmac,
            }],
        }
    }

    /// The right answer opens; with any byte of it changed it is refused.
    #[test]
    fn a_response_that_was_changed_is_not_authentic() {
        let key = Zeroizing::new(vec![9; 32]);
        let exchange = Exchange {
            hash: Hash::Sha256,
            nonce_caller: vec![1; 32],
            attributes: ENCRYPT,
            salt: Some((key.clone(), 128)),
        };
        let sealed = [0, 4, 0xAA, 0xBB, 0xCC, 0xDD];
        let code = CommandCode::ACTIVATE_CREDENTIAL.0.to_be_bytes();
        let rp_hash = Hash::Sha256.digest(&[&[0; 4], &code, &sealed]);
        let hmac = Hash::Sha256.hmac(&key, &[&rp_hash, &[2; 32], &[1; 32], &[ENCRYPT]]);
        let mut good = answer(&sealed, &[2; 32], ENCRYPT, hmac.clone());
        exchange.open(&mut good).unwrap();
        assert_eq!(good.parameters[..2], [0, 4]);
        assert_ne!(good.parameters[2..], sealed[2..]);
        let not_encrypted = Hash::Sha256.hmac(&key, &[&rp_hash, &[2; 32], &[1; 32], &[0]]);
        let mut other_secret = sealed;
        other_secret[2] ^= 1;
        let mut other_hmac = hmac.clone();
        other_hmac[0] ^= 1;
        for mut bad in [
            answer(&other_secret, &[2; 32], ENCRYPT, hmac.clone()),
            answer(&sealed, &[3; 32], ENCRYPT, hmac.clone()),
            answer(&sealed, &[2; 32], 0, hmac.clone()),
            answer(&sealed, &[2; 32], 0, not_encrypted),
            answer(&sealed, &[2; 32], ENCRYPT, other_hmac),
            answer(&sealed, &[2; 32], ENCRYPT, Vec::new()),
        ] {
            let opened = exchange.open(&mut bad);
            assert!(matches!(opened, Err(Error::NotAuthentic { .. })));
        }
        let mut none = answer(&sealed, &[], 0, Vec::new());
        none.acknowledgements.clear();
        assert!(exchange.open(&mut none).is_err());
    }
}
