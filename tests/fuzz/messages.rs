//! The three messages and the evidence document: exact keys, limits, and one encoding of each.

use std::fmt::Debug;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::{Capability, Challenge, Evidence, Malformed, Offer, Response, limits};
use serde_json::Value;

use crate::shown::assert_hidden;

/// The first message.
pub(crate) fn offer(data: &[u8]) {
    let known = ["EK", "AK", "tpm_attestor"];
    let Some((mut offer, json)) = read(data, limits::PAYLOAD, &known, Offer::decode) else {
        return;
    };
    assert_eq!(bytes(&json["AK"]["Public"]), offer.ak.public);
    assert!(offer.ek.certificate.is_some() || offer.ek.public_key.is_some());
    assert!(offer.ak.public.len() <= limits::PUBLIC);
    if let Some(creation) = &offer.ak.creation {
        assert!(creation.data.len() <= limits::CREATION_DATA);
        assert!(creation.attestation.len() <= limits::ATTEST);
        assert!(creation.signature.len() <= limits::SIGNATURE);
        assert_eq!(bytes(&json["AK"]["CreateData"]), creation.data);
    }
    assert_eq!(offer.extension.is_some(), json["tpm_attestor"].is_object());
    if let Some(extension) = &mut offer.extension {
        assert!(extension.evidence.len() <= limits::CAPABILITIES);
        assert!(
            extension
                .boot_id
                .as_ref()
                .is_none_or(|id| id.len() <= limits::TEXT)
        );
        // What is not known is not sent on.
        extension.evidence.retain(|kind| *kind == Capability::Quote);
    }
    one_encoding(&offer, Offer::encode, Offer::decode, limits::PAYLOAD);
}

/// The second message.
pub(crate) fn challenge(data: &[u8]) {
    let known = ["EC", "tpm_attestor"];
    let Some((challenge, json)) = read(data, limits::CHALLENGE, &known, Challenge::decode) else {
        return;
    };
    let credential = &challenge.credential;
    assert_eq!(bytes(&json["EC"]["Credential"]), credential.id_object());
    assert_eq!(bytes(&json["EC"]["Secret"]), credential.encrypted_secret());
    for sized in [credential.id_object(), credential.encrypted_secret()] {
        let length = u16::from_be_bytes([sized[0], sized[1]]);
        assert_eq!(usize::from(length) + 2, sized.len());
    }
    if let Some(extension) = &challenge.extension {
        assert!(extension.pcrs.len() <= limits::BANKS);
        assert_hidden(&extension.nonce, &format!("{challenge:?}"));
        for ((hash, pcrs), selection) in extension.pcrs.iter().zip(extension.selections()) {
            assert!(pcrs.len() <= limits::PCRS);
            assert_eq!(selection.bank, hash.algorithm());
            let chosen = selection
                .pcrs()
                .expect("every PCR that is read can be selected");
            assert_eq!(chosen, pcrs.iter().copied().collect());
        }
    }
    one_encoding(
        &challenge,
        Challenge::encode,
        Challenge::decode,
        limits::CHALLENGE,
    );
}

/// The third message.
pub(crate) fn response(data: &[u8]) {
    let known = ["Secret", "tpm_attestor"];
    let Some((response, json)) = read(data, limits::RESPONSE, &known, Response::decode) else {
        return;
    };
    let debug = format!("{response:?}");
    match &response {
        Response::Secret(secret) => {
            assert_eq!(bytes(&json["Secret"]), secret.expose());
            assert!(secret.expose().len() <= limits::TEXT);
            assert_hidden(secret.expose(), &debug);
        }
        Response::Proof(proof) => {
            assert_eq!(bytes(&json["tpm_attestor"]["evidence"]), proof.evidence);
            assert_eq!(bytes(&json["tpm_attestor"]["proof"]), proof.proof);
            assert_hidden(&proof.proof, &debug);
        }
    }
    let encode = |response: &Response| response.encode().to_vec();
    one_encoding(&response, encode, Response::decode, limits::RESPONSE);
}

