//! The first message: which keys a machine has, in STP's form with our extension beside it.

use serde::Serialize;

use crate::json::{Json, Members, Object, base64, parse_object};
use crate::{Malformed, encode_pem, limits, parse_pem};

/// What an agent offers before it knows the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// `EK`.
    pub ek: EndorsementKey,
    /// `AK`.
    pub ak: AttestationKey,
    /// `tpm_attestor`; absent from old agents.
    pub extension: Option<OfferExtension>,
}

/// The EK as PEM blocks, which travel in base64: at least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementKey {
    /// `CERTIFICATE`: DER, perhaps with the padding that the NV index had.
    pub certificate: Option<Vec<u8>>,
    /// `PUBLIC KEY`: a SubjectPublicKeyInfo in DER.
    pub public_key: Option<Vec<u8>>,
}

/// The AK and the TPM's statement that it made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationKey {
    /// `Public`: TPMT_PUBLIC.
    pub public: Vec<u8>,
    /// `CreateData`, `CreateAttestation` and `CreateSignature`; old servers want them.
    pub creation: Option<Creation>,
}

/// The outcome of TPM2_CertifyCreation by the AK over itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// TPMS_CREATION_DATA.
    pub data: Vec<u8>,
    /// TPMS_ATTEST of type ATTEST_CREATION.
    pub attestation: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// What an agent of this project adds under `tpm_attestor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferExtension {
    /// Lowest protocol version the agent speaks.
    pub min_version: u32,
    /// Highest protocol version the agent speaks.
    pub max_version: u32,
    /// The evidence that the agent can give.
    pub evidence: Vec<Capability>,
    /// DER certificates between the EK certificate and an anchor, from the TPM's own storage.
    pub ek_intermediates: Vec<Vec<u8>>,
    /// TPMT_PUBLIC of each SVID key that the AK can certify.
    pub svid_keys: Vec<Vec<u8>>,
    /// TPMT_PUBLIC of the storage root key above them.
    pub svid_parent: Option<Vec<u8>>,
    /// SHA-256 of the boot event log, so that a server which has judged it need not ask for it again.
    pub log_sha256: Option<[u8; 32]>,
    /// The kernel's id of this boot, for the server's records; proves nothing.
    pub boot_id: Option<String>,
}

/// A kind of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// `quote`: TPM2_Quote with PCR values.
    Quote,
    /// `log`: the boot event log.
    Log,
    /// `certify`: TPM2_Certify of the SVID keys.
    Certify,
    /// One that this version does not know.
    Unknown,
}

impl Offer {
    /// Parses a payload: one JSON object, exact keys, no duplicates, standard base64.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::PAYLOAD {
            return Err(Malformed::TooLong);
        }
        let object = parse_object(bytes)?;
        let members = Members::new(&object, &["EK", "AK", "tpm_attestor"])?;
        let ek = members
            .bytes("EK", limits::PAYLOAD)?
            .ok_or(Malformed::Value)?;
        let ak = members.object("AK")?.ok_or(Malformed::Value)?;
        Ok(Self {
            ek: decode_ek(&ek)?,
            ak: decode_ak(ak)?,
            extension: members
                .object("tpm_attestor")?
                .map(decode_extension)
                .transpose()?,
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let creation = self.ak.creation.as_ref();
        let part = |of: fn(&Creation) -> &Vec<u8>| creation.map(|all| base64(of(all)));
        let message = Message {
            ek: base64(encode_ek(&self.ek).as_bytes()),
            ak: AkMessage {
                public: base64(&self.ak.public),
                use_tcsd_activation_format: false,
                create_data: part(|all| &all.data),
                create_attestation: part(|all| &all.attestation),
                create_signature: part(|all| &all.signature),
            },
            tpm_attestor: self.extension.as_ref().map(|extension| ExtensionMessage {
                min_version: extension.min_version,
                max_version: extension.max_version,
                evidence: extension
                    .evidence
                    .iter()
                    .filter_map(Capability::name)
                    .collect(),
                ek_intermediates: extension
                    .ek_intermediates
                    .iter()
                    .map(|der| base64(der))
                    .collect(),
                svid_keys: extension.svid_keys.iter().map(|key| base64(key)).collect(),
                svid_parent: extension.svid_parent.as_deref().map(base64),
                log_sha256: extension.log_sha256.map(|digest| base64(&digest)),
                boot_id: extension.boot_id.as_deref(),
            }),
        };
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

impl Capability {
    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Quote => Some("quote"),
            Self::Log => Some("log"),
            Self::Certify => Some("certify"),
            Self::Unknown => None,
        }
    }
}

