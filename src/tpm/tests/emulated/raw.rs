//! Raw commands, to prepare a TPM and to look into it.

use evidence::{Public, Reader, Writer};
use tpm::{Connection, Transport};

use crate::emulator::soon;

/// Raw commands.
pub(crate) struct Raw<C>(pub(crate) C);

/// A connection of its own, or another's.
pub(crate) trait AsConnection {
    /// The connection.
    fn as_connection(&mut self) -> &mut Connection;
}

impl AsConnection for Connection {
    fn as_connection(&mut self) -> &mut Connection {
        self
    }
}

impl AsConnection for &mut Connection {
    fn as_connection(&mut self) -> &mut Connection {
        self
    }
}

/// The hierarchies.
pub(crate) const OWNER: u32 = 0x4000_0001;
/// The endorsement hierarchy.
pub(crate) const ENDORSEMENT: u32 = 0x4000_000B;
/// TPMA_NV of an index that its own empty password, the owner and the platform may read.
pub(crate) const READ_BY_ALL: u32 = 0x4207_2001;
/// TPMA_NV of an index that the owner may read.
pub(crate) const READ_BY_OWNER: u32 = 0x4202_2001;
/// TPMA_NV of an index that the platform may read.
pub(crate) const READ_BY_PLATFORM: u32 = 0x4201_2001;
/// The platform hierarchy.
pub(crate) const PLATFORM: u32 = 0x4000_000C;

impl<C: AsConnection> Raw<C> {
    /// Runs a command with an empty password for the first handle and returns the response.
    pub(crate) fn authorized(&mut self, code: u32, handles: &[u32], parameters: Writer) -> Vec<u8> {
        let area = Writer::new().u32(0x4000_0009).u16(0).u8(1).u16(0).finish();
        let body = handles
            .iter()
            .fold(Writer::new(), |out, handle| out.u32(*handle));
        let body = body
            .u32(u32::try_from(area.len()).unwrap())
            .raw(&area)
            .raw(&parameters.finish());
        self.send(0x8002, code, &body.finish())
    }

    /// Runs a command without authorisation.
    pub(crate) fn plain(&mut self, code: u32, parameters: Writer) -> Vec<u8> {
        self.send(0x8001, code, &parameters.finish())
    }

    fn send(&mut self, tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
        let response = self.answer(tag, code, body);
        assert_eq!(response[6..10], [0; 4], "command {code:#x}");
        response
    }

    /// Runs a command that is given in all but its header, and returns the response, whatever it is.
    pub(crate) fn answer(&mut self, tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).unwrap() + 10;
        let command = Writer::new()
            .u16(tag)
            .u32(size)
            .u32(code)
            .raw(body)
            .finish();
        self.0.as_connection().exchange(&command, soon()).unwrap()
    }

    /// Removes a persistent key.
    pub(crate) fn evict(&mut self, handle: u32) {
        self.authorized(0x0120, &[OWNER, handle], Writer::new().u32(handle));
    }

    /// Removes an NV index of the platform's.
    pub(crate) fn undefine(&mut self, index: u32) {
        self.authorized(0x0122, &[PLATFORM, index], Writer::new());
    }

    /// Defines and writes an NV index as a manufacturer does.
    pub(crate) fn store(&mut self, index: u32, contents: &[u8]) {
        self.store_with(index, contents, READ_BY_ALL);
    }

    /// Defines an NV index with the given attributes and writes it.
    pub(crate) fn store_with(&mut self, index: u32, contents: &[u8], attributes: u32) {
        self.define(index, contents.len(), attributes);
        for (place, part) in contents.chunks(512).enumerate() {
            let offset = u16::try_from(place).unwrap() * 512;
            let parameters = Writer::new().sized(part).u16(offset);
            self.authorized(0x0137, &[PLATFORM, index], parameters);
        }
    }

    /// Defines an NV index with the given attributes.
    pub(crate) fn define(&mut self, index: u32, size: usize, attributes: u32) {
        let public = Writer::new().u32(index).u16(0x000B).u32(attributes);
        let public = public.u16(0).u16(u16::try_from(size).unwrap()).finish();
        let parameters = Writer::new().u16(0).sized(&public);
        self.authorized(0x012A, &[PLATFORM], parameters);
    }

    /// Makes a primary key, and makes it persistent.
    pub(crate) fn make_persistent(&mut self, hierarchy: u32, template: &Public, handle: u32) {
        let sensitive = Writer::new().u16(0).u16(0).finish();
        let parameters = Writer::new().sized(&sensitive).sized(template.as_bytes());
        let response = self.authorized(0x0131, &[hierarchy], parameters.u16(0).u32(0));
        let made = u32::from_be_bytes(response[10..14].try_into().unwrap());
        self.authorized(0x0120, &[OWNER, made], Writer::new().u32(handle));
        self.plain(0x0165, Writer::new().u32(made));
    }

    /// TPM2_Clear by the platform.
    pub(crate) fn clear(&mut self) {
        self.authorized(0x0126, &[PLATFORM], Writer::new());
    }

    /// Sets the password of a hierarchy.
    pub(crate) fn set_password(&mut self, hierarchy: u32, password: &[u8]) {
        self.authorized(0x0129, &[hierarchy], Writer::new().sized(password));
    }

    /// Extends a PCR of the SHA-256 bank.
    pub(crate) fn extend(&mut self, pcr: u32, digest: &[u8; 32]) {
        self.authorized(0x0182, &[pcr], Writer::new().u32(1).u16(0x000B).raw(digest));
    }

    /// The handles in use of a kind: 0x80000000 objects, 0x02000000 loaded sessions.
    pub(crate) fn handles(&mut self, first: u32) -> Vec<u32> {
        let response = self.plain(0x017A, Writer::new().u32(1).u32(first).u32(64));
        let mut reader = Reader::new(&response[15..]);
        let count = reader.u32().unwrap();
        (0..count).map(|_| reader.u32().unwrap()).collect()
    }

    /// Removes all transient objects, as another program could.
    pub(crate) fn flush_all(&mut self) {
        for handle in self.handles(0x8000_0000) {
            self.plain(0x0165, Writer::new().u32(handle));
        }
    }
}
