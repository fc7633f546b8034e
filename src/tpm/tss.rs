//! The back end over libtss2, for TCTIs that only it has.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Instant;

use evidence::{
    ClockInfo, Hierarchy, PcrBank, PcrSelection, Public, PublicError, Secret, Signature,
};
use tss_esapi::attributes::SessionAttributes;
use tss_esapi::constants::{PropertyTag, SessionType};
use tss_esapi::handles::{
    AuthHandle, NvIndexHandle, NvIndexTpmHandle, ObjectHandle, PersistentTpmHandle, SessionHandle,
    TpmHandle,
};
use tss_esapi::interface_types::resource_handles::NvAuth;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Data, Digest, DigestList, EncryptedSecret, IdObject, Nonce, Public as TssPublic,
    SignatureScheme as TssScheme, SymmetricDefinition,
};
use tss_esapi::tcti_ldr::TctiNameConf;
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::{Context, Error as TssError};

use crate::address::BadAddress;
use crate::pcrs::Reading;
use crate::session::EkPolicy;
use crate::tss_values::{
    failure, hashing, hierarchy_object, hierarchy_of, key_handle, present, response_code,
    selection_list, selections_of, unsized_part,
};
use crate::{
    Activation, Auth, CommandCode, Context as Saved, Created, CreationRecord, Error, Handle, Key,
    NvPublic, SignatureScheme, Signed, Tpm, WrappedKey, limits, retry,
};

/// A TPM that libtss2 speaks to.
///
/// Deadlines are looked at between commands only, since the library waits for each as long as it
/// takes. It writes to standard error unless `TSS2_LOG=all+NONE` is in the environment, which the
/// process must set before it starts a thread.
pub struct Tss {
    context: Context,
    /// The library's objects for persistent handles.
    persistent: HashMap<u32, ObjectHandle>,
}

impl Tss {
    /// Opens a TPM by a TCTI: `device`, `swtpm`, `mssim` or `tabrmd`, with its configuration after
    /// a colon.
    pub fn open(tcti: &str) -> Result<Self, Error> {
        if tcti.len() > limits::ADDRESS || tcti.contains(char::is_control) {
            return Err(BadAddress::Tcti.into());
        }
        let Ok(name) = TctiNameConf::from_str(tcti) else {
            return Err(BadAddress::Tcti.into());
        };
        let context = Context::new(name).map_err(|error| Error::TssOpen {
            tcti: tcti.to_owned(),
            code: response_code(error).unwrap_or(u32::MAX),
        })?;
        Ok(Self {
            context,
            persistent: HashMap::new(),
        })
    }

    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    pub(crate) fn flush_object(
        &mut self,
        object: ObjectHandle,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.run(CommandCode::FLUSH_CONTEXT, deadline, |context| {
            context.flush_context(object)
        })
    }

    /// Runs one command of the library.
    pub(crate) fn run<T>(
        &mut self,
        command: CommandCode,
        deadline: Instant,
        mut call: impl FnMut(&mut Context) -> Result<T, TssError>,
    ) -> Result<T, Error> {
        retry::until(deadline, || {
            if Instant::now() >= deadline {
                return Err(Error::Deadline { command });
            }
            call(&mut self.context).map_err(|error| failure(command, error))
        })
    }

    /// Runs one command with a password for its first handle.
    pub(crate) fn run_with_password<T>(
        &mut self,
        command: CommandCode,
        deadline: Instant,
        mut call: impl FnMut(&mut Context) -> Result<T, TssError>,
    ) -> Result<T, Error> {
        self.run(command, deadline, |context| {
            context.execute_with_session(Some(AuthSession::Password), &mut call)
        })
    }

    pub(crate) fn set_password(
        &mut self,
        command: CommandCode,
        hierarchy: Hierarchy,
        auth: &Auth,
    ) -> Result<(), Error> {
        let handle = hierarchy_object(hierarchy);
        tss_esapi::structures::Auth::try_from(auth.expose().to_vec())
            .and_then(|auth| self.context.tr_set_auth(handle, auth))
            .map_err(|error| failure(command, error))
    }