/// The member is base64 of a text that is base64 once more.
fn decode_ek(bytes: &[u8]) -> Result<EndorsementKey, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_no_text| Malformed::Value)?;
    let mut ek = EndorsementKey {
        certificate: None,
        public_key: None,
    };
    for block in parse_pem(text, 2)? {
        let (slot, limit) = match block.label.as_str() {
            "CERTIFICATE" => (&mut ek.certificate, limits::PAYLOAD),
            "PUBLIC KEY" => (&mut ek.public_key, limits::PUBLIC),
            _ => return Err(Malformed::Value),
        };
        if block.contents.len() > limit {
            return Err(Malformed::TooLong);
        }
        if block.contents.is_empty() || slot.replace(block.contents).is_some() {
            return Err(Malformed::Value);
        }
    }
    if ek.certificate.is_none() && ek.public_key.is_none() {
        return Err(Malformed::Value);
    }
    Ok(ek)
}

fn encode_ek(ek: &EndorsementKey) -> String {
    let certificate = ek
        .certificate
        .iter()
        .map(|der| encode_pem("CERTIFICATE", der));
    let public_key = ek
        .public_key
        .iter()
        .map(|der| encode_pem("PUBLIC KEY", der));
    certificate.chain(public_key).collect()
}

fn decode_ak(object: &Object<'_>) -> Result<AttestationKey, Malformed> {
    let known = [
        "Public",
        "UseTCSDActivationFormat",
        "CreateData",
        "CreateAttestation",
        "CreateSignature",
    ];
    let members = Members::new(object, &known)?;
    let public = members
        .bytes("Public", limits::PUBLIC)?
        .ok_or(Malformed::Value)?;
    let data = members.bytes("CreateData", limits::CREATION_DATA)?;
    let attestation = members.bytes("CreateAttestation", limits::ATTEST)?;
    let signature = members.bytes("CreateSignature", limits::SIGNATURE)?;
    let creation = match (data, attestation, signature) {
        (Some(data), Some(attestation), Some(signature)) => Some(Creation {
            data,
            attestation,
            signature,
        }),
        (None, None, None) => None,
        _ => return Err(Malformed::Value),
    };
    Ok(AttestationKey { public, creation })
}

fn decode_extension(object: &Object<'_>) -> Result<OfferExtension, Malformed> {
    let known = [
        "min_version",
        "max_version",
        "evidence",
        "ek_intermediates",
        "svid_keys",
        "svid_parent",
        "log_sha256",
        "boot_id",
    ];
    let members = Members::new(object, &known)?;
    let evidence = members.list("evidence", limits::CAPABILITIES)?;
    let intermediates = members.list("ek_intermediates", limits::PAYLOAD)?;
    let svid_keys = members.list("svid_keys", limits::SVID_KEYS)?;
    Ok(OfferExtension {
        min_version: members.number("min_version")?.ok_or(Malformed::Value)?,
        max_version: members.number("max_version")?.ok_or(Malformed::Value)?,
        evidence: evidence
            .iter()
            .map(decode_capability)
            .collect::<Result<_, _>>()?,
        ek_intermediates: intermediates
            .iter()
            .map(|value| value.bytes(limits::PAYLOAD))
            .collect::<Result<_, _>>()?,
        svid_keys: svid_keys
            .iter()
            .map(|value| value.bytes(limits::PUBLIC))
            .collect::<Result<_, _>>()?,
        svid_parent: members.bytes("svid_parent", limits::PUBLIC)?,
        log_sha256: members.sha256("log_sha256")?,
        boot_id: members.text("boot_id", limits::TEXT)?.map(str::to_owned),
    })
}

