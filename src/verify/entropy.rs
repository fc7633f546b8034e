//! Random bytes as an argument, refused when the source visibly does not work.

use crate::Reason;

/// A source of random bytes: the operating system's, or a test's.
pub trait Entropy {
    /// Fills `out`; false when the source failed.
    fn fill(&mut self, out: &mut [u8]) -> bool;
}

/// 32 or more fresh bytes, or the reason why there are none.
///
/// A source that answers with zeros alone has failed without saying so: a secret made of them
/// would be known to everybody (NIST SP 800-90B, section 4, asks for a health test).
pub(crate) fn fresh<const N: usize>(entropy: &mut impl Entropy) -> Result<[u8; N], Reason> {
    let mut bytes = [0; N];
    if !entropy.fill(&mut bytes) || bytes.iter().all(|byte| *byte == 0) {
        return Err(Reason::EntropyFailure);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Source(bool, u8);

    impl Entropy for Source {
        fn fill(&mut self, out: &mut [u8]) -> bool {
            out.fill(self.1);
            self.0
        }
    }

    #[test]
    fn failures_and_zeros_are_refused() {
        assert_eq!(fresh::<32>(&mut Source(true, 7)), Ok([7; 32]));
        assert_eq!(
            fresh::<32>(&mut Source(true, 0)),
            Err(Reason::EntropyFailure)
        );
        assert_eq!(
            fresh::<32>(&mut Source(false, 7)),
            Err(Reason::EntropyFailure)
        );
    }
}
