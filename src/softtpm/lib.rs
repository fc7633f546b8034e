//! A TPM in software that can lie in every field, for tests, benchmarks and conformance.
//!
//! Without lies it does what a TPM does: it opens credentials, quotes PCRs and certifies the
//! creation of its AK. [`Lies`] alter any step of an exchange, before the signature or after it.
//! Its keys lie open in memory and some of them are published: nothing real may trust it.

mod activate;
mod ak;
mod device;
mod error;
mod keys;
mod lies;
mod offer;
mod prover;
mod quote;
mod respond;
mod sample;
mod witness;

pub use ak::{Ak, Parent};
pub use device::{SoftTpm, booted_bank};
pub use error::TpmError;
pub use keys::{Key, KeyKind};
pub use lies::{Answer, Lies, Seen};
pub use prover::{Generation, Prover};
pub use sample::Role;
pub use witness::{Witness, witness_secrets};
