//! What the native back end does with keys below a storage key: making, loading, certifying, signing.

use std::time::Instant;

use evidence::{Algorithm, ClockInfo, Hierarchy, Malformed, Public, PublicKey, Signature, Writer};

use crate::command::{Answer, Command};
use crate::native::{CREATION_TICKET, signed};
use crate::native::{MAX_DIGEST, MAX_NAME, Native, empty_password, supported, ticket};
use crate::{
    CommandCode, Context, Error, Handle, Key, SignatureScheme, Signed, WrappedKey, limits,
};

impl Native {
    /// TPM2_Create.
    pub(crate) fn create_below(
        &mut self,
        parent: &Key,
        template: &Public,
        deadline: Instant,
    ) -> Result<WrappedKey, Error> {
        let sensitive = Writer::new().sized(&[]).sized(&[]).finish();
        let parameters = Writer::new()
            .sized(&sensitive)
            .sized(template.as_bytes())
            .sized(&[])
            .u32(0);
        let command = Command::new(CommandCode::CREATE, parameters)
            .handles(&[parent.handle.0])
            .authorize(empty_password());
        self.run(&command, deadline)?.read(|reader| {
            let private = reader.sized(limits::PRIVATE)?.to_vec();
            let public = supported(reader.sized(evidence::limits::PUBLIC)?)?;
            reader.sized(evidence::limits::CREATION_DATA)?;
            reader.sized(MAX_DIGEST)?;
            ticket(reader, CREATION_TICKET)?;
            let public = public.ok_or(Malformed::Value)?;
            Ok(WrappedKey { public, private })
        })
    }

    /// TPM2_Load.
    pub(crate) fn load_below(
        &mut self,
        parent: &Key,
        key: &WrappedKey,
        deadline: Instant,
    ) -> Result<Key, Error> {
        let parameters = Writer::new()
            .sized(&key.private)
            .sized(key.public.as_bytes());
        let command = Command::new(CommandCode::LOAD, parameters)
            .handles(&[parent.handle.0])
            .authorize(empty_password())
            .returns_handle();
        let answer = self.run(&command, deadline)?;
        let name = answer.read(|reader| Ok(reader.sized(MAX_NAME)?.to_vec()))?;
        let loaded = Key::new(handle_of(&answer), key.public.clone())?;
        if loaded.name.as_bytes() != name {
            return Err(Error::Response {
                command: command.code,
                problem: Malformed::Value,
            });
        }
        Ok(loaded)
    }

