//! A maker of TPMs on paper: it certifies endorsement keys that it never saw.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, RevokedCertParams, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
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
        let parameters = authority(name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().to_vec();
        Self {
            parameters,
            key,
            certificate,
        }
    }

    /// One that this one has certified.
    pub(crate) fn below(&self, name: &str) -> Self {
        let parameters = authority(name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer()).unwrap();
        Self {
            parameters,
            key,
            certificate: certificate.der().to_vec(),
        }
    }

    /// Its private key, in PEM.
    pub(crate) fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// A revocation list of these certificates, in DER, that is good for some years from this one.
    pub(crate) fn revoke(&self, certificates: &[&[u8]], years: i32) -> Vec<u8> {
        let long_ago = date_time_ymd(this_year() - 9, 1, 1);
        let entry = |certificate: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial(certificate)),
            revocation_time: long_ago,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: long_ago,
            next_update: date_time_ymd(this_year() + years, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: certificates.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer()).unwrap().der().to_vec()
    }

    /// An EK certificate (TCG EK Credential Profile 2.6, section 3) in DER for a SubjectPublicKeyInfo of RSA-2048 or P-256.
    pub(crate) fn certify(&self, spki: &[u8], tpm: &Described) -> Vec<u8> {
        self.certify_for_years(spki, tpm, -10..10)
    }

    /// The same, valid from one year to another, both counted from this year.
    pub(crate) fn certify_for_years(
        &self,
        spki: &[u8],
        tpm: &Described,
        years: Range<i32>,
    ) -> Vec<u8> {
        self.certify_with(spki, tpm, |parameters| {
            parameters.not_before = date_time_ymd(this_year() + years.start, 1, 1);
            parameters.not_after = date_time_ymd(this_year() + years.end, 1, 1);
        })
    }

    /// The same, with something changed before it is signed.
    pub(crate) fn certify_with(
        &self,
        spki: &[u8],
        tpm: &Described,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
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
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer()).unwrap();
        certificate.der().to_vec()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.parameters, &self.key)
    }
}

/// The serial number of a certificate whose length takes two octets, as it stands.
fn serial(certificate: &[u8]) -> &[u8] {
    const HEADERS: usize = 13;
    let length = usize::from(certificate[HEADERS + 1]);
    assert_eq!(certificate[HEADERS], 0x02, "an INTEGER");
    &certificate[HEADERS + 2..][..length]
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn this_year() -> i32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    1970 + i32::try_from(now.as_secs() / 31_556_952).unwrap()
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
