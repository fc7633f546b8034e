//! The only code that talks to a TPM: one trait of operations over two back ends, the EK of a machine and its AK.
//!
//! [`open`] gives a [`Tpm`]; [`Attestor`] finds the EK, makes the AK and answers challenges with
//! them; [`Keyring`] makes SVID keys below the SRK and signs with them. Every call takes a deadline and returns by it. Nothing here is stored on disk.
//!
//! All of it is synchronous and meant for one thread that owns the TPM.

mod address;
mod attestation;
mod certificate;
mod certification;
mod code;
mod command;
mod endorsement;
mod error;
mod hint;
mod keyring;
pub mod limits;
mod native;
mod native_keys;
mod operations;
mod pcrs;
mod recipe;
mod retry;
mod session;
mod signature_scheme;
mod storage_root;
mod transport;
#[cfg(feature = "tss")]
mod tss;
#[cfg(feature = "tss")]
mod tss_keys;
#[cfg(feature = "tss")]
mod tss_values;
mod wrapped_key;

pub use address::{Address, BadAddress, open};
pub use attestation::{Attestor, OfferParts, Options, Quoted};
pub use certificate::CertificateOrigin;
pub use code::ResponseCode;
pub use command::CommandCode;
pub use endorsement::{EkChoice, Endorsement};
pub use error::Error;
pub use keyring::Keyring;
pub use native::Native;
pub use operations::{
    Activation, Auth, Created, CreationRecord, Handle, Key, NvPublic, Signed, Tpm,
};
pub use signature_scheme::SignatureScheme;
pub use transport::{Connection, Transport};
#[cfg(feature = "tss")]
pub use tss::Tss;
pub use wrapped_key::{Context, WrappedKey};