    /// TPM2_Certify. The key's ADMIN role is its password, since none has adminWithPolicy.
    pub(crate) fn certify_by(
        &mut self,
        key: &Key,
        signer: &Key,
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Signed, Error> {
        let parameters = Writer::new().sized(binding).u16(Algorithm::NULL.0);
        let command = Command::new(CommandCode::CERTIFY, parameters)
            .handles(&[key.handle.0, signer.handle.0])
            .authorize(empty_password())
            .authorize(empty_password());
        self.run(&command, deadline)?.read(signed)
    }

    /// TPM2_Sign. A key that is not restricted needs no proof of how the digest was made.
    pub(crate) fn sign_digest(
        &mut self,
        key: &Key,
        digest: &[u8],
        scheme: SignatureScheme,
        deadline: Instant,
    ) -> Result<Signature, Error> {
        let (algorithm, hash) = scheme.algorithms();
        let parameters = Writer::new()
            .sized(digest)
            .u16(algorithm.0)
            .u16(hash.0)
            .u16(HASHCHECK_TICKET)
            .u32(Hierarchy::Null.handle())
            .sized(&[]);
        let command = Command::new(CommandCode::SIGN, parameters)
            .handles(&[key.handle.0])
            .authorize(empty_password());
        self.run(&command, deadline)?.read(|reader| {
            let signature = Signature::parse(reader.take(reader.rest().len())?)?;
            if (signature.algorithm, signature.hash) == (algorithm, hash) {
                Ok(signature)
            } else {
                Err(Malformed::Value)
            }
        })
    }

    /// TPM2_ReadClock.
    pub(crate) fn read_clock(&mut self, deadline: Instant) -> Result<ClockInfo, Error> {
        let command = Command::new(CommandCode::READ_CLOCK, Writer::new());
        self.run(&command, deadline)?.read(|reader| {
            reader.u64()?;
            Ok(ClockInfo {
                clock: reader.u64()?,
                reset_count: reader.u32()?,
                restart_count: reader.u32()?,
                safe: match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed::Value),
                },
            })
        })
    }

    /// TPM2_ContextSave.
    pub(crate) fn context_of(&mut self, key: &Key, deadline: Instant) -> Result<Context, Error> {
        let command =
            Command::new(CommandCode::CONTEXT_SAVE, Writer::new()).handles(&[key.handle.0]);
        self.run(&command, deadline)?.read(|reader| {
            let (sequence, handle, hierarchy) = (reader.u64()?, reader.u32()?, reader.u32()?);
            let blob = reader.sized(limits::MESSAGE)?;
            let context = Writer::new().u64(sequence).u32(handle).u32(hierarchy);
            Ok(Context {
                native: context.sized(blob).finish(),
                #[cfg(feature = "tss")]
                tss: None,
            })
        })
    }

    /// TPM2_ContextLoad.
    pub(crate) fn key_of(&mut self, context: &Context, deadline: Instant) -> Result<Handle, Error> {
        if context.native.is_empty() {
            return Err(Error::OtherContext);
        }
        let parameters = Writer::new().raw(&context.native);
        let command = Command::new(CommandCode::CONTEXT_LOAD, parameters).returns_handle();
        let answer = self.run(&command, deadline)?;
        answer.read(|_| Ok(handle_of(&answer)))
    }

    /// TPM2_TestParms: a TPM that lacks something says which parameter is wrong.
    pub(crate) fn test_parms(
        &mut self,
        template: &Public,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let command = Command::new(
            CommandCode::TEST_PARMS,
            Writer::new().raw(&parameters(template)),
        );
        match self.run(&command, deadline) {
            Ok(answer) => answer.read(|_| Ok(true)),
            Err(error) if error.is_of_parameter() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// TPMT_PUBLIC_PARMS: the type, and what stands in a TPMT_PUBLIC between the policy and the unique
/// field.
fn parameters(template: &Public) -> Vec<u8> {
    let bytes = template.as_bytes();
    let unique = match &template.key {
        PublicKey::Rsa { modulus, .. } => 2 + modulus.len(),
        PublicKey::Ecc { x, y, .. } => 4 + x.len() + y.len(),
    };
    let start = BEFORE_POLICY + template.auth_policy.len();
    let end = bytes.len().saturating_sub(unique);
    let (kind, detail) = (bytes.get(..2), bytes.get(start..end));
    [kind.unwrap_or_default(), detail.unwrap_or_default()].concat()
}

fn handle_of(answer: &Answer) -> Handle {
    Handle(answer.handle.unwrap_or_default())
}

/// Bytes of type, nameAlg, objectAttributes and the size of authPolicy.
const BEFORE_POLICY: usize = 10;
/// TPM_ST_HASHCHECK.
const HASHCHECK_TICKET: u16 = 0x8024;

#[cfg(test)]
mod tests {
    use evidence::{EkTemplate, SvidKeyTemplate};

    use super::*;

    #[test]
    fn parameters_are_cut_out_of_the_public_area() {
        for (template, expect) in [
            (
                SvidKeyTemplate::EccP384.public(),
                "0023001000100004 0010".replace(' ', ""),
            ),
            (
                SvidKeyTemplate::Rsa2048.public(),
                "000100100010080000000000".to_owned(),
            ),
            (
                EkTemplate::L2.public(&[]),
                "002300060080004300100003 0010".replace(' ', ""),
            ),
        ] {
            assert_eq!(hex::encode(parameters(&template)), expect);
        }
    }
}
