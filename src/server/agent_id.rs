//! SPIFFE IDs as the CredentialComposer is asked about them: those of TPM agents, and those of others.

use evidence::EkHash;

/// Whose an ID is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An agent's that this plugin's attestor identified.
    TpmAgent,
    /// Somebody else's.
    Other,
}

/// Reads an ID of which `trust_domain` is this server's own.
///
/// # Errors
/// One sentence where it is no SPIFFE ID (SPIFFE-ID, section 2), or is where the attestor's are and none of them.
pub(crate) fn owner(id: &str, trust_domain: &str) -> Result<Owner, &'static str> {
    let named = id.strip_prefix("spiffe://").filter(|_| id.len() <= MAX_ID);
    let mut segments = named.ok_or("it is no SPIFFE ID")?.split('/');
    let domain = segments.next().unwrap_or_default();
    let path: Vec<_> = segments.collect();
    if !is_trust_domain(domain) || !path.iter().all(|segment| is_segment(segment)) {
        return Err("it is no SPIFFE ID");
    }
    match path.as_slice() {
        ["spire", "agent", "tpm", rest @ ..] if domain == trust_domain => match rest {
            // The hash is read as it is written: lower case alone.
            [hash] if EkHash::from_hex(hash).is_some_and(|read| read.hex() == *hash) => {
                Ok(Owner::TpmAgent)
            }
            _ => Err("it is no ID of a TPM agent"),
        },
        _ => Ok(Owner::Other),
    }
}

/// The ID that the attestor gives to the agent of the machine with this EK.
pub(crate) fn agent_id(trust_domain: &str, machine: &EkHash) -> String {
    format!("spiffe://{trust_domain}/spire/agent/tpm/{machine}")
}

fn is_trust_domain(name: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    !name.is_empty() && name.len() <= MAX_TRUST_DOMAIN && name.bytes().all(is_letter)
}

fn is_segment(segment: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !["", ".", ".."].contains(&segment) && segment.bytes().all(is_letter)
}

/// Bytes of a SPIFFE ID (SPIFFE-ID, section 2.3).
const MAX_ID: usize = 2048;

/// Bytes of a trust domain's name (the same).
const MAX_TRUST_DOMAIN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attestors_ids_are_told_from_others_and_from_what_only_looks_like_them() {
        let hash = "0123456789abcdef".repeat(4);
        let (tpm, other) = (Ok(Owner::TpmAgent), Ok(Owner::Other));
        let none = Err("it is no SPIFFE ID");
        let odd = Err("it is no ID of a TPM agent");
        for (id, expect) in [
            ("spiffe://example.org/spire/agent/tpm/HASH", &tpm),
            ("spiffe://example.com/spire/agent/tpm/HASH", &other),
            ("spiffe://example.org/spire/agent/x509pop/HASH", &other),
            ("spiffe://example.org/spire/agent/tpm-devid/HASH", &other),
            ("spiffe://example.org/agent/tpm/HASH", &other),
            ("spiffe://example.org/x/spire/agent/tpm/HASH", &other),
            ("spiffe://example.org", &other),
            ("spiffe://example.org/spire/agent/tpm", &odd),
            ("spiffe://example.org/spire/agent/tpm/HASHa", &odd),
            ("spiffe://example.org/spire/agent/tpm/HASH/a", &odd),
            ("spiffe://example.org/spire/agent/tpm/0123", &odd),
            ("spiffe://example.org/spire/agent/tpm/UPPER", &odd),
            ("spiffe://example.org/spire/agent/tpm/", &none),
            ("spiffe://example.org/spire/agent/tpm/HASH/", &none),
            ("spiffe://example.org/spire//agent/tpm/HASH", &none),
            ("spiffe://example.org/spire/agent/tpm/../tpm/HASH", &none),
            ("spiffe://example.org/spire/agent/./tpm/HASH", &none),
            ("spiffe://example.org/spire/agent/tpm%2fHASH", &none),
            ("spiffe://example.org/spire/agent/tpm/HASH?a", &none),
            ("spiffe://example.org/spire/agent/tpm/HASH#a", &none),
            ("spiffe://example.org:80/spire/agent/tpm/HASH", &none),
            ("spiffe://u@example.org/spire/agent/tpm/HASH", &none),
            ("spiffe://Example.org/spire/agent/tpm/HASH", &none),
            ("SPIFFE://example.org/spire/agent/tpm/HASH", &none),
            ("https://example.org/spire/agent/tpm/HASH", &none),
            (" spiffe://example.org/spire/agent/tpm/HASH", &none),
            ("spiffe:///spire/agent/tpm/HASH", &none),
            ("", &none),
        ] {
            let id = id
                .replace("HASH", &hash)
                .replace("UPPER", &hash.to_uppercase());
            assert_eq!(&owner(&id, "example.org"), expect, "{id}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_specification() {
        let id = |bytes: usize| format!("spiffe://example.org/{}", "a".repeat(bytes - 21));
        assert!(owner(&id(2048), "example.org").is_ok());
        assert!(owner(&id(2049), "example.org").is_err());
        let id = |bytes: usize| format!("spiffe://{}/a", "a".repeat(bytes));
        assert!(owner(&id(255), "example.org").is_ok());
        assert!(owner(&id(256), "example.org").is_err());
    }
}
