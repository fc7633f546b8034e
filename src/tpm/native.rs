//! The back end in pure Rust: commands over a [`Transport`].

use std::io;
use std::time::Instant;

use evidence::{
    Algorithm, Attest, ClockInfo, Hierarchy, Malformed, PcrBank, PcrSelection, Public, PublicError,
    Reader, Secret, Signature, Writer,
};
use zeroize::Zeroizing;

use crate::command::{Answer, Authorization, Command};
use crate::pcrs::Reading;
use crate::session::{EkPolicy, Opening, Session};
use crate::{
    Activation, Auth, CommandCode, Context, Created, CreationRecord, Error, Handle, Key, NvPublic,
    ResponseCode, SignatureScheme, Signed, Tpm, Transport, WrappedKey, limits, retry,
};

/// A TPM that is spoken to without any library.
pub struct Native {
    transport: Box<dyn Transport>,
}

impl Native {
    /// Over a way to a TPM.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self {
            transport: Box::new(transport),
        }
    }

    /// Runs a command, again while the TPM asks for that and the deadline leaves time.
    pub(crate) fn run(&mut self, command: &Command, deadline: Instant) -> Result<Answer, Error> {
        let bytes = command.encode();
        if bytes.len() > limits::MESSAGE {
            return Err(Error::CommandTooLong {
                command: command.code,
            });
        }
        let outcome = retry::until(deadline, || {
            let response = self.exchange(command.code, &bytes, deadline)?;
            command.decode(&response)
        });
        match outcome {
            Err(Error::Tpm { command, code }) if code == ResponseCode::FAILURE => {
                Err(Error::Failure {
                    command,
                    code,
                    broken: self.is_broken(deadline)?,
                })
            }
            outcome => outcome,
        }
    }

    fn exchange(
        &mut self,
        command: CommandCode,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        match self.transport.exchange(bytes, deadline) {
            Ok(response) => Ok(Zeroizing::new(response)),
            Err(source) if source.kind() == io::ErrorKind::TimedOut => {
                Err(Error::Deadline { command })
            }
            Err(source) => Err(Error::Exchange { command, source }),
        }
    }

    /// TPM_RC_FAILURE has other causes than failure mode: TPM2_GetTestResult tells them apart.
    fn is_broken(&mut self, deadline: Instant) -> Result<bool, Error> {
        let command = Command::new(CommandCode::GET_TEST_RESULT, Writer::new());
        let response = self.exchange(command.code, &command.encode(), deadline)?;
        let result = command.decode(&response)?.read(|reader| {
            reader.sized(limits::MESSAGE)?;
            reader.u32().map(ResponseCode)
        })?;
        Ok(result == ResponseCode::FAILURE)
    }

    /// Runs the rest of an activation in a session that has just been started.
    fn activate_in(
        &mut self,
        session: Session,
        activation: &Activation<'_>,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        let secret = Command::new(CommandCode::POLICY_SECRET, Writer::new().raw(&[0; 10]))
            .handles(&[Hierarchy::Endorsement.handle(), session.handle])
            .authorize(Authorization::Password(activation.endorsement_auth.clone()));
        self.run(&secret, deadline)?.read(policy_ticket)?;
        if let EkPolicy::SecretOr([a, c]) = EkPolicy::of(&activation.ek.public)? {
            let parameters = Writer::new().u32(2).sized(&a).sized(&c);
            let branch =
                Command::new(CommandCode::POLICY_OR, parameters).handles(&[session.handle]);
            self.run(&branch, deadline)?.read(|_| Ok(()))?;
        }
        let credential = activation.credential;
        let parameters = Writer::new()
            .raw(credential.id_object())
            .raw(credential.encrypted_secret());
        let (ak, ek) = (activation.ak, activation.ek);
        let command = Command::new(CommandCode::ACTIVATE_CREDENTIAL, parameters)
            .handles(&[ak.handle.0, ek.handle.0])
            .authorize(empty_password());
        let names = [ak.name.as_bytes(), ek.name.as_bytes()];
        let (command, exchange) = session.authorize(command, &names)?;
        let mut answer = self.run(&command, deadline)?;
        exchange.open(&mut answer)?;
        answer.read(|reader| Ok(Secret::new(reader.sized(MAX_DIGEST)?.to_vec())))
    }
}

impl Tpm for Native {
    fn property(&mut self, property: u32, deadline: Instant) -> Result<Option<u32>, Error> {
        let parameters = Writer::new().u32(TPM_PROPERTIES).u32(property).u32(1);
        let command = Command::new(CommandCode::GET_CAPABILITY, parameters);
        self.run(&command, deadline)?.read(|reader| {
            reader.u8()?;
            let (capability, count) = (reader.u32()?, reader.u32()?);
            match (capability, count) {
                (TPM_PROPERTIES, 0) => Ok(None),
                (TPM_PROPERTIES, 1) => {
                    let (which, value) = (reader.u32()?, reader.u32()?);
                    Ok((which == property).then_some(value))
                }
                _ => Err(Malformed::Value),
            }
        })
    }

