//! The second message: a credential that one TPM can open, and what the server wants quoted.

use std::fmt;

use serde::Serialize;

use crate::json::{Json, Members, Object, base64, parse_object};
use crate::{Credential, Hash, Malformed, PcrSelection, limits};

/// What a server asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `EC`.
    pub credential: Credential,
    /// `tpm_attestor`; absent towards old agents, and from old servers.
    pub extension: Option<ChallengeExtension>,
}

/// What a server of this project adds under `tpm_attestor`.
#[derive(Clone, PartialEq, Eq)]
pub struct ChallengeExtension {
    /// The protocol version chosen.
    pub version: u32,
    /// 32 bytes of the server's entropy; makes every transcript distinct.
    pub nonce: [u8; limits::NONCE],
    /// The PCRs to quote, exactly.
    pub pcrs: Vec<(Hash, Vec<u8>)>,
    /// Whether the boot event log is to come with the quote.
    pub log: bool,
    /// Whether the AK is to certify every SVID key that was offered.
    pub certify: bool,
    /// SHA-256 of the values of [`ChallengeExtension::pcrs`], in this order, ascending in each bank, with which the server
    /// knows what the log proves: with these the log may be left out.
    pub known_pcrs: Option<[u8; 32]>,
}

impl ChallengeExtension {
    /// The selection to hand to TPM2_Quote.
    pub fn selections(&self) -> Vec<PcrSelection> {
        self.pcrs
            .iter()
            .map(|(hash, pcrs)| PcrSelection::new(*hash, pcrs))
            .collect()
    }
}

/// Without the nonce, which belongs to one exchange and no log.
impl fmt::Debug for ChallengeExtension {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ChallengeExtension")
            .field("version", &self.version)
            .field("pcrs", &self.pcrs)
            .field("log", &self.log)
            .field("certify", &self.certify)
            .field("known_pcrs", &self.known_pcrs.is_some())
            .finish_non_exhaustive()
    }
}

impl Challenge {
    /// Parses a challenge: one JSON object, exact keys, no duplicates, standard base64.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::CHALLENGE {
            return Err(Malformed::TooLong);
        }
        let object = parse_object(bytes)?;
        let members = Members::new(&object, &["EC", "tpm_attestor"])?;
        let credential = members.object("EC")?.ok_or(Malformed::Value)?;
        let credential = Members::new(credential, &["Credential", "Secret"])?;
        let part = |key| {
            credential
                .bytes(key, limits::CHALLENGE)?
                .ok_or(Malformed::Value)
        };
        Ok(Self {
            credential: Credential::from_wire(part("Credential")?, part("Secret")?)?,
            extension: members
                .object("tpm_attestor")?
                .map(decode_extension)
                .transpose()?,
        })
    }

    /// The challenge.
    pub fn encode(&self) -> Vec<u8> {
        let message = Message {
            ec: CredentialMessage {
                credential: base64(self.credential.id_object()),
                secret: base64(self.credential.encrypted_secret()),
            },
            tpm_attestor: self.extension.as_ref().map(|extension| ExtensionMessage {
                version: extension.version,
                nonce: base64(&extension.nonce),
                pcrs: extension
                    .pcrs
                    .iter()
                    .map(|(hash, pcrs)| BankMessage {
                        hash: hash.name(),
                        pcrs,
                    })
                    .collect(),
                log: extension.log,
                certify: extension.certify,
                known_pcrs: extension.known_pcrs.map(|digest| base64(&digest)),
            }),
        };
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

fn decode_extension(object: &Object<'_>) -> Result<ChallengeExtension, Malformed> {
    let members = Members::new(
        object,
        &["version", "nonce", "pcrs", "log", "certify", "known_pcrs"],
    )?;
    let nonce = members
        .bytes("nonce", limits::NONCE)?
        .ok_or(Malformed::Value)?;
    Ok(ChallengeExtension {
        version: members.number("version")?.ok_or(Malformed::Value)?,
        nonce: nonce.try_into().map_err(|_short| Malformed::Value)?,
        pcrs: members
            .list("pcrs", limits::BANKS)?
            .iter()
            .map(decode_bank)
            .collect::<Result<_, _>>()?,
        log: members.flag("log")?.unwrap_or_default(),
        certify: members.flag("certify")?.unwrap_or_default(),
        known_pcrs: members.sha256("known_pcrs")?,
    })
}

fn decode_bank(value: &Json<'_>) -> Result<(Hash, Vec<u8>), Malformed> {
    let Json::Object(object) = value else {
        return Err(Malformed::Value);
    };
    let members = Members::new(object, &["hash", "pcrs"])?;
    let hash = members
        .text("hash", limits::TEXT)?
        .and_then(Hash::from_name);
    let pcrs = members.list("pcrs", limits::PCRS)?.iter().map(decode_pcr);
    Ok((
        hash.ok_or(Malformed::Value)?,
        pcrs.collect::<Result<_, _>>()?,
    ))
}

fn decode_pcr(value: &Json<'_>) -> Result<u8, Malformed> {
    match value {
        Json::Number(Some(number)) => u8::try_from(*number)
            .ok()
            .filter(|pcr| usize::from(*pcr) < limits::PCRS)
            .ok_or(Malformed::Value),
        _ => Err(Malformed::Value),
    }
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "EC")]
    ec: CredentialMessage,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm_attestor: Option<ExtensionMessage<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialMessage {
    credential: String,
    secret: String,
}