fn decode_capability(value: &Json<'_>) -> Result<Capability, Malformed> {
    Ok(match value.text(limits::TEXT)? {
        "quote" => Capability::Quote,
        "log" => Capability::Log,
        "certify" => Capability::Certify,
        _ => Capability::Unknown,
    })
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "EK")]
    ek: String,
    #[serde(rename = "AK")]
    ak: AkMessage,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm_attestor: Option<ExtensionMessage<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AkMessage {
    public: String,
    #[serde(rename = "UseTCSDActivationFormat")]
    use_tcsd_activation_format: bool,
    create_data: Option<String>,
    create_attestation: Option<String>,
    create_signature: Option<String>,
}

#[derive(Serialize)]
struct ExtensionMessage<'a> {
    min_version: u32,
    max_version: u32,
    evidence: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ek_intermediates: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    svid_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    svid_parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a part of an offer this size.
    type Part<'a> = &'a dyn Fn(&mut Offer, usize);

    fn offer() -> Offer {
        Offer {
            ek: EndorsementKey {
                certificate: Some(vec![1; 9]),
                public_key: Some(vec![2; 9]),
            },
            ak: AttestationKey {
                public: vec![3; 9],
                creation: Some(Creation {
                    data: vec![4],
                    attestation: vec![5],
                    signature: vec![6],
                }),
            },
            extension: Some(OfferExtension {
                min_version: 1,
                max_version: 2,
                evidence: vec![Capability::Quote, Capability::Log, Capability::Certify],
                ek_intermediates: vec![vec![7; 9]],
                svid_keys: vec![vec![10; 9], vec![11; 9]],
                svid_parent: Some(vec![12; 9]),
                log_sha256: Some([8; 32]),
                boot_id: Some("boot".into()),
            }),
        }
    }

    #[test]
    fn offers_round_trip_with_stp_s_keys_first() {
        let bytes = offer().encode();
        assert_eq!(Offer::decode(&bytes), Ok(offer()));
        let pem = base64(encode_ek(&offer().ek).as_bytes());
        assert!(bytes.starts_with(format!("{{\"EK\":\"{pem}\",\"AK\":{{").as_bytes()));
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.contains("\"evidence\":[\"quote\",\"log\",\"certify\"]"),
            "{text}"
        );
        let old = Offer {
            extension: None,
            ..offer()
        };
        assert_eq!(Offer::decode(&old.encode()), Ok(old));
    }

    #[test]
    fn every_prefix_and_every_disguise_is_malformed() {
        let text = String::from_utf8(offer().encode()).unwrap();
        for len in 0..text.len() {
            assert!(
                Offer::decode(&text.as_bytes()[..len]).is_err(),
                "prefix of {len}"
            );
        }
        for (from, to) in [
            ("\"EK\"", "\"ek\""),
            ("\"AK\"", "\"AK\":{},\"AK\""),
            ("\"tpm_attestor\"", "\"TPM_attestor\""),
            ("\"Public\"", "\"public\""),
            ("\"CreateData\"", "\"Unrelated\""),
            ("\"min_version\":1", "\"min_version\":-1"),
            ("\"min_version\":1", "\"min_version\":\"1\""),
            ("\"min_version\":1,", ""),
            ("\"max_version\":2,", ""),
            ("\"EK\"", "\"Ek\":\"\",\"EK\""),
            ("\"AK\"", "\"ak\":{},\"AK\""),
            ("\"tpm_attestor\"", "\"TPM_ATTESTOR\":{},\"tpm_attestor\""),
            ("\"Public\"", "\"PUBLIC\":\"\",\"Public\""),
            (
                "\"UseTCSDActivationFormat\"",
                "\"useTCSDActivationFormat\":true,\"UseTCSDActivationFormat\"",
            ),
            ("\"CreateData\"", "\"createData\":\"\",\"CreateData\""),
            (
                "\"CreateAttestation\"",
                "\"createAttestation\":\"\",\"CreateAttestation\"",
            ),
            (
                "\"CreateSignature\"",
                "\"createSignature\":\"\",\"CreateSignature\"",
            ),
            ("\"min_version\"", "\"Min_version\":1,\"min_version\""),
            ("\"max_version\"", "\"Max_version\":1,\"max_version\""),
            ("\"evidence\"", "\"Evidence\":[],\"evidence\""),
            (
                "\"ek_intermediates\"",
                "\"EK_intermediates\":[],\"ek_intermediates\"",
            ),
            ("\"svid_keys\"", "\"Svid_keys\":[],\"svid_keys\""),
            ("\"svid_parent\"", "\"SVID_parent\":\"\",\"svid_parent\""),
            ("\"log_sha256\"", "\"Log_sha256\":\"\",\"log_sha256\""),
            ("\"boot_id\"", "\"Boot_id\":\"\",\"boot_id\""),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(
                Offer::decode(text.replace(from, to).as_bytes()).is_err(),
                "{from} → {to}"
            );
        }
    }

    #[test]
    fn the_ek_is_pem_in_base64_and_nothing_else() {
        let text = String::from_utf8(offer().encode()).unwrap();
        let pem = encode_ek(&offer().ek);
        let with = |ek: &[u8]| {
            let changed = text.replace(&base64(pem.as_bytes()), &base64(ek));
            Offer::decode(changed.as_bytes())
        };
        assert_eq!(with(pem.as_bytes()), Ok(offer()));
        let private = pem.replace("PUBLIC", "PRIVATE");
        let twice = format!("{pem}{pem}");
        let certificate = encode_pem("CERTIFICATE", &[1; 9]);
        let two_certificates = certificate.repeat(2);
        let without_contents = certificate + &encode_pem("PUBLIC KEY", &[]);
        for bad in [
            private.as_bytes(),
            twice.as_bytes(),
            two_certificates.as_bytes(),
            without_contents.as_bytes(),
            b"",
            b"\xFF",
        ] {
            assert!(with(bad).is_err());
        }
        let bare = pem.replace('\n', "\\n");
        let bare = text.replace(&base64(pem.as_bytes()), &bare);
        assert!(Offer::decode(bare.as_bytes()).is_err());
    }

    #[test]
    fn newer_peers_may_add_members() {
        let text = String::from_utf8(offer().encode()).unwrap();
        let newer = text
            .replace("{\"EK\"", "{\"AWS\":{\"instance_id\":\"i\"},\"EK\"")
            .replace("\"evidence\":[", "\"later\":1.5,\"evidence\":[\"future\",");
        let decoded = Offer::decode(newer.as_bytes()).unwrap();
        let evidence = decoded.extension.unwrap().evidence;
        let known = [Capability::Quote, Capability::Log, Capability::Certify];
        assert_eq!(evidence, [&[Capability::Unknown][..], &known].concat());
    }

    #[test]
    fn a_log_s_digest_is_32_bytes_in_base64_or_absent() {
        let text = String::from_utf8(offer().encode()).unwrap();
        let written = base64(&[8; 32]);
        let member = format!("\"log_sha256\":\"{written}\",");
        assert!(text.contains(&member), "{text}");
        let mut none = offer();
        none.extension.as_mut().unwrap().log_sha256 = None;
        // Without it an offer is, byte for byte, as it was before there was one.
        assert_eq!(none.encode(), text.replace(&member, "").as_bytes());
        for (written, expect) in [
            (member.clone(), Ok(offer())),
            (String::new(), Ok(none.clone())),
            ("\"log_sha256\":null,".into(), Ok(none)),
            (digest(&base64(&[8; 31])), Err(Malformed::Value)),
            (digest(&base64(&[8; 33])), Err(Malformed::TooLong)),
            (digest(""), Err(Malformed::Value)),
            (digest(&"08".repeat(32)), Err(Malformed::TooLong)),
            (digest(&written.replace('=', "")), Err(Malformed::Value)),
            (digest(&"-".repeat(44)), Err(Malformed::Value)),
            ("\"log_sha256\":8,".into(), Err(Malformed::Value)),
        ] {
            let changed = text.replace(&member, &written);
            assert_eq!(Offer::decode(changed.as_bytes()), expect, "{written}");
        }
    }

    fn digest(value: &str) -> String {
        format!("\"log_sha256\":\"{value}\",")
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(
            Offer::decode(&vec![b' '; limits::PAYLOAD + 1]),
            Err(Malformed::TooLong)
        );
        let creation = |offer: &mut Offer, part: fn(&mut Creation) -> &mut Vec<u8>, size| {
            *part(offer.ak.creation.as_mut().unwrap()) = vec![0; size];
        };
        let extension = |offer: &mut Offer, change: fn(&mut OfferExtension, usize), size| {
            change(offer.extension.as_mut().unwrap(), size);
        };
        let parts: [(&str, usize, Part<'_>); 10] = [
            ("AK", limits::PUBLIC, &|offer, size| {
                offer.ak.public = vec![0; size];
            }),
            ("EK", limits::PUBLIC, &|offer, size| {
                offer.ek.public_key = Some(vec![0; size]);
            }),
            ("creation data", limits::CREATION_DATA, &|offer, size| {
                creation(offer, |all| &mut all.data, size);
            }),
            ("creation attestation", limits::ATTEST, &|offer, size| {
                creation(offer, |all| &mut all.attestation, size);
            }),
            ("creation signature", limits::SIGNATURE, &|offer, size| {
                creation(offer, |all| &mut all.signature, size);
            }),
            ("number of SVID keys", limits::SVID_KEYS, &|offer, size| {
                extension(offer, |all, size| all.svid_keys = vec![vec![1]; size], size);
            }),
            ("an SVID key", limits::PUBLIC, &|offer, size| {
                extension(offer, |all, size| all.svid_keys = vec![vec![1; size]], size);
            }),
            ("the SVID keys' parent", limits::PUBLIC, &|offer, size| {
                let change = |all: &mut OfferExtension, size| all.svid_parent = Some(vec![1; size]);
                extension(offer, change, size);
            }),
            ("boot id", limits::TEXT, &|offer, size| {
                extension(
                    offer,
                    |all, size| all.boot_id = Some("b".repeat(size)),
                    size,
                );
            }),
            ("capabilities", limits::CAPABILITIES, &|offer, size| {
                extension(
                    offer,
                    |all, size| all.evidence = vec![Capability::Quote; size],
                    size,
                );
            }),
        ];
        for (name, limit, part) in parts {
            let mut offer = offer();
            part(&mut offer, limit);
            assert_eq!(Offer::decode(&offer.encode()), Ok(offer.clone()), "{name}");
            part(&mut offer, limit + 1);
            let large = Offer::decode(&offer.encode());
            assert_eq!(large, Err(Malformed::TooLong), "{name}");
        }
        let text = String::from_utf8(offer().encode()).unwrap();
        let capability = text.replace(
            "\"quote\"",
            &format!("\"{}\"", "q".repeat(limits::TEXT + 1)),
        );
        assert_eq!(
            Offer::decode(capability.as_bytes()),
            Err(Malformed::TooLong)
        );
    }
}
