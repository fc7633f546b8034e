//! Random bytes of the operating system.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use verify::Entropy;

/// The system's random number generator.
pub(crate) struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    pub(crate) fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        self.0.fill(out).is_ok()
    }
}