    fn start_session(
        &mut self,
        activation: &Activation<'_>,
        deadline: Instant,
    ) -> Result<AuthSession, Error> {
        let command = CommandCode::START_AUTH_SESSION;
        let hash = hashing(activation.ek.public.name_alg)?;
        let key = activation.salted.then_some(key_handle(activation.ek));
        let symmetric = SymmetricDefinition::AES_128_CFB;
        let session = self.run(command, deadline, |context| {
            context.start_auth_session(key, None, None, SessionType::Policy, symmetric, hash)
        })?;
        session.ok_or(Error::TssWrapper { command })
    }

    /// Satisfies the EK's policy in a session.
    fn satisfy(
        &mut self,
        session: AuthSession,
        activation: &Activation<'_>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let express = |error| failure(CommandCode::POLICY_OR, error);
        let policy = PolicySession::try_from(session).map_err(express)?;
        let secret = CommandCode::POLICY_SECRET;
        self.set_password(secret, Hierarchy::Endorsement, activation.endorsement_auth)?;
        self.run_with_password(secret, deadline, |context| {
            let hierarchy = AuthHandle::Endorsement;
            let (nonce, reference) = (Nonce::default(), Nonce::default());
            context.policy_secret(policy, hierarchy, nonce, Digest::default(), reference, None)
        })?;
        if let EkPolicy::SecretOr(branches) = EkPolicy::of(&activation.ek.public)? {
            let mut digests = DigestList::new();
            for branch in branches {
                let branch = Digest::try_from(branch).map_err(express)?;
                digests.add(branch).map_err(express)?;
            }
            self.run(CommandCode::POLICY_OR, deadline, |context| {
                context.policy_or(policy, digests.clone())
            })?;
        }
        Ok(())
    }

    fn activate_in(
        &mut self,
        session: AuthSession,
        activation: &Activation<'_>,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        let command = CommandCode::ACTIVATE_CREDENTIAL;
        let express = |error| failure(command, error);
        self.satisfy(session, activation, deadline)?;
        if activation.salted {
            let (attributes, mask) = SessionAttributes::builder().with_encrypt(true).build();
            self.context
                .tr_sess_set_attributes(session, attributes, mask)
                .map_err(express)?;
        }
        let credential = activation.credential;
        let id_object = IdObject::try_from(unsized_part(credential.id_object()));
        let secret = EncryptedSecret::try_from(unsized_part(credential.encrypted_secret()));
        let (id_object, secret) = (id_object.map_err(express)?, secret.map_err(express)?);
        let (ak, ek) = (key_handle(activation.ak), key_handle(activation.ek));
        let opened = self.run(command, deadline, |context| {
            let sessions = (Some(AuthSession::Password), Some(session), None);
            context.execute_with_sessions(sessions, |context| {
                context.activate_credential(ak, ek, id_object.clone(), secret.clone())
            })
        })?;
        Ok(Secret::new(opened.value().to_vec()))
    }

    /// The library's object for an NV index, for one use; `None` when it is not defined.
    fn with_index<T>(
        &mut self,
        command: CommandCode,
        index: u32,
        deadline: Instant,
        mut call: impl FnMut(&mut Context, NvIndexHandle) -> Result<T, TssError>,
    ) -> Result<Option<T>, Error> {
        let handle = NvIndexTpmHandle::new(index).map_err(|error| failure(command, error))?;
        let opened = self.run(CommandCode::NV_READ_PUBLIC, deadline, |context| {
            context.tr_from_tpm_public(TpmHandle::NvIndex(handle))
        });
        let Some(mut object) = present(opened)? else {
            return Ok(None);
        };
        let outcome = self.run(command, deadline, |context| call(context, object.into()));
        self.context
            .tr_close(&mut object)
            .map_err(|error| failure(command, error))?;
        outcome.map(Some)
    }
}

