//! Little-endian fields from the front of a byte string, as the profile and UEFI store them.

/// What has not been read. A field that is not there whole is `None`, and nothing is allocated by a size that was read.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `size` bytes.
    pub(crate) fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(head)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A size of four bytes.
    pub(crate) fn size32(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    /// A size of eight bytes; `None`, too, where no memory has as many.
    pub(crate) fn size64(&mut self) -> Option<usize> {
        let size = self.array().map(u64::from_le_bytes)?;
        usize::try_from(size).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
