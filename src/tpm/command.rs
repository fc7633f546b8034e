//! Commands and responses as they travel (TPM library part 1, section 18; part 3, section 5).

use std::fmt;

use evidence::{Malformed, Reader, Writer};
use zeroize::Zeroizing;

use crate::{Auth, Error, ResponseCode, limits};

/// TPM_CC.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandCode(pub u32);

#[expect(missing_docs, reason = "the names are the library's")]
impl CommandCode {
    pub const NV_READ: Self = Self(0x014E);
    pub const CREATE_PRIMARY: Self = Self(0x0131);
    pub const ACTIVATE_CREDENTIAL: Self = Self(0x0147);
    pub const CERTIFY: Self = Self(0x0148);
    pub const CERTIFY_CREATION: Self = Self(0x014A);
    pub const GET_TIME: Self = Self(0x014C);
    pub const POLICY_SECRET: Self = Self(0x0151);
    pub const CREATE: Self = Self(0x0153);
    pub const LOAD: Self = Self(0x0157);
    pub const QUOTE: Self = Self(0x0158);
    pub const SIGN: Self = Self(0x015D);
    pub const CONTEXT_LOAD: Self = Self(0x0161);
    pub const CONTEXT_SAVE: Self = Self(0x0162);
    pub const FLUSH_CONTEXT: Self = Self(0x0165);
    pub const NV_READ_PUBLIC: Self = Self(0x0169);
    pub const POLICY_OR: Self = Self(0x0171);
    pub const READ_PUBLIC: Self = Self(0x0173);
    pub const START_AUTH_SESSION: Self = Self(0x0176);
    pub const GET_CAPABILITY: Self = Self(0x017A);
    pub const GET_TEST_RESULT: Self = Self(0x017C);
    pub const PCR_READ: Self = Self(0x017E);
    pub const READ_CLOCK: Self = Self(0x0181);
    pub const TEST_PARMS: Self = Self(0x018A);

    /// The name in the TPM library.
    pub fn name(self) -> &'static str {
        match self {
            Self::NV_READ => "TPM2_NV_Read",
            Self::CREATE_PRIMARY => "TPM2_CreatePrimary",
            Self::ACTIVATE_CREDENTIAL => "TPM2_ActivateCredential",
            Self::CERTIFY => "TPM2_Certify",
            Self::CERTIFY_CREATION => "TPM2_CertifyCreation",
            Self::GET_TIME => "TPM2_GetTime",
            Self::POLICY_SECRET => "TPM2_PolicySecret",
            Self::CREATE => "TPM2_Create",
            Self::LOAD => "TPM2_Load",
            Self::QUOTE => "TPM2_Quote",
            Self::SIGN => "TPM2_Sign",
            Self::CONTEXT_LOAD => "TPM2_ContextLoad",
            Self::CONTEXT_SAVE => "TPM2_ContextSave",
            Self::FLUSH_CONTEXT => "TPM2_FlushContext",
            Self::NV_READ_PUBLIC => "TPM2_NV_ReadPublic",
            Self::POLICY_OR => "TPM2_PolicyOR",
            Self::READ_PUBLIC => "TPM2_ReadPublic",
            Self::START_AUTH_SESSION => "TPM2_StartAuthSession",
            Self::GET_CAPABILITY => "TPM2_GetCapability",
            Self::GET_TEST_RESULT => "TPM2_GetTestResult",
            Self::PCR_READ => "TPM2_PCR_Read",
            Self::READ_CLOCK => "TPM2_ReadClock",
            Self::TEST_PARMS => "TPM2_TestParms",
            _ => "another command",
        }
    }
}

impl fmt::Display for CommandCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Debug for CommandCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({:#06x})", self.name(), self.0)
    }
}

/// A command before it is encoded.
pub(crate) struct Command {
    pub(crate) code: CommandCode,
    pub(crate) handles: Vec<u32>,
    pub(crate) authorizations: Vec<Authorization>,
    pub(crate) parameters: Zeroizing<Vec<u8>>,
    /// Whether a successful response starts with a handle.
    pub(crate) returns_handle: bool,
}

