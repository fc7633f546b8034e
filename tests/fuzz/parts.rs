//! One input as several: each part has its length before it, so that a mutation in one leaves the others alone.

/// Takes parts from the front of an input. What is missing is empty.
pub(crate) struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn of(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// The next byte, zero at the end: choices.
    pub(crate) fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => 0,
        }
    }

    /// The next part: a length of two bytes, then as much of it as there is.
    pub(crate) fn next(&mut self) -> &'a [u8] {
        let length = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
        let (part, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        part
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// A part as [`Parts::next`] takes it.
pub(crate) fn part(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a seed's part is short");
    [&length.to_be_bytes(), bytes].concat()
}
