//! A maker of TPMs on paper: it certifies endorsement keys that it never saw.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};

/// A certificate authority.
pub(crate) struct Authority {
    parameters: CertificateParams,
    key: KeyPair,
    /// Its own certificate, in DER.
    pub(crate) certificate: Vec<u8>,
}

/// What a certificate says about a TPM.
pub(crate) struct Described {
    pub(crate) manufacturer: &'static str,
    pub(crate) model: &'static str,
}

pub(crate) const ORDINARY: Described = Described {
    manufacturer: "id:53544D20",
    model: "ST33HTPH",
};

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().to_vec();
        Self {
            parameters,
            key,
            certificate,
        }
    }

    /// An EK certificate (TCG EK Credential Profile 2.6, section 3) in DER for a SubjectPublicKeyInfo of RSA-2048 or P-256.
    pub(crate) fn certify(&self, spki: &[u8], tpm: &Described) -> Vec<u8> {
        let key = Key::of(spki);
        let usage = match key {
            Key::Rsa(_) => KeyUsagePurpose::KeyEncipherment,
            Key::Ec(_) => KeyUsagePurpose::KeyAgreement,
        };
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "EK");
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![usage];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(EK_PURPOSE.to_vec())];
        parameters.custom_extensions = vec![CustomExtension::from_oid_content(
            &ALTERNATIVE_NAME,
            alternative_name(tpm),
        )];
        let issuer = Issuer::from_params(&self.parameters, &self.key);
        parameters.signed_by(&key, &issuer).unwrap().der().to_vec()
    }
}

/// tcg-kp-EKCertificate
const EK_PURPOSE: [u64; 5] = [2, 23, 133, 8, 1];
const ALTERNATIVE_NAME: [u64; 4] = [2, 5, 29, 17];

/// The contents of a SubjectPublicKeyInfo's BIT STRING.
enum Key {
    Rsa(Vec<u8>),
    Ec(Vec<u8>),
}

impl Key {
    fn of(spki: &[u8]) -> Self {
        match spki.len() {
            294 => Self::Rsa(spki[24..].to_vec()),
            91 => Self::Ec(spki[26..].to_vec()),
            other => panic!("a SubjectPublicKeyInfo of {other} bytes"),
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Rsa(bytes) | Self::Ec(bytes) => bytes,
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Rsa(_) => &PKCS_RSA_SHA256,
            Self::Ec(_) => &PKCS_ECDSA_P256_SHA256,
        }
    }
}

/// A GeneralNames of one directory name with manufacturer, model and version.
fn alternative_name(tpm: &Described) -> Vec<u8> {
    let attribute = |number: u8, value: &str| {
        let oid = element(0x06, &[0x67, 0x81, 0x05, 0x02, number]);
        let value = element(0x0C, value.as_bytes());
        element(0x31, &element(0x30, &[oid, value].concat()))
    };
    let names = [
        attribute(1, tpm.manufacturer),
        attribute(2, tpm.model),
        attribute(3, "id:00010102"),
    ];
    let name = element(0x30, &names.concat());
    element(0x30, &element(0xA4, &name))
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let size = u8::try_from(contents.len()).unwrap();
    let header = match size {
        0..0x80 => vec![tag, size],
        _ => vec![tag, 0x81, size],
    };
    [header, contents.to_vec()].concat()
}