    fn nv_public(&mut self, index: u32, deadline: Instant) -> Result<Option<NvPublic>, Error> {
        let command = Command::new(CommandCode::NV_READ_PUBLIC, Writer::new()).handles(&[index]);
        let Some(answer) = present(self.run(&command, deadline))? else {
            return Ok(None);
        };
        answer
            .read(|reader| {
                let mut public = Reader::new(reader.sized(limits::MESSAGE)?);
                reader.sized(MAX_NAME)?;
                if public.u32()? != index {
                    return Err(Malformed::Value);
                }
                public.u16()?;
                let attributes = public.u32()?;
                public.sized(MAX_DIGEST)?;
                let size = public.u16()?;
                public.end()?;
                Ok(NvPublic {
                    index,
                    attributes,
                    size,
                })
            })
            .map(Some)
    }

    fn nv_read(
        &mut self,
        index: &NvPublic,
        owner: Option<&Auth>,
        size: u16,
        offset: u16,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let (handle, authorization) = match owner {
            Some(auth) => (
                Hierarchy::Owner.handle(),
                Authorization::Password(auth.clone()),
            ),
            None => (index.index, empty_password()),
        };
        let command = Command::new(CommandCode::NV_READ, Writer::new().u16(size).u16(offset))
            .handles(&[handle, index.index])
            .authorize(authorization);
        self.run(&command, deadline)?.read(|reader| {
            let data = reader.sized(usize::from(size))?;
            if data.len() == usize::from(size) {
                Ok(data.to_vec())
            } else {
                Err(Malformed::Truncated)
            }
        })
    }

    fn persistent(&mut self, handle: u32, deadline: Instant) -> Result<Option<Key>, Error> {
        let command = Command::new(CommandCode::READ_PUBLIC, Writer::new()).handles(&[handle]);
        let Some(answer) = present(self.run(&command, deadline))? else {
            return Ok(None);
        };
        let public = answer.read(|reader| {
            let public = supported(reader.sized(evidence::limits::PUBLIC)?)?;
            reader.sized(MAX_NAME)?;
            reader.sized(MAX_NAME)?;
            Ok(public)
        })?;
        Ok(public.and_then(|public| Key::new(Handle(handle), public).ok()))
    }

    fn create_primary(
        &mut self,
        hierarchy: Hierarchy,
        template: &Public,
        auth: &Auth,
        deadline: Instant,
    ) -> Result<Created, Error> {
        let sensitive = Writer::new().sized(&[]).sized(&[]).finish();
        let parameters = Writer::new()
            .sized(&sensitive)
            .sized(template.as_bytes())
            .sized(&[])
            .u32(0);
        let command = Command::new(CommandCode::CREATE_PRIMARY, parameters)
            .handles(&[hierarchy.handle()])
            .authorize(Authorization::Password(auth.clone()))
            .returns_handle();
        let answer = self.run(&command, deadline)?;
        let handle = Handle(answer.handle.unwrap_or_default());
        let (public, created) = answer.read(|reader| {
            let public = supported(reader.sized(evidence::limits::PUBLIC)?)?;
            let data = reader.sized(evidence::limits::CREATION_DATA)?.to_vec();
            let hash = reader.sized(MAX_DIGEST)?.to_vec();
            let ticket = ticket(reader, CREATION_TICKET)?;
            let name = reader.sized(MAX_NAME)?.to_vec();
            Ok((public.ok_or(Malformed::Value)?, (data, hash, ticket, name)))
        })?;
        let (data, hash, ticket, name) = created;
        let key = Key::new(handle, public)?;
        if key.name.as_bytes() != name {
            return Err(Error::Response {
                command: command.code,
                problem: Malformed::Value,
            });
        }
        let record = Some(CreationRecord { data, hash, ticket });
        Ok(Created { key, record })
    }

    fn certify_creation(
        &mut self,
        key: &Key,
        record: &CreationRecord,
        deadline: Instant,
    ) -> Result<Signed, Error> {
        let parameters = Writer::new()
            .sized(&[])
            .sized(&record.hash)
            .u16(Algorithm::NULL.0)
            .raw(&record.ticket);
        let handle = key.handle.0;
        let command = Command::new(CommandCode::CERTIFY_CREATION, parameters)
            .handles(&[handle, handle])
            .authorize(empty_password());
        self.run(&command, deadline)?.read(signed)
    }

