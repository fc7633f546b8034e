//! The vocabulary of a TPM attestation: the three messages and the TPM structures inside them.
//!
//! Everything here is pure: bytes in, types out, and back. Parsers take the whole input, refuse
//! trailing bytes and never allocate by a length that a peer has named.

mod algorithm;
mod attest;
mod bytes;
mod challenge;
mod endorsement;
mod json;
mod kdf;
pub mod limits;
mod offer;
mod pcr;
mod pem;
mod public;
mod record;
mod response;
mod signature;
mod subject_key;
mod svid_key;
mod template;
#[cfg(test)]
mod tests_bounds;
mod transcript;

pub use algorithm::{Algorithm, Curve, Hash};
pub use attest::{Attest, Attested, ClockInfo, TPM_GENERATED, tag};
pub use bytes::{Malformed, Reader, Writer};
pub use challenge::{Challenge, ChallengeExtension};
pub use endorsement::{BadCredential, Credential, Encapsulated, seed_label};
pub use kdf::{cfb_decrypt, cfb_encrypt, kdfa, kdfe};
pub use offer::{AttestationKey, Capability, Creation, EndorsementKey, Offer, OfferExtension};
pub use pcr::{PcrBank, PcrSelection, pcr_digest};
pub use pem::{PemBlock, encode_pem, parse_pem};
pub use public::{Attributes, Hierarchy, Name, Public, PublicError, PublicKey, Scheme, Symmetric};
pub use record::Record;
pub use response::{Evidence, KeyCertification, Proof, Response};
pub use signature::{Signature, SignatureValue};
pub use subject_key::{EkHash, SubjectKey};
pub use svid_key::{StorageTemplate, SvidKeyTemplate};
pub use template::{AkTemplate, EkProfile, EkTemplate};
pub use transcript::{Secret, Transcript};

/// The protocol version that this code speaks, the value of `version` in a challenge.
pub const VERSION: u32 = 1;