/// What a proof covers.
pub(crate) fn evidence_document(data: &[u8]) {
    let known = ["quote", "signature", "pcrs"];
    let Some((evidence, json)) = read(data, limits::RESPONSE, &known, Evidence::decode) else {
        return;
    };
    assert_eq!(bytes(&json["quote"]), evidence.quote);
    assert_eq!(bytes(&json["signature"]), evidence.signature);
    assert!(evidence.quote.len() <= limits::ATTEST);
    assert!(evidence.signature.len() <= limits::SIGNATURE);
    assert!(evidence.pcrs.len() <= limits::BANKS);
    for (index, bank) in evidence.pcrs.iter().enumerate() {
        let values = json["pcrs"][index]["values"]
            .as_object()
            .expect("an object");
        assert_eq!(values.len(), bank.values.len(), "one key for each PCR");
        for (pcr, value) in &bank.values {
            assert!(usize::from(*pcr) < limits::PCRS);
            assert_eq!(value.len(), bank.hash.size());
        }
    }
    one_encoding(
        &evidence,
        Evidence::encode,
        Evidence::decode,
        limits::RESPONSE,
    );
}

/// Reads a message and, where that works, another reader's view of it. What holds for each JSON
/// message is checked on the way.
fn read<T: PartialEq + Debug>(
    data: &[u8],
    limit: usize,
    known: &[&str],
    decode: fn(&[u8]) -> Result<T, Malformed>,
) -> Option<(T, Value)> {
    let outcome = decode(data);
    assert_eq!(outcome, decode(data), "the same twice");
    let message = outcome.ok()?;
    assert!(data.len() <= limit);
    let json: Value = serde_json::from_slice(data).expect("whoever reads JSON reads this");
    assert!(json.is_object());
    cut(data, decode);
    let begin = data
        .iter()
        .position(|byte| *byte == b'{')
        .expect("an object");
    let members = &data[begin + 1..];
    let with = |member: &str| decode(&[b"{", member.as_bytes(), b",", members].concat());
    for key in known {
        let lower = key.to_lowercase();
        let other_case = if lower == *key {
            key.to_uppercase()
        } else {
            lower
        };
        with(&format!("\"{other_case}\":null")).expect_err("a key in another letter case");
        if json.get(key).is_some() {
            with(&format!("\"{key}\":null")).expect_err("a key twice");
        }
    }
    let newer = "\"\\u0000later\":[1.5,{\"EK\":null}]";
    if json.get("\0later").is_none() && data.len() + newer.len() < limit {
        assert_eq!(with(newer).as_ref(), Ok(&message), "a newer peer's member");
    }
    Some((message, json))
}

/// No beginning of a message is one.
fn cut<T: Debug>(data: &[u8], decode: fn(&[u8]) -> Result<T, Malformed>) {
    let length = data.trim_ascii_end().len();
    for kept in [
        0,
        length / 3,
        length / 2,
        length - length / 7 - 1,
        length - 1,
    ] {
        decode(&data[..kept]).expect_err("the beginning of a message");
    }
}

/// What is encoded is read as what it was, and encoded again to the same bytes.
fn one_encoding<T: PartialEq + Debug>(
    message: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: fn(&[u8]) -> Result<T, Malformed>,
    limit: usize,
) {
    let encoded = encode(message);
    // An encoding with line breaks, say, is longer than the one that came without them.
    if encoded.len() > limit {
        decode(&encoded).expect_err("longer than the limit");
        return;
    }
    let again = decode(&encoded).expect("what we write we read");
    assert_eq!(again, *message);
    assert_eq!(encode(&again), encoded);
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a text");
    STANDARD.decode(text).expect("base64")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Messages of honest machines.
pub(crate) mod seeds {
    use evidence::Response;

    use crate::machine::exchanges;

    pub(crate) fn offer() -> Vec<Vec<u8>> {
        let payloads = exchanges().into_iter().map(|[payload, ..]| payload);
        let small = br#"{"EK":"LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUFBPQotLS0tLUVORCBQVUJMSUMgS0VZLS0tLS0K","AK":{"Public":"AAEC"},"tpm_attestor":{"min_version":1,"max_version":2,"evidence":["quote","later"],"ek_intermediates":["MAA="],"boot_id":"b"}}"#;
        payloads.chain([small.to_vec()]).collect()
    }

    pub(crate) fn challenge() -> Vec<Vec<u8>> {
        exchanges()
            .into_iter()
            .map(|[_, challenge, _]| challenge)
            .collect()
    }

    pub(crate) fn response() -> Vec<Vec<u8>> {
        exchanges()
            .into_iter()
            .map(|[.., response]| response)
            .collect()
    }

    pub(crate) fn evidence_document() -> Vec<Vec<u8>> {
        let proof = |response: Vec<u8>| match Response::decode(&response) {
            Ok(Response::Proof(proof)) => Some(proof.evidence),
            _ => None,
        };
        response().into_iter().filter_map(proof).collect()
    }
}