    fn activate(
        &mut self,
        activation: &Activation<'_>,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        EkPolicy::of(&activation.ek.public)?;
        let opening = Opening::new(activation.ek, activation.salted)?;
        let answer = self.run(&opening.command(activation.ek.handle.0), deadline)?;
        let session = opening.started(&answer)?;
        let handle = Handle(session.handle);
        let secret = self.activate_in(session, activation, deadline);
        if secret.is_err() {
            // A session that did not end would stay in the TPM; it may be gone already.
            self.flush(handle, deadline).ok();
        }
        secret
    }

    fn quote(
        &mut self,
        key: &Key,
        binding: &[u8],
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Signed, Error> {
        let parameters = Writer::new()
            .sized(binding)
            .u16(Algorithm::NULL.0)
            .raw(&PcrSelection::encode_list(selections));
        let command = Command::new(CommandCode::QUOTE, parameters)
            .handles(&[key.handle.0])
            .authorize(empty_password());
        self.run(&command, deadline)?.read(signed)
    }

    fn read_pcrs(
        &mut self,
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Vec<PcrBank>, Error> {
        let mut reading = Reading::new(selections)?;
        while let Some(portion) = reading.next() {
            let parameters = Writer::new().raw(&PcrSelection::encode_list(&portion));
            let command = Command::new(CommandCode::PCR_READ, parameters);
            let (given, digests) = self.run(&command, deadline)?.read(|reader| {
                reader.u32()?;
                let given = PcrSelection::parse_list(reader)?;
                Ok((given, digests(reader)?))
            })?;
            reading.accept(&given, &digests)?;
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

    fn save_context(&mut self, key: &Key, deadline: Instant) -> Result<Context, Error> {
        self.context_of(key, deadline)
    }

    fn load_context(&mut self, context: &Context, deadline: Instant) -> Result<Handle, Error> {
        self.key_of(context, deadline)
    }

    fn supports(&mut self, template: &Public, deadline: Instant) -> Result<bool, Error> {
        self.test_parms(template, deadline)
    }

    fn flush(&mut self, handle: Handle, deadline: Instant) -> Result<(), Error> {
        let parameters = Writer::new().u32(handle.0);
        let command = Command::new(CommandCode::FLUSH_CONTEXT, parameters);
        self.run(&command, deadline)?.read(|_| Ok(()))
    }
}

pub(crate) fn empty_password() -> Authorization {
    Authorization::Password(Auth::default())
}

/// Absence is an answer, every other code an error.
fn present(outcome: Result<Answer, Error>) -> Result<Option<Answer>, Error> {
    match outcome {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.code() {
            Some(ResponseCode::FIRST_HANDLE | ResponseCode::FIRST_HANDLE_VALUE) => Ok(None),
            _ => Err(error),
        },
    }
}

/// A public area, or `None` when it is of another type than RSA and ECC.
pub(crate) fn supported(bytes: &[u8]) -> Result<Option<Public>, Malformed> {
    match Public::parse(bytes) {
        Ok(public) => Ok(Some(public)),
        Err(PublicError::UnsupportedType(_)) => Ok(None),
        Err(PublicError::Malformed(problem)) => Err(problem),
    }
}

/// An attestation structure and its signature, as their bytes.
pub(crate) fn signed(reader: &mut Reader<'_>) -> Result<Signed, Malformed> {
    let attest = reader.sized(evidence::limits::ATTEST)?.to_vec();
    let signature = reader.take(reader.rest().len())?.to_vec();
    Attest::parse(&attest)?;
    Signature::parse(&signature)?;
    Ok(Signed { attest, signature })
}

/// TPML_DIGEST.
fn digests(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count > limits::PCRS_AT_ONCE {
        return Err(Malformed::TooLong);
    }
    (0..count)
        .map(|_| reader.sized(MAX_DIGEST).map(<[u8]>::to_vec))
        .collect()
}

/// A ticket with the given tag, as its bytes.
pub(crate) fn ticket(reader: &mut Reader<'_>, tag: u16) -> Result<Vec<u8>, Malformed> {
    let (found, hierarchy) = (reader.u16()?, reader.u32()?);
    let digest = reader.sized(MAX_DIGEST)?;
    if found != tag {
        return Err(Malformed::Value);
    }
    Ok(Writer::new().u16(tag).u32(hierarchy).sized(digest).finish())
}

/// The response of TPM2_PolicySecret: a timeout and a TPMT_TK_AUTH, both of no use here.
fn policy_ticket(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    reader.sized(MAX_DIGEST)?;
    ticket(reader, SECRET_TICKET).map(drop)
}

/// TPM_CAP_TPM_PROPERTIES.
const TPM_PROPERTIES: u32 = 6;
/// TPM_ST_CREATION.
pub(crate) const CREATION_TICKET: u16 = 0x8021;
/// TPM_ST_AUTH_SECRET.
const SECRET_TICKET: u16 = 0x8023;
/// Bytes of the largest digest.
pub(crate) const MAX_DIGEST: usize = 64;
/// Bytes of a Name: an algorithm and a digest.
pub(crate) const MAX_NAME: usize = 66;
