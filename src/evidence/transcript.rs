//! The transcript of an exchange, and the secret that binds every proof to it.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Hash;

/// SHA-256 over what both sides saw: trust domain, payload and challenge, as they travelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript([u8; 32]);

impl Transcript {
    /// SHA-256("tpm-attestor/v1" ‖ u32 length ‖ trust domain ‖ u32 length ‖ payload ‖ u32 length
    /// ‖ challenge), lengths big-endian.
    pub fn new(trust_domain: &str, payload: &[u8], challenge: &[u8]) -> Self {
        let sized = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        let digest = Hash::Sha256.digest(&[
            b"tpm-attestor/v1",
            &sized(trust_domain.as_bytes()),
            trust_domain.as_bytes(),
            &sized(payload),
            payload,
            &sized(challenge),
            challenge,
        ]);
        Self(digest.try_into().unwrap_or_default())
    }
}

/// The secret inside a credential; shown to nobody, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the credential and for the answer that old servers want.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// extraData of the quote: HMAC-SHA256(secret, "quote" ‖ T).
    pub fn quote_binding(&self, transcript: &Transcript) -> [u8; 32] {
        self.hmac(&[b"quote", &transcript.0])
    }

    /// extraData of a certification: HMAC-SHA256(secret, "certify" ‖ T).
    pub fn certify_binding(&self, transcript: &Transcript) -> [u8; 32] {
        self.hmac(&[b"certify", &transcript.0])
    }

    /// The proof of a response: HMAC-SHA256(secret, "proof" ‖ T ‖ SHA-256(evidence) ‖
    /// SHA-256(log)), over decoded bytes, empty where absent.
    pub fn proof(&self, transcript: &Transcript, evidence: &[u8], log: &[u8]) -> [u8; 32] {
        let log = Hash::Sha256.digest(&[log]);
        self.proof_of(transcript, evidence, &log)
    }

    /// The same, by the SHA-256 of the log.
    pub fn proof_of(
        &self,
        transcript: &Transcript,
        evidence: &[u8],
        log_sha256: &[u8],
    ) -> [u8; 32] {
        let evidence = Hash::Sha256.digest(&[evidence]);
        self.hmac(&[b"proof", &transcript.0, &evidence, log_sha256])
    }

    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        Hash::Sha256
            .hmac(&self.0, parts)
            .try_into()
            .unwrap_or_default()
    }
}

/// Equality in constant time for equal lengths.
impl PartialEq<[u8]> for Secret {
    fn eq(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        *self == *other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// Known answers; computed once with Python's hashlib and hmac from the formulas above.
    #[test]
    fn known_answers() {
        let transcript = Transcript::new("example.org", b"{\"EK\":\"\"}", b"{\"EC\":{}}");
        let secret = Secret::new((0..32).collect());
        assert_eq!(
            hex::encode(transcript.0),
            include_str!("vectors/transcript.hex").trim()
        );
        assert_eq!(
            hex::encode(secret.quote_binding(&transcript)),
            include_str!("vectors/quote.hex").trim()
        );
        assert_eq!(
            hex::encode(secret.certify_binding(&transcript)),
            include_str!("vectors/certify.hex").trim()
        );
        assert_eq!(
            hex::encode(secret.proof(&transcript, b"evidence", b"")),
            include_str!("vectors/proof.hex").trim()
        );
    }

    #[test]
    fn lengths_keep_fields_apart() {
        let one = Transcript::new("example.org", b"ab", b"c");
        assert_ne!(one, Transcript::new("example.org", b"a", b"bc"));
        assert_ne!(one, Transcript::new("example.orga", b"b", b"c"));
    }

    #[test]
    fn a_secret_shows_nothing_and_compares_by_value() {
        let secret = Secret::new(vec![1, 2, 3]);
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert!(secret == [1, 2, 3][..] && secret != [1, 2][..] && secret != [1, 2, 4][..]);
        assert!(secret == secret.clone() && secret != Secret::new(vec![1, 2, 4]));
    }

    #[test]
    fn a_secret_is_wiped() {
        fn wiped(_: &impl ZeroizeOnDrop) {}
        wiped(&Secret::new(vec![1]).0);
    }
}