/// TPMS_AUTH_COMMAND.
pub(crate) enum Authorization {
    /// A password.
    Password(Auth),
    /// A session.
    Session {
        handle: u32,
        nonce: Vec<u8>,
        attributes: u8,
        hmac: Vec<u8>,
    },
}

/// A successful response.
pub(crate) struct Answer {
    pub(crate) command: CommandCode,
    pub(crate) handle: Option<u32>,
    pub(crate) parameters: Zeroizing<Vec<u8>>,
    pub(crate) acknowledgements: Vec<Acknowledgement>,
}

/// TPMS_AUTH_RESPONSE.
pub(crate) struct Acknowledgement {
    pub(crate) nonce: Vec<u8>,
    pub(crate) attributes: u8,
    pub(crate) hmac: Vec<u8>,
}

impl Command {
    /// A command with neither handles nor authorisations.
    pub(crate) fn new(code: CommandCode, parameters: Writer) -> Self {
        Self {
            code,
            handles: Vec::new(),
            authorizations: Vec::new(),
            parameters: Zeroizing::new(parameters.finish()),
            returns_handle: false,
        }
    }

    pub(crate) fn handles(mut self, handles: &[u32]) -> Self {
        self.handles = handles.to_vec();
        self
    }

    pub(crate) fn authorize(mut self, authorization: Authorization) -> Self {
        self.authorizations.push(authorization);
        self
    }

    pub(crate) fn returns_handle(mut self) -> Self {
        self.returns_handle = true;
        self
    }

    /// The bytes for the TPM.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let empty = Writer::with_capacity(limits::MESSAGE);
        let mut body = self
            .handles
            .iter()
            .fold(empty, |out, handle| out.u32(*handle));
        let tag = if self.authorizations.is_empty() {
            NO_SESSIONS
        } else {
            let area = Zeroizing::new(self.authorization_area());
            body = body.u32(len_u32(&area)).raw(&area);
            SESSIONS
        };
        let body = Zeroizing::new(body.raw(&self.parameters).finish());
        let size = len_u32(&body).saturating_add(HEADER_SIZE);
        let command = Writer::with_capacity(limits::MESSAGE)
            .u16(tag)
            .u32(size)
            .u32(self.code.0)
            .raw(&body);
        Zeroizing::new(command.finish())
    }

    fn authorization_area(&self) -> Vec<u8> {
        // Room from the beginning: growing would leave a copy of a password behind.
        let empty = Writer::with_capacity(limits::MESSAGE);
        self.authorizations
            .iter()
            .fold(empty, |out, authorization| match authorization {
                Authorization::Password(password) => out
                    .u32(PASSWORD_SESSION)
                    .sized(&[])
                    .u8(CONTINUE_SESSION)
                    .sized(password.expose()),
                Authorization::Session {
                    handle,
                    nonce,
                    attributes,
                    hmac,
                } => out.u32(*handle).sized(nonce).u8(*attributes).sized(hmac),
            })
            .finish()
    }

    /// Reads a response, strictly: sizes must agree and every session must be acknowledged.
    ///
    /// # Errors
    /// [`Error::Tpm`] when the TPM answered with a code.
    pub(crate) fn decode(&self, response: &[u8]) -> Result<Answer, Error> {
        self.parse(response).unwrap_or_else(|problem| {
            Err(Error::Response {
                command: self.code,
                problem,
            })
        })
    }

    fn parse(&self, response: &[u8]) -> Result<Result<Answer, Error>, Malformed> {
        if response.len() > limits::MESSAGE {
            return Err(Malformed::TooLong);
        }
        let mut reader = Reader::new(response);
        let tag = reader.u16()?;
        let size = reader.u32()?;
        let code = ResponseCode(reader.u32()?);
        if usize::try_from(size) != Ok(response.len()) {
            return Err(
                if usize::try_from(size).is_ok_and(|size| size < response.len()) {
                    Malformed::Trailing
                } else {
                    Malformed::Truncated
                },
            );
        }
        if tag == TPM_1_2 {
            return Ok(Err(Error::Tpm12));
        }
        if code != ResponseCode::SUCCESS {
            let command = self.code;
            return match (tag, reader.end()) {
                (NO_SESSIONS, Ok(())) => Ok(Err(Error::Tpm { command, code })),
                (_, Err(problem)) => Err(problem),
                _ => Err(Malformed::Value),
            };
        }
        let expected = if self.authorizations.is_empty() {
            NO_SESSIONS
        } else {
            SESSIONS
        };
        if tag != expected {
            return Err(Malformed::Value);
        }
        self.parse_body(reader).map(Ok)
    }

    fn parse_body(&self, mut reader: Reader<'_>) -> Result<Answer, Malformed> {
        let handle = self.returns_handle.then(|| reader.u32()).transpose()?;
        let mut acknowledgements = Vec::new();
        let parameters = if self.authorizations.is_empty() {
            reader.rest()
        } else {
            let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
            let parameters = reader.take(size)?;
            for _ in &self.authorizations {
                acknowledgements.push(Acknowledgement {
                    nonce: reader.sized(MAX_DIGEST)?.to_vec(),
                    attributes: reader.u8()?,
                    hmac: reader.sized(MAX_DIGEST)?.to_vec(),
                });
            }
            reader.end()?;
            parameters
        };
        Ok(Answer {
            command: self.code,
            handle,
            parameters: Zeroizing::new(parameters.to_vec()),
            acknowledgements,
        })
    }
}