impl Tpm for Tss {
    fn property(&mut self, property: u32, deadline: Instant) -> Result<Option<u32>, Error> {
        let Ok(tag) = PropertyTag::try_from(property) else {
            return Ok(None);
        };
        self.run(CommandCode::GET_CAPABILITY, deadline, |context| {
            context.get_tpm_property(tag)
        })
    }

    fn nv_public(&mut self, index: u32, deadline: Instant) -> Result<Option<NvPublic>, Error> {
        let command = CommandCode::NV_READ_PUBLIC;
        let public = self.with_index(command, index, deadline, |context, handle| {
            context.execute_without_session(|context| context.nv_read_public(handle))
        })?;
        let Some((public, _name)) = public else {
            return Ok(None);
        };
        let attributes = public.attributes();
        let bits = [
            (attributes.owner_read(), NvPublic::OWNER_READ),
            (attributes.auth_read(), NvPublic::AUTH_READ),
            (attributes.written(), NvPublic::WRITTEN),
        ];
        let set = bits.into_iter().filter(|(set, _)| *set);
        Ok(Some(NvPublic {
            index,
            attributes: set.fold(0, |all, (_, bit)| all | bit),
            size: u16::try_from(public.data_size())
                .map_err(|_too_long| Error::NvTooLong { index })?,
        }))
    }

    fn nv_read(
        &mut self,
        index: &NvPublic,
        owner: Option<&Auth>,
        size: u16,
        offset: u16,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let command = CommandCode::NV_READ;
        if let Some(auth) = owner {
            self.set_password(command, Hierarchy::Owner, auth)?;
        }
        let data = self.with_index(command, index.index, deadline, |context, handle| {
            let auth = match owner {
                Some(_) => NvAuth::Owner,
                None => NvAuth::NvIndex(handle),
            };
            context.execute_with_session(Some(AuthSession::Password), |context| {
                context.nv_read(auth, handle, size, offset)
            })
        })?;
        match data {
            Some(data) if data.len() == usize::from(size) => Ok(data.to_vec()),
            _ => Err(Error::TssWrapper { command }),
        }
    }

    fn persistent(&mut self, handle: u32, deadline: Instant) -> Result<Option<Key>, Error> {
        let command = CommandCode::READ_PUBLIC;
        let express = |error| failure(command, error);
        if let Some(mut object) = self.persistent.remove(&handle) {
            self.context.tr_close(&mut object).map_err(express)?;
        }
        let persistent = PersistentTpmHandle::new(handle).map_err(express)?;
        let opened = self.run(command, deadline, |context| {
            context.tr_from_tpm_public(TpmHandle::Persistent(persistent))
        });
        let Some(object) = present(opened)? else {
            return Ok(None);
        };
        self.persistent.insert(handle, object);
        let (public, ..) = self.run(command, deadline, |context| {
            context.execute_without_session(|context| context.read_public(object.into()))
        })?;
        let bytes = public.marshall().map_err(express)?;
        match Public::parse(&bytes) {
            Ok(public) => Ok(Key::new(Handle(u32::from(object)), public).ok()),
            Err(PublicError::UnsupportedType(_)) => Ok(None),
            Err(PublicError::Malformed(problem)) => Err(Error::Response { command, problem }),
        }
    }

    fn create_primary(
        &mut self,
        hierarchy: Hierarchy,
        template: &Public,
        auth: &Auth,
        deadline: Instant,
    ) -> Result<Created, Error> {
        let command = CommandCode::CREATE_PRIMARY;
        let express = |error| failure(command, error);
        self.set_password(command, hierarchy, auth)?;
        let under = hierarchy_of(hierarchy);
        let template = TssPublic::unmarshall(template.as_bytes()).map_err(express)?;
        let created = self.run_with_password(command, deadline, |context| {
            context.create_primary(under, template.clone(), None, None, None, None)
        })?;
        let bytes = created.out_public.marshall().map_err(express)?;
        let public = Public::parse(&bytes).map_err(|_bad| Error::TssWrapper { command })?;
        let handle = Handle(u32::from(ObjectHandle::from(created.key_handle)));
        Ok(Created {
            key: Key::new(handle, public)?,
            record: None,
        })
    }

