//! Every secret that soft TPMs of this process handle, told to whoever looks for them where they must not be.

use std::sync::OnceLock;

/// What is told: what it is, and its bytes.
pub type Witness = fn(&'static str, &[u8]);

/// Has every secret told from now on: activated secrets, bindings and proofs, nonces, private keys. The first witness of
/// a process stays; without one nothing is told or kept.
pub fn witness_secrets(witness: Witness) {
    WITNESS.get_or_init(|| witness);
}

pub(crate) fn tell(what: &'static str, secret: &[u8]) {
    if let Some(witness) = WITNESS.get() {
        witness(what, secret);
    }
}

/// The part of a PKCS#8 key that is not public: the scalar of a curve's, the last numbers of RSA's.
pub(crate) fn tell_private_key(pkcs8: &[u8]) {
    if WITNESS.get().is_none() {
        return;
    }
    let scalar = pkcs8
        .windows(SCALAR.len())
        .position(|bytes| bytes == SCALAR)
        .and_then(|at| pkcs8.get(at + SCALAR.len()..))
        .and_then(|rest| rest.split_first())
        .and_then(|(length, rest)| rest.get(..usize::from(*length)));
    let numbers = pkcs8.get(pkcs8.len() / 4 * 3..).unwrap_or_default();
    tell("a private key", scalar.unwrap_or(numbers));
}

/// The version of an ECPrivateKey (RFC 5915, section 3), and the tag of what follows.
const SCALAR: [u8; 4] = [2, 1, 1, 4];

static WITNESS: OnceLock<Witness> = OnceLock::new();

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;
    use crate::{Key, KeyKind, Role};

    static TOLD: Mutex<BTreeSet<(&str, Vec<u8>)>> = Mutex::new(BTreeSet::new());

    fn keep(what: &'static str, secret: &[u8]) {
        TOLD.lock().unwrap().insert((what, secret.to_vec()));
    }

    #[test]
    fn private_keys_are_told_without_their_public_part() {
        witness_secrets(keep);
        for kind in [KeyKind::P256, KeyKind::P521] {
            let key = Key::generate(kind).unwrap();
            let told: Vec<_> = TOLD.lock().unwrap().iter().cloned().collect();
            let size = key.subject_key().point().unwrap().len() / 2;
            let own = |(_, secret): &&(&str, Vec<u8>)| {
                secret.len() == size && key.pkcs8().windows(size).any(|part| part == secret)
            };
            assert_eq!(told.iter().filter(own).count(), 1, "{kind:?}");
        }
        // A sample is read once a process, perhaps before there was a witness.
        let sample = Key::sample(Role::Ek, KeyKind::Rsa2048).unwrap();
        let key = Key::from_pkcs8(sample.pkcs8()).unwrap();
        let modulus = key.subject_key().spki()[40..200].to_vec();
        let told = TOLD.lock().unwrap();
        assert!(told.iter().any(|(_, secret)| key.pkcs8().ends_with(secret)));
        let of_modulus = |part| modulus.windows(16).any(|other| other == part);
        assert!(
            !told
                .iter()
                .any(|(_, secret)| secret.windows(16).any(of_modulus))
        );
    }
}