impl Answer {
    /// Parses the parameters, all of them.
    pub(crate) fn read<T>(
        &self,
        parse: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let mut reader = Reader::new(&self.parameters);
        parse(&mut reader)
            .and_then(|value| reader.end().map(|()| value))
            .map_err(|problem| Error::Response {
                command: self.command,
                problem,
            })
    }
}

/// The size of a response by its header, once there are enough bytes for one. `Err` for sizes
/// that no response has.
pub(crate) fn announced_size(start: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(header) = start.get(..10) else {
        return Ok(None);
    };
    let mut reader = Reader::new(header);
    reader.u16()?;
    let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    match size {
        0..10 => Err(Malformed::Truncated),
        10..=limits::MESSAGE => Ok(Some(size)),
        _ => Err(Malformed::TooLong),
    }
}

fn len_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// TPM_ST_NO_SESSIONS.
const NO_SESSIONS: u16 = 0x8001;
/// TPM_ST_SESSIONS.
const SESSIONS: u16 = 0x8002;
/// TPM_TAG_RSP_COMMAND: how a TPM 1.2 answers a command that it does not know.
const TPM_1_2: u16 = 0x00C4;
/// TPM_RS_PW.
const PASSWORD_SESSION: u32 = 0x4000_0009;
/// TPMA_SESSION continueSession; it means nothing for a password.
const CONTINUE_SESSION: u8 = 0x01;
/// Tag, size and code.
const HEADER_SIZE: u32 = 10;
/// Bytes of the largest digest.
const MAX_DIGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Command {
        Command::new(CommandCode::GET_TEST_RESULT, Writer::new())
    }

    fn with_password() -> Command {
        Command::new(CommandCode::QUOTE, Writer::new().u8(0xAA))
            .handles(&[0x8000_0000])
            .authorize(Authorization::Password(Auth::new(b"pw".to_vec())))
    }

    #[test]
    fn commands_have_the_bytes_of_the_library() {
        assert_eq!(hex::encode(&*plain().encode()), "80010000000a0000017c");
        assert_eq!(
            hex::encode(&*with_password().encode()),
            "80020000001e00000158800000000000000b4000000900000100027077aa"
        );
    }

    #[test]
    fn a_command_is_wiped_and_leaves_no_copy_behind() {
        fn wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        let command = with_password();
        wiped(&command.parameters);
        wiped(&command.encode());
        // Neither has grown while a password was in it.
        assert_eq!(command.encode().capacity(), limits::MESSAGE);
        assert_eq!(command.authorization_area().capacity(), limits::MESSAGE);
        let ok = hex::decode("8002000000130000000000000000000001 0000".replace(' ', "")).unwrap();
        wiped(&command.decode(&ok).unwrap().parameters);
    }

    #[test]
    fn a_session_stands_in_the_area_as_given() {
        let command = Command::new(CommandCode::ACTIVATE_CREDENTIAL, Writer::new()).authorize(
            Authorization::Session {
                handle: 0x0300_0000,
                nonce: vec![1],
                attributes: 0x40,
                hmac: vec![2],
            },
        );
        assert_eq!(
            hex::encode(&*command.encode()),
            "800200000019000001470000000b03000000000101400001 02".replace(' ', "")
        );
    }

    #[test]
    fn responses_are_read_strictly() {
        let ok = hex::decode("80010000000c00000000beef").unwrap();
        assert_eq!(*plain().decode(&ok).unwrap().parameters, [0xBE, 0xEF]);
        let ok = hex::decode("8002000000160000000000000003aabbcc0000010000").unwrap();
        let answer = with_password().decode(&ok).unwrap();
        assert_eq!(*answer.parameters, [0xAA, 0xBB, 0xCC]);
        assert_eq!(answer.acknowledgements.len(), 1);
        for len in 0..ok.len() {
            assert!(
                matches!(
                    with_password().decode(&ok[..len]),
                    Err(Error::Response { .. })
                ),
                "prefix of {len}"
            );
        }
    }

    #[test]
    fn whatever_the_header_does_not_announce_is_malformed() {
        for (command, response, expect) in [
            (plain(), "80010000000a00000000ff", Malformed::Trailing),
            (plain(), "80010000000c00000000ff", Malformed::Truncated),
            (plain(), "80020000000a00000000", Malformed::Value),
            (with_password(), "80010000000a00000000", Malformed::Value),
            (plain(), "80010000000b0000018b00", Malformed::Trailing),
            (plain(), "80020000000a0000018b", Malformed::Value),
            (
                with_password(),
                "80020000001400000000000000ffaa0000010000",
                Malformed::Truncated,
            ),
            (
                with_password(),
                "80020000001600000000000000010000000100000000",
                Malformed::Trailing,
            ),
        ] {
            let response = hex::decode(response).unwrap();
            match command.decode(&response) {
                Err(Error::Response { problem, .. }) => assert_eq!(problem, expect),
                _ => panic!("{response:02x?} was taken"),
            }
        }
        let large = [
            hex::decode("80010000100100000000").unwrap(),
            vec![0; limits::MESSAGE - 9],
        ]
        .concat();
        assert!(matches!(
            plain().decode(&large),
            Err(Error::Response {
                problem: Malformed::TooLong,
                ..
            })
        ));
    }

    #[test]
    fn codes_and_old_chips_are_told_apart() {
        let refused = hex::decode("80010000000a0000018b").unwrap();
        let error = plain().decode(&refused).err().unwrap();
        assert_eq!(error.code(), Some(ResponseCode::FIRST_HANDLE));
        let old = hex::decode("00c40000000a0000001e").unwrap();
        assert!(matches!(plain().decode(&old), Err(Error::Tpm12)));
    }

    #[test]
    fn announced_sizes_are_bounded() {
        assert_eq!(announced_size(&[0; 9]), Ok(None));
        for (size, expect) in [
            (9, Err(Malformed::Truncated)),
            (10, Ok(Some(10))),
            (4096, Ok(Some(4096))),
            (4097, Err(Malformed::TooLong)),
        ] {
            let header = Writer::new().u16(0x8001).u32(size).u32(0).finish();
            assert_eq!(announced_size(&header), expect);
        }
    }
}
