//! A maker of TPMs on paper: it certifies endorsement keys that it never saw, rightly and wrongly.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
    date_time_ymd,
};

use crate::case::{Stop, environment};

/// A certificate authority.
pub(super) struct Authority {
    parameters: CertificateParams,
    key: KeyPair,
    certificate: Vec<u8>,
}

/// What is wrong with an EK certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flaw {
    Expired,
    NotYetValid,
    /// Without extended key usage.
    NoPurpose,
    /// With the one of attestation keys.
    OtherPurpose,
    /// With digitalSignature.
    Signs,
    /// Without the TPM's description as subject alternative name.
    NoName,
    IsCa,
    CriticalUnknown,
}

/// tcg-kp-EKCertificate
const EK_PURPOSE: [u64; 5] = [2, 23, 133, 8, 1];
/// tcg-kp-AIKCertificate
const AK_PURPOSE: [u64; 5] = [2, 23, 133, 8, 3];
const ALTERNATIVE_NAME: [u64; 4] = [2, 5, 29, 17];

fn made<T>(made: Result<T, rcgen::Error>) -> Result<T, Stop> {
    made.map_err(|error| environment("a certificate", error))
}

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self, Stop> {
        let parameters = authority(name);
        let key = made(KeyPair::generate())?;
        let certificate = made(parameters.self_signed(&key))?.der().to_vec();
        Ok(Self {
            parameters,
            key,
            certificate,
        })
    }

    /// One that this one has certified.
    pub(super) fn below(&self, name: &str) -> Result<Self, Stop> {
        let parameters = authority(name);
        let key = made(KeyPair::generate())?;
        let certificate = made(parameters.signed_by(&key, &self.issuer()))?
            .der()
            .to_vec();
        Ok(Self {
            parameters,
            key,
            certificate,
        })
    }

    /// Its own certificate, in DER.
    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// An EK certificate (TCG EK Credential Profile 2.6, section 3) in DER for the SubjectPublicKeyInfo of a P-256 key, with
    /// something changed before it is signed.
    pub(super) fn certify(
        &self,
        spki: &[u8],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Vec<u8>, Stop> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "EK");
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(9999, 12, 31);
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(EK_PURPOSE.to_vec())];
        let name = alternative_name();
        parameters.custom_extensions =
            vec![CustomExtension::from_oid_content(&ALTERNATIVE_NAME, name)];
        change(&mut parameters);
        let point = spki.get(26..).unwrap_or_default().to_vec();
        Ok(made(parameters.signed_by(&Point(point), &self.issuer()))?
            .der()
            .to_vec())
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.parameters, &self.key)
    }
}

impl Flaw {
    pub(super) fn put_into(self, parameters: &mut CertificateParams) {
        match self {
            Self::Expired => parameters.not_after = date_time_ymd(2021, 1, 1),
            Self::NotYetValid => parameters.not_before = date_time_ymd(9000, 1, 1),
            Self::NoPurpose => parameters.extended_key_usages.clear(),
            Self::OtherPurpose => {
                let purpose = ExtendedKeyUsagePurpose::Other(AK_PURPOSE.to_vec());
                parameters.extended_key_usages = vec![purpose];
            }
            Self::Signs => parameters
                .key_usages
                .push(KeyUsagePurpose::DigitalSignature),
            Self::NoName => parameters.custom_extensions.clear(),
            Self::IsCa => parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Self::CriticalUnknown => {
                let oid = [1, 3, 6, 1, 4, 1, 99_999, 1];
                let mut extension = CustomExtension::from_oid_content(&oid, vec![5, 0]);
                extension.set_criticality(true);
                parameters.custom_extensions.push(extension);
            }
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2019, 1, 1);
    parameters.not_after = date_time_ymd(9999, 12, 31);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// An uncompressed point of P-256.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// A GeneralNames of one directory name with manufacturer, model and version.
fn alternative_name() -> Vec<u8> {
    let attribute = |number: u8, value: &str| {
        let oid = element(0x06, &[0x67, 0x81, 0x05, 0x02, number]);
        let value = element(0x0C, value.as_bytes());
        element(0x31, &element(0x30, &[oid, value].concat()))
    };
    let names = [
        attribute(1, "id:53544D20"),
        attribute(2, "ST33HTPH"),
        attribute(3, "id:00010102"),
    ];
    element(0x30, &element(0xA4, &element(0x30, &names.concat())))
}

/// DER of less than 256 bytes.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let size = u8::try_from(contents.len()).unwrap_or(u8::MAX);
    let header = match size {
        0..0x80 => vec![tag, size],
        _ => vec![tag, 0x81, size],
    };
    [header, contents.to_vec()].concat()
}
