//! A plain connection to a TPM behind a unix socket: command bytes in, response bytes out.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The largest command or response; swtpm's own buffers are of this size.
const MAX_FRAME: usize = 4096;
/// tag, size, and command or response code (TPM library part 1, section 18).
const HEADER: usize = 10;
/// `TPM_ST_NO_SESSIONS`
const NO_SESSIONS: u16 = 0x8001;
/// Longer than any command of a software TPM takes.
const RESPONSE_TIME: Duration = Duration::from_mins(1);

/// One connection; what the TPM or resource manager keeps for it goes when it is dropped.
#[derive(Debug)]
pub struct TpmSocket {
    stream: UnixStream,
}

impl TpmSocket {
    /// Connects to the socket of a software TPM or of a resource manager.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(RESPONSE_TIME))?;
        Ok(Self { stream })
    }

    /// Sends one command and reads its response; a closed connection is `UnexpectedEof`.
    pub fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(command)?;
        read_frame(&mut self.stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Extends a PCR of the SHA-256 bank: `TPM2_PCR_Extend`.
    pub fn extend_pcr(&mut self, index: u32, digest: [u8; 32]) {
        /// A count of one, and `TPM_ALG_SHA256`.
        const ONE_SHA256: [u8; 6] = [0, 0, 0, 1, 0, 0x0B];
        self.authorised(0x182, index, &[&ONE_SHA256[..], &digest].concat());
    }

    /// Clears the owner as the firmware does, by platform authorisation: `TPM2_Clear`. The storage hierarchy has new
    /// keys, clock and counters are zero.
    pub fn clear(&mut self) {
        /// `TPM_RH_PLATFORM`
        const PLATFORM: u32 = 0x4000_000C;
        self.authorised(0x126, PLATFORM, &[]);
    }

    /// Gives the endorsement hierarchy a password: `TPM2_HierarchyChangeAuth`.
    pub fn set_endorsement_password(&mut self, password: &[u8]) {
        /// `TPM_RH_ENDORSEMENT`
        const ENDORSEMENT: u32 = 0x4000_000B;
        let size = u16::try_from(password.len()).expect("a password is short");
        self.authorised(
            0x129,
            ENDORSEMENT,
            &[&size.to_be_bytes()[..], password].concat(),
        );
    }

    /// The handles of one kind that the TPM has, from `first` on: `TPM2_GetCapability`.
    pub fn handles(&mut self, first: u32) -> Vec<u32> {
        /// `TPM_CAP_HANDLES`
        const HANDLES: u32 = 1;
        let body = [HANDLES, first, 254].map(u32::to_be_bytes).concat();
        let answer = self
            .transmit(&command(0x17A, &body))
            .expect("the TPM answers");
        assert_eq!(code(&answer), 0, "the TPM tells its handles");
        // moreData, the capability, and a counted list.
        let count = usize::try_from(be32(&answer, HEADER + 5)).expect("a small number");
        (0..count)
            .map(|index| be32(&answer, HEADER + 9 + 4 * index))
            .collect()
    }

    /// Sends a command with one handle, authorised by an empty password.
    fn authorised(&mut self, code: u32, handle: u32, parameters: &[u8]) {
        /// `TPM_ST_SESSIONS`
        const SESSIONS: u16 = 0x8002;
        /// Nine bytes of authorisation: `TPM_RS_PW` and nothing else.
        const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        let body = [&handle.to_be_bytes()[..], &EMPTY_PASSWORD, parameters].concat();
        let answer = self
            .transmit(&frame(SESSIONS, code, &body))
            .expect("the TPM answers");
        assert_eq!(self::code(&answer), 0, "command {code:#x} failed");
    }
}

/// Reads one command or response; `None` when the peer has closed between two.
pub(crate) fn read_frame(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; HEADER];
    let first = stream.read(&mut frame)?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut frame[first..])?;
    let size = usize::try_from(be32(&frame, 2)).unwrap_or(usize::MAX);
    if !(HEADER..=MAX_FRAME).contains(&size) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a TPM frame of {size} bytes"),
        ));
    }
    frame.resize(size, 0);
    stream.read_exact(&mut frame[HEADER..])?;
    Ok(Some(frame))
}

/// A command without authorisations: handles and parameters as given.
pub(crate) fn command(code: u32, body: &[u8]) -> Vec<u8> {
    frame(NO_SESSIONS, code, body)
}

/// A response without sessions, as in an error.
pub(crate) fn response(code: u32) -> Vec<u8> {
    frame(NO_SESSIONS, code, &[])
}

/// The command or response code of a frame.
pub(crate) fn code(frame: &[u8]) -> u32 {
    be32(frame, 6)
}

/// Four bytes at `offset`, big-endian.
pub(crate) fn be32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn frame(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER + body.len()).expect("a frame is short");
    let mut bytes = tag.to_be_bytes().to_vec();
    bytes.extend(size.to_be_bytes());
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}
