//! One exchange as it travelled, kept so that it can be judged again where there is no TPM and no network.

use serde::Serialize;

use crate::json::{Members, base64, parse_object};
use crate::{Malformed, Secret, limits};

/// A record of an exchange that ended with a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The trust domain that both sides were told, by its name.
    pub trust_domain: String,
    /// When it was judged, in seconds since the epoch.
    pub time: u64,
    /// The first message.
    pub payload: Vec<u8>,
    /// The challenge.
    pub challenge: Vec<u8>,
    /// What the credential held. The exchange is over, and it opens nothing any more.
    pub secret: Secret,
    /// The answer.
    pub response: Vec<u8>,
    /// Whether the machine was enrolled: `enrolled`, `absent` or `not_kept`.
    pub enrolment: String,
    /// `granted`, or the reason code of the refusal.
    pub verdict: String,
}

impl Record {
    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::RECORD {
            return Err(Malformed::TooLong);
        }
        let object = parse_object(bytes)?;
        let members = Members::new(&object, &MEMBERS)?;
        if members.text("format", limits::TEXT)? != Some(FORMAT) {
            return Err(Malformed::Value);
        }
        let text = |key, limit| members.text(key, limit)?.ok_or(Malformed::Value);
        let bytes = |key, limit| members.bytes(key, limit)?.ok_or(Malformed::Value);
        Ok(Self {
            trust_domain: text("trust_domain", limits::TRUST_DOMAIN)?.to_owned(),
            time: members.large_number("time")?.ok_or(Malformed::Value)?,
            payload: bytes("payload", limits::PAYLOAD)?,
            challenge: bytes("challenge", limits::CHALLENGE)?,
            secret: Secret::new(bytes("secret", limits::TEXT)?),
            response: bytes("response", limits::RESPONSE)?,
            enrolment: text("enrolment", limits::TEXT)?.to_owned(),
            verdict: text("verdict", limits::TEXT)?.to_owned(),
        })
    }

    /// The record as a JSON document, with a line for each member.
    pub fn encode(&self) -> Vec<u8> {
        let document = Document {
            format: FORMAT,
            trust_domain: &self.trust_domain,
            time: self.time,
            verdict: &self.verdict,
            enrolment: &self.enrolment,
            payload: base64(&self.payload),
            challenge: base64(&self.challenge),
            secret: base64(self.secret.expose()),
            response: base64(&self.response),
        };
        let mut bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    trust_domain: &'a str,
    time: u64,
    verdict: &'a str,
    enrolment: &'a str,
    payload: String,
    challenge: String,
    secret: String,
    response: String,
}

const FORMAT: &str = "tpm-attestor/record/1";
const MEMBERS: [&str; 9] = [
    "format",
    "trust_domain",
    "time",
    "verdict",
    "enrolment",
    "payload",
    "challenge",
    "secret",
    "response",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            trust_domain: "example.org".into(),
            time: 1_800_000_000_000,
            payload: vec![1],
            challenge: vec![2],
            secret: Secret::new(vec![3; 32]),
            response: vec![4],
            enrolment: "enrolled".into(),
            verdict: "granted".into(),
        }
    }

    #[test]
    fn records_round_trip_and_nothing_else_is_one() {
        let bytes = record().encode();
        assert_eq!(Record::decode(&bytes), Ok(record()));
        let text = String::from_utf8(bytes).unwrap();
        for member in MEMBERS {
            let quoted = format!("\"{member}\"");
            assert!(text.contains(&quoted), "{member}");
            let without = text.replace(&quoted, "\"other\"");
            assert!(Record::decode(without.as_bytes()).is_err(), "{member}");
            let twice = text.replacen('{', &format!("{{{}:1,", quoted.to_uppercase()), 1);
            assert!(Record::decode(twice.as_bytes()).is_err(), "{member}");
        }
        for len in 0..text.trim_end().len() {
            assert!(Record::decode(&text.as_bytes()[..len]).is_err(), "{len}");
        }
        let newer = text.replace("record/1", "record/2");
        assert_eq!(Record::decode(newer.as_bytes()), Err(Malformed::Value));
        let of_format = |size: usize| {
            let named = text.replace(FORMAT, &"f".repeat(size));
            Record::decode(named.as_bytes())
        };
        assert_eq!(of_format(limits::TEXT), Err(Malformed::Value));
        assert_eq!(of_format(limits::TEXT + 1), Err(Malformed::TooLong));
        let mut padded = text.into_bytes();
        padded.resize(limits::RECORD, b' ');
        assert_eq!(Record::decode(&padded), Ok(record()));
        let large = vec![b' '; limits::RECORD + 1];
        assert_eq!(Record::decode(&large), Err(Malformed::TooLong));
    }

    /// Sizes of trust domain, payload, challenge, secret, response, enrolment and verdict.
    fn sized(sizes: [usize; 7]) -> Record {
        let [
            domain,
            payload,
            challenge,
            secret,
            response,
            enrolment,
            verdict,
        ] = sizes;
        Record {
            trust_domain: "d".repeat(domain),
            time: 0,
            payload: vec![1; payload],
            challenge: vec![2; challenge],
            secret: Secret::new(vec![3; secret]),
            response: vec![4; response],
            enrolment: "e".repeat(enrolment),
            verdict: "v".repeat(verdict),
        }
    }

    #[test]
    fn each_part_has_its_limit() {
        let limits = [
            limits::TRUST_DOMAIN,
            limits::PAYLOAD,
            limits::CHALLENGE,
            limits::TEXT,
            limits::RESPONSE,
            limits::TEXT,
            limits::TEXT,
        ];
        let largest = sized(limits);
        assert_eq!(Record::decode(&largest.encode()), Ok(largest));
        for part in 0..limits.len() {
            let mut beyond = limits;
            beyond[part] += 1;
            let outcome = Record::decode(&sized(beyond).encode());
            assert_eq!(outcome, Err(Malformed::TooLong), "{part}");
        }
    }

    #[test]
    fn a_record_ends_its_last_line() {
        assert_eq!(record().encode().last(), Some(&b'\n'));
    }
}
