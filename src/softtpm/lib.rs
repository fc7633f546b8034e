//! A TPM in software that can lie in every field, for tests, benchmarks and conformance.
//!
//! Without lies it does what a TPM does: it opens credentials, quotes PCRs, certifies the creation
//! of its AK and the SVID keys made in it. [`Lies`] alter any step of an exchange, before the signature or after it.
//! Its keys lie open in memory and some of them are published: nothing real may trust it.

mod activate;
mod ak;
mod boot_log;
mod boot_log_certificate;
mod boot_log_events;
mod boot_log_sample;
mod certify;
mod device;
mod error;
mod keys;
mod lies;
mod life;
mod offer;
mod prover;
mod quote;
mod respond;
mod sample;
mod svid_key;
mod witness;

pub use ak::{Ak, Parent};
pub use boot_log::{BootLog, BootPcrs, LogEntry};
pub use boot_log_certificate::boot_certificate;
pub use boot_log_events::{
    CERT_SHA256, CERT_X509, CERT_X509_SHA256, GLOBAL_VARIABLE, Guid, IMAGE_SECURITY_DATABASE,
    OWNER, SHIM_LOCK, file_path, image_load, node, option_rom_path, signature_data, signature_list,
    utf16, variable_data,
};
pub use certify::certifications_of;
pub use device::{SoftTpm, booted_bank};
pub use error::TpmError;
pub use keys::{Key, KeyKind};
pub use lies::{Answer, Lies, Seen};
pub use prover::{Generation, Prover};
pub use sample::Role;
pub use svid_key::SvidKey;
pub use witness::{Witness, witness_secrets};
