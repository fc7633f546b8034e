//! Random bytes as an argument, refused when the source visibly does not work.

use zeroize::Zeroizing;

use crate::Reason;

/// A source of random bytes: the operating system's, or a test's.
pub trait Entropy {
    /// Fills `out`; false when the source failed.
    fn fill(&mut self, out: &mut [u8]) -> bool;
}

/// 32 or more fresh bytes, erased when dropped, or the reason why there are none.
///
/// A source that answers with zeros alone has failed without saying so: a secret made of them
/// would be known to everybody (NIST SP 800-90B, section 4, asks for a health test).
pub(crate) fn fresh<const N: usize>(
    entropy: &mut impl Entropy,
) -> Result<Zeroizing<[u8; N]>, Reason> {
    let mut bytes = Zeroizing::new([0; N]);
    if !entropy.fill(&mut *bytes) || bytes.iter().all(|byte| *byte == 0) {
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
        assert_eq!(
            fresh::<32>(&mut Source(true, 7)),
            Ok(Zeroizing::new([7; 32]))
        );
        assert_eq!(
            fresh::<32>(&mut Source(true, 0)),
            Err(Reason::EntropyFailure)
        );
        assert_eq!(
            fresh::<32>(&mut Source(false, 7)),
            Err(Reason::EntropyFailure)
        );
    }

    #[test]
    fn a_source_that_says_it_filled_what_it_did_not_touch_is_refused() {
        struct Idle;
        impl Entropy for Idle {
            fn fill(&mut self, _: &mut [u8]) -> bool {
                true
            }
        }
        assert_eq!(fresh::<32>(&mut Idle), Err(Reason::EntropyFailure));
    }
}
