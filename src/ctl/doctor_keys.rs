//! What `doctor` finds of the TPM as the home of SVID keys.

use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use evidence::{Hash, Public, Signature, SignatureValue, SvidKeyTemplate};
use tpm::{Attestor, Keyring, SignatureScheme, WrappedKey};

use crate::doctor::Finding;
use crate::doctor_tpm::failed_as;
use crate::machine::{self, Machine};
use crate::trial::{self, Failed};

/// What the TPM holds and has room for.
pub(crate) fn places(machine: &mut Machine) -> Result<Vec<Finding>, tpm::Error> {
    let (tpm, deadline) = (&mut *machine.tpm, machine.deadline);
    let objects = tpm.property(TRANSIENT_OBJECTS, deadline)?;
    let root = tpm.persistent(STORAGE_ROOT, deadline)?;
    Ok(vec![
        transient_objects(objects.unwrap_or_default()),
        storage_root(root.map(|key| key.public).as_ref()),
    ])
}

/// Makes an SVID key as the key manager does, signs with it, and gives it back wrapped. Nothing stays in the TPM. SVID keys
/// are a choice: without them the machine attests as well, so that nothing here is a problem.
pub(crate) fn trial_key(machine: Machine) -> (Vec<Finding>, Option<WrappedKey>) {
    let deadline = machine.deadline;
    let (tpm, owner_auth) = machine.into_parts();
    let mut keyring = match Keyring::open(tpm, owner_auth, deadline) {
        Ok(keyring) => keyring,
        Err(error) => return (vec![failed_as(KEY, Finding::warning, error)], None),
    };
    let mut findings = vec![match supported(&mut keyring, deadline) {
        Ok(supported) => types(&supported),
        Err(error) => failed_as(TYPES, Finding::warning, error),
    }];
    match made(&mut keyring, deadline) {
        Ok((finding, key)) => {
            findings.push(finding);
            (findings, Some(key))
        }
        Err(error) => {
            findings.push(failed_as(KEY, Finding::warning, error));
            (findings, None)
        }
    }
}

/// Has the AK certify the key, and the verifier that is built in judge that.
pub(crate) fn certification(
    attestor: &mut Attestor,
    key: WrappedKey,
    deadline: Instant,
) -> Finding {
    match trial::certify(attestor, key, machine::now(), deadline) {
        Ok(()) => Finding::ok(
            CERTIFICATION,
            "the AK certifies the trial key, and the verifier accepts that",
        ),
        Err(Failed::Tpm(error)) => failed_as(CERTIFICATION, Finding::warning, error),
        Err(Failed::Refused(rejection)) => Finding::warning(
            CERTIFICATION,
            format!(
                "the verifier does not accept the certification: {}",
                rejection.reason.code()
            ),
            rejection.reason.remedy(),
        ),
    }
}

/// The PC Client profile asks for three, and the attestor works with as many: AK, EK or SRK, and the key.
fn transient_objects(count: u32) -> Finding {
    let summary = format!("the TPM has room for {count} transient objects");
    if count < NEEDED {
        return Finding::warning(
            OBJECTS,
            format!("{summary}, and certifying an SVID key takes {NEEDED}"),
            "have the EK and the SRK made persistent (tpm2_evictcontrol), or leave keys_path out",
        );
    }
    Finding::ok(OBJECTS, summary)
}

fn storage_root(found: Option<&Public>) -> Finding {
    let made = "one is made whenever it is needed";
    let summary = match found {
        Some(public) if public.is_storage_root() => "the SRK is at 0x81000001".to_owned(),
        Some(_other) => {
            format!("the key at 0x81000001 is no storage root key and is left alone: {made}")
        }
        None => format!("there is no SRK at 0x81000001: {made}"),
    };
    Finding::ok(ROOT, summary)
}

fn supported(keyring: &mut Keyring, deadline: Instant) -> Result<Vec<SvidKeyTemplate>, tpm::Error> {
    let mut supported = Vec::new();
    for template in SvidKeyTemplate::ALL {
        if keyring.is_supported(template, deadline)? {
            supported.push(template);
        }
    }
    Ok(supported)
}

fn types(supported: &[SvidKeyTemplate]) -> Finding {
    let names: Vec<_> = supported.iter().map(|template| name(*template)).collect();
    let names = names.join(", ");
    if supported.contains(&SvidKeyTemplate::EccP256) {
        return Finding::ok(TYPES, format!("the TPM makes SVID keys of {names}"));
    }
    Finding::warning(
        TYPES,
        format!("the TPM makes no SVID keys of P-256; it makes: {names}"),
        "SPIRE Agent asks for P-256: leave this machine with another key manager",
    )
}

fn made(keyring: &mut Keyring, deadline: Instant) -> Result<(Finding, WrappedKey), tpm::Error> {
    let started = Instant::now();
    let key = keyring.generate(SvidKeyTemplate::EccP256, deadline)?;
    let making = started.elapsed();
    let digest = Hash::Sha256.digest(&[MESSAGE]);
    let started = Instant::now();
    let signature = keyring.sign(
        &key,
        &digest,
        SignatureScheme::Ecdsa(Hash::Sha256),
        deadline,
    )?;
    let signing = started.elapsed();
    Ok((signed(&key.public, &signature, making, signing), key))
}

