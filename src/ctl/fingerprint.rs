//! The hash that identifies a machine.

use std::io::Write;

use evidence::{SubjectKey, encode_pem};
use serde::Serialize;
use verify::EkKind;

use crate::cli::{HashForm, TpmArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::output::{self, Format, Report};

/// Prints the hash in one of its forms; as JSON also when all output is.
pub(crate) fn print(
    tpm: &TpmArguments,
    form: Option<HashForm>,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let key = endorsement_key(tpm)?;
    let fingerprint = Fingerprint::of(&key);
    let text = match (form, format) {
        (Some(HashForm::Json), _) | (None, Format::Json) => {
            return output::write(&fingerprint, Format::Json, out);
        }
        (Some(HashForm::Device), _) => fingerprint.device,
        (Some(HashForm::Hex), _) | (None, Format::Table) => fingerprint.ek_hash,
    };
    output::write_bytes(format!("{text}\n").as_bytes(), out).map(|()| Exit::Good)
}

/// What `get_tpm_pubhash` prints: the hash alone on one line, and before it the key if asked for.
pub(crate) fn compatible(
    tpm: &TpmArguments,
    verbose: bool,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let key = endorsement_key(tpm)?;
    let shown = if verbose {
        let pem = encode_pem("PUBLIC KEY", &key.spki());
        format!(
            "EndorsementKey[0]:
{pem}"
        )
    } else {
        String::new()
    };
    let text = format!("{shown}{}\n", key.ek_hash());
    output::write_bytes(text.as_bytes(), out).map(|()| Exit::Good)
}

/// An EK's hash in all its forms.
#[derive(Debug, Serialize)]
pub(crate) struct Fingerprint {
    pub(crate) ek_hash: String,
    pub(crate) device: String,
    pub(crate) key: &'static str,
}

impl Fingerprint {
    pub(crate) fn of(key: &SubjectKey) -> Self {
        let hash = key.ek_hash();
        Self {
            ek_hash: hash.hex(),
            device: hash.device(),
            key: EkKind::of(key).map_or("unsupported", EkKind::name),
        }
    }
}

impl Report for Fingerprint {
    fn table(&self) -> String {
        format!("{}\n", self.ek_hash)
    }
}

/// The EK that the agent would choose.
fn endorsement_key(tpm: &TpmArguments) -> Result<SubjectKey, Failure> {
    let attestor = Machine::open(tpm)?.attestor()?;
    let key = attestor.endorsement().key.public.subject_key();
    key.ok_or_else(|| {
        Failure::new(
            Exit::Environment,
            "unsupported_key",
            "the EK is of no known type",
        )
    })
}

#[cfg(test)]
mod tests {
    use evidence::Curve;

    use super::*;

    #[test]
    fn one_hash_has_three_forms() {
        let key = SubjectKey::ec(Curve::P256, &[1; 32], &[2; 32]).unwrap();
        let fingerprint = Fingerprint::of(&key);
        assert_eq!(fingerprint.ek_hash, key.ek_hash().hex());
        assert_eq!(fingerprint.device, key.ek_hash().device());
        assert_eq!(fingerprint.key, "p-256");
        assert_eq!(fingerprint.table(), format!("{}\n", key.ek_hash()));
    }
}
