//! The third message: the raw secret of the first generation, or evidence with a proof.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::json::{Json, Members, Object, base64, parse_object};
use crate::{Hash, Malformed, PcrBank, Secret, limits};

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `Secret`: the activated secret itself, to and from peers of the first generation.
    Secret(Secret),
    /// `tpm_attestor`: the secret stays where it is and signs.
    Proof(Proof),
}

/// Evidence and the proof that covers it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// `evidence`: the encoded [`Evidence`], as it travelled.
    pub evidence: Vec<u8>,
    /// `log`: the raw boot event log.
    pub log: Option<Vec<u8>>,
    /// `proof`: 32 bytes, see [`crate::Secret::proof`].
    pub proof: [u8; 32],
}

/// What the AK signed, and the values it signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// `quote`: TPMS_ATTEST.
    pub quote: Vec<u8>,
    /// `signature`: TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// `pcrs`: the values that were quoted.
    pub pcrs: Vec<PcrBank>,
    /// `certifications`: one for each SVID key, in the order of the offer; absent where none was asked for.
    pub certifications: Vec<KeyCertification>,
}

/// The outcome of TPM2_Certify of an SVID key by the AK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCertification {
    /// `attest`: TPMS_ATTEST of type ATTEST_CERTIFY.
    pub attest: Vec<u8>,
    /// `signature`: TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

impl Response {
    /// Parses a response: one JSON object with exactly one of the two members.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::RESPONSE {
            return Err(Malformed::TooLong);
        }
        let object = parse_object(bytes)?;
        let members = Members::new(&object, &["Secret", "tpm_attestor"])?;
        let secret = members.bytes("Secret", limits::TEXT)?;
        let proof = members
            .object("tpm_attestor")?
            .map(decode_proof)
            .transpose()?;
        match (secret, proof) {
            (Some(secret), None) => Ok(Self::Secret(Secret::new(secret))),
            (None, Some(proof)) => Ok(Self::Proof(proof)),
            _ => Err(Malformed::Value),
        }
    }

    /// The response, erased when dropped: it may be the secret itself.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let message = match self {
            Self::Secret(secret) => Message {
                secret: Some(ErasedText(Zeroizing::new(base64(secret.expose())))),
                tpm_attestor: None,
            },
            Self::Proof(proof) => Message {
                secret: None,
                tpm_attestor: Some(ProofMessage {
                    evidence: base64(&proof.evidence),
                    log: proof.log.as_deref().map(base64),
                    proof: base64(&proof.proof),
                }),
            },
        };
        // As much room as a secret needs, so that no growing leaves a copy behind.
        let secret = message.secret.as_ref().map_or(0, |secret| secret.0.len());
        let mut out = Zeroizing::new(Vec::with_capacity(secret + 64));
        if serde_json::to_writer(&mut *out, &message).is_err() {
            out.clear();
        }
        out
    }
}

