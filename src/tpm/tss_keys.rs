//! What the back end over libtss2 does with keys below a storage key: making, loading, certifying, signing.

use std::time::Instant;

use evidence::{ClockInfo, Hash, Hierarchy, Malformed, Public, Signature};
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    AttestInfo, Data, Digest, HashScheme, HashcheckTicket, Private, Public as TssPublic,
    PublicParameters, SignatureScheme as TssScheme,
};
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;

use crate::tss::Tss;
use crate::tss_values::{failure, hashing, key_handle};
use crate::{Auth, CommandCode, Context, Error, Handle, Key, SignatureScheme, Signed, WrappedKey};

impl Tss {
    /// TPM2_Create.
    pub(crate) fn create_below(
        &mut self,
        parent: &Key,
        template: &Public,
        deadline: Instant,
    ) -> Result<WrappedKey, Error> {
        let command = CommandCode::CREATE;
        let express = |error| failure(command, error);
        let template = TssPublic::unmarshall(template.as_bytes()).map_err(express)?;
        let created = self.run_with_password(command, deadline, |context| {
            context.create(key_handle(parent), template.clone(), None, None, None, None)
        })?;
        let public = created.out_public.marshall().map_err(express)?;
        let public = Public::parse(&public).map_err(|_bad| Error::TssWrapper { command })?;
        let private = created.out_private.to_vec();
        Ok(WrappedKey { public, private })
    }

    /// TPM2_Load.
    pub(crate) fn load_below(
        &mut self,
        parent: &Key,
        key: &WrappedKey,
        deadline: Instant,
    ) -> Result<Key, Error> {
        let command = CommandCode::LOAD;
        let express = |error| failure(command, error);
        let public = TssPublic::unmarshall(key.public.as_bytes()).map_err(express)?;
        let private = Private::try_from(key.private.clone()).map_err(express)?;
        let handle = self.run_with_password(command, deadline, |context| {
            context.load(key_handle(parent), private.clone(), public.clone())
        })?;
        let object = ObjectHandle::from(handle);
        let loaded = Key::new(Handle(u32::from(object)), key.public.clone())?;
        let name = self.context().tr_get_name(object).map_err(express)?;
        if loaded.name.as_bytes() != name.value() {
            self.flush_object(object, deadline)?;
            let problem = Malformed::Value;
            return Err(Error::Response { command, problem });
        }
        Ok(loaded)
    }

    /// TPM2_Certify.
    pub(crate) fn certify_by(
        &mut self,
        key: &Key,
        signer: &Key,
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Signed, Error> {
        let command = CommandCode::CERTIFY;
        let express = |error| failure(command, error);
        let data = Data::try_from(binding.to_vec()).map_err(express)?;
        let object = ObjectHandle::from(key.handle.0);
        let (attest, signature) = self.run_with_passwords(command, deadline, |context| {
            context.certify(object, key_handle(signer), data.clone(), TssScheme::Null)
        })?;
        Ok(Signed {
            attest: attest.marshall().map_err(express)?,
            signature: signature.marshall().map_err(express)?,
        })
    }

    /// TPM2_Sign.
    pub(crate) fn sign_digest(
        &mut self,
        key: &Key,
        digest: &[u8],
        scheme: SignatureScheme,
        deadline: Instant,
    ) -> Result<Signature, Error> {
        let command = CommandCode::SIGN;
        let express = |error| failure(command, error);
        let digest = Digest::try_from(digest.to_vec()).map_err(express)?;
        let ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            ..TPMT_TK_HASHCHECK::default()
        });
        let (ticket, scheme) = (ticket.map_err(express)?, scheme_of(scheme)?);
        let signature = self.run_with_password(command, deadline, |context| {
            context.sign(key_handle(key), digest.clone(), scheme, ticket.clone())
        })?;
        let bytes = signature.marshall().map_err(express)?;
        Signature::parse(&bytes).map_err(|problem| Error::Response { command, problem })
    }

    /// tss-esapi 7.7 has no TPM2_ReadClock. TPM2_GetTime without a signer says the same, and the clock
    /// inside what is attested is not masked (TPM library part 2, section 10.12.2); it takes the
    /// endorsement hierarchy's password, which is the empty one here.
    pub(crate) fn read_clock(&mut self, deadline: Instant) -> Result<ClockInfo, Error> {
        let command = CommandCode::GET_TIME;
        self.set_password(command, Hierarchy::Endorsement, &Auth::default())?;
        let (attest, _no_signature) = self.run_with_passwords(command, deadline, |context| {
            let nobody = KeyHandle::from(ObjectHandle::Null);
            context.get_time(nobody, Data::default(), TssScheme::Null)
        })?;
        let AttestInfo::Time { info } = attest.attested() else {
            return Err(Error::TssWrapper { command });
        };
        let clock = info.time_info().clock_info();
        Ok(ClockInfo {
            clock: clock.clock(),
            reset_count: clock.reset_count(),
            restart_count: clock.restart_count(),
            safe: clock.safe(),
        })
    }

    /// TPM2_ContextSave.
    pub(crate) fn context_of(&mut self, key: &Key, deadline: Instant) -> Result<Context, Error> {
        let object = ObjectHandle::from(key.handle.0);
        let saved = self.run(CommandCode::CONTEXT_SAVE, deadline, |context| {
            context.context_save(object)
        })?;
        Ok(Context {
            native: Vec::new(),
            tss: Some(saved),
        })
    }

    /// TPM2_ContextLoad.
    pub(crate) fn key_of(&mut self, context: &Context, deadline: Instant) -> Result<Handle, Error> {
        let Some(saved) = &context.tss else {
            return Err(Error::OtherContext);
        };
        let object = self.run(CommandCode::CONTEXT_LOAD, deadline, |context| {
            context.context_load(saved.clone())
        })?;
        Ok(Handle(u32::from(object)))
    }

    /// TPM2_TestParms.
    pub(crate) fn test_parms(
        &mut self,
        template: &Public,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let command = CommandCode::TEST_PARMS;
        let template = TssPublic::unmarshall(template.as_bytes());
        let parameters = match template.map_err(|error| failure(command, error))? {
            TssPublic::Rsa { parameters, .. } => PublicParameters::Rsa(parameters),
            TssPublic::Ecc { parameters, .. } => PublicParameters::Ecc(parameters),
            _ => return Err(Error::TssWrapper { command }),
        };
        match self.run(command, deadline, |context| context.test_parms(parameters)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_parameter() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs one command with empty passwords, or those that were set, for its two handles.
    fn run_with_passwords<T>(
        &mut self,
        command: CommandCode,
        deadline: Instant,
        mut call: impl FnMut(&mut tss_esapi::Context) -> Result<T, tss_esapi::Error>,
    ) -> Result<T, Error> {
        let password = Some(AuthSession::Password);
        self.run(command, deadline, |context| {
            context.execute_with_sessions((password, password, None), &mut call)
        })
    }
}

fn scheme_of(scheme: SignatureScheme) -> Result<TssScheme, Error> {
    let of = |hash: Hash| -> Result<HashScheme, Error> {
        let hash: HashingAlgorithm = hashing(hash.algorithm())?;
        Ok(HashScheme::new(hash))
    };
    Ok(match scheme {
        SignatureScheme::Ecdsa(hash) => TssScheme::EcDsa {
            hash_scheme: of(hash)?,
        },
        SignatureScheme::Rsassa(hash) => TssScheme::RsaSsa {
            hash_scheme: of(hash)?,
        },
        SignatureScheme::Rsapss(hash) => TssScheme::RsaPss {
            hash_scheme: of(hash)?,
        },
    })
}