#[derive(Serialize)]
struct ExtensionMessage<'a> {
    version: u32,
    nonce: String,
    pcrs: Vec<BankMessage<'a>>,
    /// Left out where it is false: so it was before there was one.
    #[serde(skip_serializing_if = "is_false")]
    log: bool,
    #[serde(skip_serializing_if = "is_false")]
    certify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_pcrs: Option<String>,
}

#[derive(Serialize)]
struct BankMessage<'a> {
    hash: &'static str,
    pcrs: &'a [u8],
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde wants a function of a reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge() -> Challenge {
        Challenge {
            credential: Credential::from_wire(vec![0, 1, 9], vec![0, 2, 8, 8]).unwrap(),
            extension: Some(ChallengeExtension {
                version: 1,
                nonce: [5; 32],
                pcrs: vec![(Hash::Sha256, vec![0, 7])],
                log: true,
                certify: true,
                known_pcrs: Some([6; 32]),
            }),
        }
    }

    #[test]
    fn challenges_round_trip() {
        let bytes = challenge().encode();
        assert_eq!(Challenge::decode(&bytes), Ok(challenge()));
        let old = Challenge {
            extension: None,
            ..challenge()
        };
        assert_eq!(
            old.encode(),
            br#"{"EC":{"Credential":"AAEJ","Secret":"AAIICA=="}}"#
        );
        assert_eq!(Challenge::decode(&old.encode()), Ok(old));
    }

    #[test]
    fn a_challenge_shows_no_byte_of_its_nonce() {
        let shown = format!("{:?}", challenge().extension);
        let expected = "Some(ChallengeExtension { version: 1, pcrs: [(Sha256, [0, 7])], log: true, certify: true, known_pcrs: true, .. })";
        assert_eq!(shown, expected);
    }

    #[test]
    fn anything_else_is_malformed() {
        let text = String::from_utf8(challenge().encode()).unwrap();
        for len in 0..text.len() {
            assert!(
                Challenge::decode(&text.as_bytes()[..len]).is_err(),
                "prefix of {len}"
            );
        }
        for (from, to) in [
            ("\"EC\"", "\"ec\""),
            ("AAEJ", "AAIJ"),
            ("\"sha256\"", "\"md5\""),
            ("[0,7]", "[0,24]"),
            ("[0,7]", "[-1]"),
            ("BQUF", ""),
            ("\"pcrs\":[{", "\"pcrs\":[{},{"),
            ("\"version\":1,", ""),
            ("\"EC\"", "\"Ec\":{},\"EC\""),
            ("\"tpm_attestor\"", "\"TPM_attestor\":{},\"tpm_attestor\""),
            ("\"Credential\"", "\"credential\":\"\",\"Credential\""),
            ("\"Secret\"", "\"secret\":\"\",\"Secret\""),
            ("\"version\"", "\"Version\":1,\"version\""),
            ("\"nonce\"", "\"Nonce\":\"\",\"nonce\""),
            ("\"log\"", "\"Log\":true,\"log\""),
            ("\"log\":true", "\"log\":1"),
            ("\"certify\"", "\"Certify\":true,\"certify\""),
            ("\"certify\":true", "\"certify\":1"),
            ("\"known_pcrs\"", "\"Known_pcrs\":\"\",\"known_pcrs\""),
            ("BgYG", "BgY"),
            ("\"pcrs\":[{", "\"PCRs\":[],\"pcrs\":[{"),
            ("\"hash\"", "\"Hash\":\"\",\"hash\""),
            ("\"pcrs\":[0", "\"PCRs\":[],\"pcrs\":[0"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(
                Challenge::decode(text.replace(from, to).as_bytes()).is_err(),
                "{from} → {to}"
            );
        }
        assert_eq!(
            Challenge::decode(&vec![b' '; limits::CHALLENGE + 1]),
            Err(Malformed::TooLong)
        );
    }

    #[test]
    fn a_log_and_certifications_are_asked_for_by_true_and_by_nothing_else() {
        let log: fn(&mut ChallengeExtension, bool) = |asked, flag| asked.log = flag;
        asked_for_by_true("log", log);
        let certify: fn(&mut ChallengeExtension, bool) = |asked, flag| asked.certify = flag;
        asked_for_by_true("certify", certify);
    }

    fn asked_for_by_true(name: &str, set: fn(&mut ChallengeExtension, bool)) {
        let asking = |flag| {
            let mut challenge = challenge();
            set(challenge.extension.as_mut().unwrap(), flag);
            challenge
        };
        let text = String::from_utf8(asking(true).encode()).unwrap();
        let member = format!(",\"{name}\":true");
        assert!(text.contains(&member), "{text}");
        // Without it a challenge is, byte for byte, as it was before there was anything to ask for.
        let without = text.replace(&member, "");
        assert_eq!(asking(false).encode(), without.as_bytes());
        for (written, expect) in [
            ("true", Ok(asking(true))),
            ("false", Ok(asking(false))),
            ("null", Ok(asking(false))),
            ("\"true\"", Err(Malformed::Value)),
            ("1", Err(Malformed::Value)),
            ("[]", Err(Malformed::Value)),
        ] {
            let written = format!(",\"{name}\":{written}");
            let text = text.replace(&member, &written);
            assert_eq!(Challenge::decode(text.as_bytes()), expect, "{written}");
        }
    }

    #[test]
    fn known_values_are_told_by_32_bytes_in_base64_or_not_at_all() {
        let text = String::from_utf8(challenge().encode()).unwrap();
        let member = known(&base64(&[6; 32]));
        assert!(text.ends_with(&format!("{member}}}}}")), "{text}");
        let mut none = challenge();
        none.extension.as_mut().unwrap().known_pcrs = None;
        // Without it a challenge is, byte for byte, as it was before anything was known.
        assert_eq!(none.encode(), text.replace(&member, "").as_bytes());
        for (written, expect) in [
            (member.clone(), Ok(challenge())),
            (String::new(), Ok(none.clone())),
            (",\"known_pcrs\":null".into(), Ok(none)),
            (known(&base64(&[6; 31])), Err(Malformed::Value)),
            (known(&base64(&[6; 33])), Err(Malformed::TooLong)),
            (known(""), Err(Malformed::Value)),
            (known(&"06".repeat(32)), Err(Malformed::TooLong)),
            (known(&"-".repeat(44)), Err(Malformed::Value)),
            (",\"known_pcrs\":true".into(), Err(Malformed::Value)),
            (",\"known_pcrs\":[]".into(), Err(Malformed::Value)),
        ] {
            let changed = text.replace(&member, &written);
            assert_eq!(Challenge::decode(changed.as_bytes()), expect, "{written}");
        }
    }

    fn known(value: &str) -> String {
        format!(",\"known_pcrs\":\"{value}\"")
    }

    #[test]
    fn banks_and_pcrs_are_bounded() {
        let asking = |banks, pcrs| {
            let mut challenge = challenge();
            challenge.extension.as_mut().unwrap().pcrs = vec![(Hash::Sha256, vec![0; pcrs]); banks];
            Challenge::decode(&challenge.encode()).map(drop)
        };
        assert_eq!(asking(limits::BANKS, limits::PCRS), Ok(()));
        assert_eq!(asking(limits::BANKS + 1, 1), Err(Malformed::TooLong));
        assert_eq!(asking(1, limits::PCRS + 1), Err(Malformed::TooLong));
    }
}