/// Sizes alone: evidence holds the binding, and the proof is an HMAC by the secret.
impl fmt::Debug for Proof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Proof")
            .field("evidence", &self.evidence.len())
            .field("log", &self.log.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

impl Evidence {
    /// Parses an evidence document.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let object = parse_object(bytes)?;
        let members = Members::new(&object, &["quote", "signature", "pcrs", "certifications"])?;
        Ok(Self {
            quote: members
                .bytes("quote", limits::ATTEST)?
                .ok_or(Malformed::Value)?,
            signature: members
                .bytes("signature", limits::SIGNATURE)?
                .ok_or(Malformed::Value)?,
            pcrs: members
                .list("pcrs", limits::BANKS)?
                .iter()
                .map(decode_bank)
                .collect::<Result<_, _>>()?,
            certifications: members
                .list("certifications", limits::SVID_KEYS)?
                .iter()
                .map(decode_certification)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The evidence document.
    pub fn encode(&self) -> Vec<u8> {
        let pcrs = self.pcrs.iter().map(|bank| BankMessage {
            hash: bank.hash.name(),
            values: bank
                .values
                .iter()
                .map(|(pcr, value)| (*pcr, hex::encode(value)))
                .collect(),
        });
        let certifications = self
            .certifications
            .iter()
            .map(|certified| CertificationMessage {
                attest: base64(&certified.attest),
                signature: base64(&certified.signature),
            });
        let message = EvidenceMessage {
            quote: base64(&self.quote),
            signature: base64(&self.signature),
            pcrs: pcrs.collect(),
            certifications: certifications.collect(),
        };
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

fn decode_proof(object: &Object<'_>) -> Result<Proof, Malformed> {
    let members = Members::new(object, &["evidence", "log", "proof"])?;
    // Not too long for any buffer, but no proof.
    let proof = members
        .bytes("proof", limits::TEXT)?
        .ok_or(Malformed::Value)?;
    Ok(Proof {
        evidence: members
            .bytes("evidence", limits::RESPONSE)?
            .ok_or(Malformed::Value)?,
        log: members.bytes("log", limits::LOG)?,
        proof: proof.try_into().map_err(|_short| Malformed::Value)?,
    })
}

fn decode_certification(value: &Json<'_>) -> Result<KeyCertification, Malformed> {
    let Json::Object(object) = value else {
        return Err(Malformed::Value);
    };
    let members = Members::new(object, &["attest", "signature"])?;
    let part = |key, limit| members.bytes(key, limit)?.ok_or(Malformed::Value);
    Ok(KeyCertification {
        attest: part("attest", limits::ATTEST)?,
        signature: part("signature", limits::SIGNATURE)?,
    })
}

fn decode_bank(value: &Json<'_>) -> Result<PcrBank, Malformed> {
    let Json::Object(object) = value else {
        return Err(Malformed::Value);
    };
    let members = Members::new(object, &["hash", "values"])?;
    let hash = members
        .text("hash", limits::TEXT)?
        .and_then(Hash::from_name);
    let hash = hash.ok_or(Malformed::Value)?;
    let object = members.object("values")?.ok_or(Malformed::Value)?;
    let values = object
        .iter()
        .map(|(pcr, value)| decode_pcr(hash, pcr, value));
    Ok(PcrBank {
        hash,
        values: values.collect::<Result<_, _>>()?,
    })
}

/// Indices are canonical decimals, so that one PCR has one key.
fn decode_pcr(hash: Hash, pcr: &str, value: &Json<'_>) -> Result<(u8, Vec<u8>), Malformed> {
    let index: u8 = pcr.parse().map_err(|_bad| Malformed::Value)?;
    if index.to_string() != pcr || usize::from(index) >= limits::PCRS {
        return Err(Malformed::Value);
    }
    let value = hex::decode(value.text(hash.size() * 2)?).map_err(|_bad| Malformed::Value)?;
    if value.len() != hash.size() {
        return Err(Malformed::Value);
    }
    Ok((index, value))
}

#[derive(Serialize)]
struct Message {
    #[serde(rename = "Secret", skip_serializing_if = "Option::is_none")]
    secret: Option<ErasedText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm_attestor: Option<ProofMessage>,
}

/// Base64 of a secret, erased when dropped.
struct ErasedText(Zeroizing<String>);

impl Serialize for ErasedText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

#[derive(Serialize)]
struct ProofMessage {
    evidence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    proof: String,
}

#[derive(Serialize)]
struct EvidenceMessage {
    quote: String,
    signature: String,
    pcrs: Vec<BankMessage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certifications: Vec<CertificationMessage>,
}

#[derive(Serialize)]
struct CertificationMessage {
    attest: String,
    signature: String,
}

#[derive(Serialize)]
struct BankMessage {
    hash: &'static str,
    values: BTreeMap<u8, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Response {
        Response::Proof(Proof {
            evidence: vec![1],
            log: Some(vec![2]),
            proof: [3; 32],
        })
    }

    fn evidence() -> Evidence {
        let values = [(0, vec![4; 32]), (10, vec![5; 32])].into();
        Evidence {
            quote: vec![6],
            signature: vec![7],
            pcrs: vec![PcrBank {
                hash: Hash::Sha256,
                values,
            }],
            certifications: vec![certification(1), certification(2)],
        }
    }

    fn certification(size: usize) -> KeyCertification {
        KeyCertification {
            attest: vec![8; size],
            signature: vec![9; size],
        }
    }

    /// A secret of ones.
    fn secret(size: usize) -> Response {
        Response::Secret(Secret::new(vec![1; size]))
    }

    #[test]
    fn a_response_shows_no_byte_and_is_wiped() {
        fn wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        assert_eq!(format!("{:?}", secret(3)), "Secret(Secret(redacted))");
        let shown = format!("{:?}", proof());
        assert_eq!(shown, "Proof(Proof { evidence: 1, log: Some(1), .. })");
        wiped(&secret(3).encode());
        // Room was there from the beginning, or an unwiped copy was left behind.
        for size in [0, 1, 32, 64] {
            let encoded = secret(size).encode();
            assert!(encoded.len() + 32 < encoded.capacity(), "{size}");
        }
    }

    #[test]
    fn responses_round_trip() {
        for response in [proof(), Response::Secret(Secret::new(vec![9; 32]))] {
            assert_eq!(Response::decode(&response.encode()), Ok(response));
        }
        assert_eq!(secret(1).encode().as_slice(), br#"{"Secret":"AQ=="}"#);
        assert_eq!(Evidence::decode(&evidence().encode()), Ok(evidence()));
        let certifications = Vec::new();
        let none = Evidence {
            certifications,
            ..evidence()
        };
        assert!(!String::from_utf8_lossy(&none.encode()).contains("certifications"));
        assert_eq!(Evidence::decode(&none.encode()), Ok(none));
    }

    #[test]
    fn a_response_has_one_of_two_members() {
        for text in [
            "{}",
            r#"{"Secret":"AQ==","tpm_attestor":{"evidence":"","proof":""}}"#,
            r#"{"tpm_attestor":{"evidence":"AQ==","proof":"AQ=="}}"#,
            r#"{"secret":"AQ=="}"#,
            r#"{"Secret":"AQ==","secret":"AQ=="}"#,
        ] {
            assert_eq!(
                Response::decode(text.as_bytes()),
                Err(Malformed::Value),
                "{text}"
            );
        }
        let text = String::from_utf8(proof().encode().to_vec()).unwrap();
        for (from, to) in [
            ("{\"tpm_attestor\"", "{\"Secret\":\"AQ==\",\"tpm_attestor\""),
            ("\"tpm_attestor\"", "\"TPM_attestor\":{},\"tpm_attestor\""),
            ("\"evidence\"", "\"Evidence\":\"\",\"evidence\""),
            ("\"log\"", "\"Log\":\"\",\"log\""),
            ("\"proof\"", "\"Proof\":\"\",\"proof\""),
        ] {
            assert!(text.contains(from), "{from}");
            assert_eq!(
                Response::decode(text.replace(from, to).as_bytes()),
                Err(Malformed::Value),
                "{from} → {to}"
            );
        }
        for size in [0, 31, 33] {
            let (evidence, short) = (base64(&[1]), base64(&vec![3; size]));
            let text =
                format!(r#"{{"tpm_attestor":{{"evidence":"{evidence}","proof":"{short}"}}}}"#);
            assert!(Response::decode(text.as_bytes()).is_err(), "{size}");
        }
        assert_eq!(
            Response::decode(&vec![b' '; limits::RESPONSE + 1]),
            Err(Malformed::TooLong)
        );
    }

    #[test]
    fn pcr_values_have_the_bank_s_size_and_one_key_each() {
        let text = String::from_utf8(evidence().encode()).unwrap();
        for (from, to) in [
            ("\"0\":\"04", "\"00\":\"04"),
            ("\"0\":\"04", "\"24\":\"04"),
            ("\"0\":\"04", "\"x\":\"04"),
            ("\"0\":\"04", "\"0\":\""),
            ("\"10\"", "\"0\""),
            ("sha256", "sha1"),
            ("\"quote\"", "\"Quote\":\"\",\"quote\""),
            ("\"signature\"", "\"Signature\":\"\",\"signature\""),
            ("\"pcrs\"", "\"PCRs\":[],\"pcrs\""),
            ("\"hash\"", "\"Hash\":\"\",\"hash\""),
            ("\"values\"", "\"Values\":{},\"values\""),
            (
                "\"certifications\"",
                "\"Certifications\":[],\"certifications\"",
            ),
            ("\"certifications\":[{", "\"certifications\":[1,{"),
            ("\"attest\"", "\"Attest\":\"\",\"attest\""),
            ("\"attest\"", "\"other\""),
            (
                "CAg=\",\"signature\"",
                "CAg=\",\"SIGNATURE\":\"\",\"signature\"",
            ),
            ("CAg=\",\"signature\"", "CAg=\",\"other\""),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(
                Evidence::decode(text.replace(from, to).as_bytes()).is_err(),
                "{from} → {to}"
            );
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let secret = |size| Response::decode(&secret(size).encode()).map(drop);
        assert_eq!(secret(limits::TEXT), Ok(()));
        assert_eq!(secret(limits::TEXT + 1), Err(Malformed::TooLong));
        // The largest log leaves room for the largest evidence document.
        let full = PcrBank {
            hash: Hash::Sha512,
            values: (0..24).map(|pcr| (pcr, vec![0xFF; 64])).collect(),
        };
        let document = Evidence {
            quote: vec![1; limits::ATTEST],
            signature: vec![2; limits::SIGNATURE],
            pcrs: vec![full; limits::BANKS],
            certifications: vec![
                certification(limits::ATTEST.max(limits::SIGNATURE));
                limits::SVID_KEYS
            ],
        };
        let log = |size| {
            let proof = Proof {
                evidence: document.encode(),
                log: Some(vec![2; size]),
                proof: [3; 32],
            };
            Response::decode(&Response::Proof(proof).encode()).map(drop)
        };
        assert_eq!(log(limits::LOG), Ok(()));
        assert_eq!(log(limits::LOG + 1), Err(Malformed::TooLong));
        let sized = |quote, signature, banks| {
            let document = Evidence {
                quote: vec![1; quote],
                signature: vec![2; signature],
                pcrs: vec![evidence().pcrs[0].clone(); banks],
                certifications: Vec::new(),
            };
            Evidence::decode(&document.encode()).map(drop)
        };
        let certified = |attest, signature, count| {
            let one = KeyCertification {
                attest: vec![1; attest],
                signature: vec![2; signature],
            };
            let certifications = vec![one; count];
            let document = Evidence {
                certifications,
                ..evidence()
            };
            Evidence::decode(&document.encode()).map(drop)
        };
        let (quote, signature, count) = (limits::ATTEST, limits::SIGNATURE, limits::SVID_KEYS);
        assert_eq!(certified(quote, signature, count), Ok(()));
        for outcome in [
            certified(quote + 1, signature, 1),
            certified(quote, signature + 1, 1),
            certified(quote, signature, count + 1),
        ] {
            assert_eq!(outcome, Err(Malformed::TooLong));
        }
        let banks = limits::BANKS;
        assert_eq!(sized(quote, signature, banks), Ok(()));
        for (quote, signature, banks) in [
            (quote + 1, signature, banks),
            (quote, signature + 1, banks),
            (quote, signature, banks + 1),
        ] {
            let outcome = sized(quote, signature, banks);
            assert_eq!(
                outcome,
                Err(Malformed::TooLong),
                "{quote} {signature} {banks}"
            );
        }
    }
}