    /// tss-esapi 7.7 has no TPM2_CertifyCreation.
    fn certify_creation(
        &mut self,
        _key: &Key,
        _record: &CreationRecord,
        _deadline: Instant,
    ) -> Result<Signed, Error> {
        Err(Error::TssWrapper {
            command: CommandCode::CERTIFY_CREATION,
        })
    }

    /// The session is kept and flushed, since tss-esapi does not notice when one ends by itself.
    fn activate(
        &mut self,
        activation: &Activation<'_>,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        EkPolicy::of(&activation.ek.public)?;
        let session = self.start_session(activation, deadline)?;
        let secret = self.activate_in(session, activation, deadline);
        let object = ObjectHandle::from(SessionHandle::from(session));
        let flushed = self.context.flush_context(object);
        let secret = secret?;
        flushed.map_err(|error| failure(CommandCode::FLUSH_CONTEXT, error))?;
        Ok(secret)
    }

    fn quote(
        &mut self,
        key: &Key,
        binding: &[u8],
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Signed, Error> {
        let command = CommandCode::QUOTE;
        let express = |error| failure(command, error);
        let data = Data::try_from(binding.to_vec()).map_err(express)?;
        let selections = selection_list(selections).ok_or(Error::TssWrapper { command })?;
        let (attest, signature) = self.run_with_password(command, deadline, |context| {
            let scheme = TssScheme::Null;
            context.quote(key_handle(key), data.clone(), scheme, selections.clone())
        })?;
        Ok(Signed {
            attest: attest.marshall().map_err(express)?,
            signature: signature.marshall().map_err(express)?,
        })
    }

    fn read_pcrs(
        &mut self,
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Vec<PcrBank>, Error> {
        let command = CommandCode::PCR_READ;
        let mut reading = Reading::new(selections)?;
        while let Some(portion) = reading.next() {
            let list = selection_list(&portion).ok_or(Error::TssWrapper { command })?;
            let (_counter, given, digests) = self.run(command, deadline, |context| {
                context.execute_without_session(|context| context.pcr_read(list.clone()))
            })?;
            let digests: Vec<_> = digests
                .value()
                .iter()
                .map(|one| one.value().to_vec())
                .collect();
            reading.accept(&selections_of(given), &digests)?;
        }
        Ok(reading.finish())
    }

    fn create(
        &mut self,
        parent: &Key,
        template: &Public,
        deadline: Instant,
    ) -> Result<WrappedKey, Error> {
        self.create_below(parent, template, deadline)
    }

    fn load(&mut self, parent: &Key, key: &WrappedKey, deadline: Instant) -> Result<Key, Error> {
        self.load_below(parent, key, deadline)
    }

    fn certify(
        &mut self,
        key: &Key,
        signer: &Key,
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Signed, Error> {
        self.certify_by(key, signer, binding, deadline)
    }

    fn sign(
        &mut self,
        key: &Key,
        digest: &[u8],
        scheme: SignatureScheme,
        deadline: Instant,
    ) -> Result<Signature, Error> {
        self.sign_digest(key, digest, scheme, deadline)
    }

    fn clock(&mut self, deadline: Instant) -> Result<ClockInfo, Error> {
        self.read_clock(deadline)
    }

    fn save_context(&mut self, key: &Key, deadline: Instant) -> Result<Saved, Error> {
        self.context_of(key, deadline)
    }

    fn load_context(&mut self, context: &Saved, deadline: Instant) -> Result<Handle, Error> {
        self.key_of(context, deadline)
    }

    fn supports(&mut self, template: &Public, deadline: Instant) -> Result<bool, Error> {
        self.test_parms(template, deadline)
    }

    fn flush(&mut self, handle: Handle, deadline: Instant) -> Result<(), Error> {
        self.flush_object(ObjectHandle::from(handle.0), deadline)
    }
}