fn signed(key: &Public, signature: &Signature, making: Duration, signing: Duration) -> Finding {
    if !is_right(key, signature) {
        return Finding::warning(
            KEY,
            "the TPM's signature with a key of its own is wrong",
            "update the TPM's firmware, or replace it",
        );
    }
    Finding::ok(
        KEY,
        format!(
            "a P-256 key below the SRK was made in {:.1} ms and signs in {:.1} ms; it is not kept",
            making.as_secs_f64() * 1e3,
            signing.as_secs_f64() * 1e3
        ),
    )
}

fn is_right(key: &Public, signature: &Signature) -> bool {
    let SignatureValue::Ecdsa { r, s } = &signature.value else {
        return false;
    };
    let point = key.subject_key().and_then(|key| key.point());
    let (Some(point), Some(r), Some(s)) = (point, widened(r), widened(s)) else {
        return false;
    };
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(MESSAGE, &[r, s].concat()).is_ok()
}

/// As 32 bytes; TPMs leave out leading zeros.
fn widened(number: &[u8]) -> Option<[u8; 32]> {
    let mut wide = [0; 32];
    let start = wide.len().checked_sub(number.len())?;
    wide.get_mut(start..)?.copy_from_slice(number);
    Some(wide)
}

fn name(template: SvidKeyTemplate) -> &'static str {
    match template {
        SvidKeyTemplate::EccP256 => "P-256",
        SvidKeyTemplate::EccP384 => "P-384",
        SvidKeyTemplate::Rsa2048 => "RSA-2048",
    }
}

const OBJECTS: &str = "transient-objects";
const ROOT: &str = "storage-root";
const TYPES: &str = "svid-key-types";
const KEY: &str = "svid-key";
const CERTIFICATION: &str = "certification";
/// TPM_PT_HR_TRANSIENT_MIN (TPM library part 2, section 6.13).
const TRANSIENT_OBJECTS: u32 = 0x10E;
const NEEDED: u32 = 3;
/// Of the SRK (TCG TPM v2.0 Provisioning Guidance 1.0, section 7.5).
const STORAGE_ROOT: u32 = 0x8100_0001;
const MESSAGE: &[u8] = b"tpm-attestor doctor";

#[cfg(test)]
mod tests {
    use evidence::{Algorithm, StorageTemplate};
    use softtpm::{Key, KeyKind, Parent, SvidKey};

    use super::*;
    use crate::doctor::Level;

    #[test]
    fn places_and_types_are_judged() {
        use SvidKeyTemplate::{EccP256, EccP384, Rsa2048};
        for (count, level) in [(0, Level::Warning), (2, Level::Warning), (3, Level::Ok)] {
            assert_eq!(transient_objects(count).level, level, "{count}");
        }
        for (supported, level, summary) in [
            (
                &SvidKeyTemplate::ALL[..],
                Level::Ok,
                "P-256, P-384, RSA-2048",
            ),
            (&[EccP256], Level::Ok, "of P-256"),
            (&[EccP384, Rsa2048], Level::Warning, "P-384, RSA-2048"),
            (&[], Level::Warning, "it makes: "),
        ] {
            let finding = types(supported);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.summary.ends_with(summary), "{finding:?}");
        }
    }

    #[test]
    fn a_key_at_the_srk_s_handle_is_one_only_if_it_is_a_storage_key() {
        let (root, other) = (
            StorageTemplate::EccP256.public(),
            SvidKeyTemplate::EccP256.public(),
        );
        for (found, part) in [
            (Some(&root), "is at 0x81000001"),
            (Some(&other), "left alone"),
            (None, "there is no SRK"),
        ] {
            let finding = storage_root(found);
            assert_eq!(finding.level, Level::Ok);
            assert!(finding.summary.contains(part), "{finding:?}");
        }
    }

    #[test]
    fn a_wrong_signature_is_told() {
        let key = Key::generate(KeyKind::P256).unwrap();
        let key = SvidKey::new(key, Parent::srk().unwrap());
        let finding = |signature: &Signature| {
            signed(&key.public, signature, Duration::ZERO, Duration::ZERO).level
        };
        let right = key.sign(MESSAGE).unwrap();
        assert_eq!(finding(&right), Level::Ok);
        let of_another = key.sign(b"another message").unwrap();
        let of_rsa = Signature {
            algorithm: Algorithm::RSASSA,
            hash: Algorithm::SHA256,
            value: SignatureValue::Rsa(vec![1; 256]),
        };
        let too_long = Signature {
            value: SignatureValue::Ecdsa {
                r: vec![1; 33],
                s: vec![1; 32],
            },
            ..right
        };
        for wrong in [of_another, of_rsa, too_long] {
            assert_eq!(finding(&wrong), Level::Warning, "{wrong:?}");
        }
    }

    #[test]
    fn leading_zeros_come_back() {
        let mut expected = [0; 32];
        expected[31] = 7;
        assert_eq!(widened(&[7]), Some(expected));
        assert_eq!(widened(&[]), Some([0; 32]));
        assert_eq!(widened(&[1; 33]), None);
    }
}
