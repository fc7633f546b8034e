//! Certificate authorities and the EK certificates they issue, made with rcgen.

use evidence::SubjectKey;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SubjectPublicKeyInfo,
};
use softtpm::Key;

/// A certificate authority.
pub(crate) struct Authority {
    parameters: CertificateParams,
    key: KeyPair,
}

impl Authority {
    /// An authority by this name.
    pub(crate) fn new(name: &str, key: &Key) -> Result<Self, rcgen::Error> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters.use_authority_key_identifier_extension = true;
        Ok(Self {
            parameters,
            key: KeyPair::try_from(key.pkcs8())?,
        })
    }

    /// Its self-signed certificate in PEM.
    pub(crate) fn pem(&self) -> Result<String, rcgen::Error> {
        Ok(self.parameters.self_signed(&self.key)?.pem())
    }

    /// Another certificate for itself by itself, in DER: the same name and key, a serial number of its own.
    pub(crate) fn twin(&self, serial: u64) -> Result<Vec<u8>, rcgen::Error> {
        let mut parameters = self.parameters.clone();
        parameters.serial_number = Some(serial.into());
        Ok(parameters.self_signed(&self.key)?.der().to_vec())
    }

    /// An EK certificate (TCG EK Credential Profile 2.6, section 3) in DER.
    pub(crate) fn certify(&self, ek: &SubjectKey) -> Result<Vec<u8>, rcgen::Error> {
        let usage = match ek {
            SubjectKey::Rsa { .. } => KeyUsagePurpose::KeyEncipherment,
            SubjectKey::Ec { .. } => KeyUsagePurpose::KeyAgreement,
        };
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "EK");
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![usage];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(EK_PURPOSE.to_vec())];
        parameters.use_authority_key_identifier_extension = true;
        parameters.custom_extensions = vec![CustomExtension::from_oid_content(
            &ALTERNATIVE_NAME,
            alternative_name(),
        )];
        let key = SubjectPublicKeyInfo::from_der(&ek.spki())?;
        let issuer = Issuer::from_params(&self.parameters, &self.key);
        Ok(parameters.signed_by(&key, &issuer)?.der().to_vec())
    }
}

/// tcg-kp-EKCertificate
const EK_PURPOSE: [u64; 5] = [2, 23, 133, 8, 1];
/// subjectAltName
const ALTERNATIVE_NAME: [u64; 4] = [2, 5, 29, 17];

/// A GeneralNames of one directory name with a TPM's manufacturer, model and version.
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

/// A DER element whose contents are shorter than 128 bytes.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let size = u8::try_from(contents.len()).unwrap_or(u8::MAX);
    let header: &[u8] = if size < 0x80 {
        &[tag, size]
    } else {
        &[tag, 0x81, size]
    };
    [header, contents].concat()
}

#[cfg(test)]
mod tests {
    use softtpm::{KeyKind, Role};
    use verify::{Anchors, ChainOptions, EkCertificate};

    use super::*;
    use crate::machine::now;

    fn pem(text: &str) -> Vec<u8> {
        evidence::parse_pem(text, 1).unwrap().remove(0).contents
    }

    #[test]
    fn what_an_authority_certifies_leads_to_it_and_to_no_other() {
        for kind in [KeyKind::Rsa2048, KeyKind::P256] {
            let one = Authority::new("one", &Key::sample(Role::Ak, kind).unwrap()).unwrap();
            let two = Authority::new("one", &Key::sample(Role::Other, kind).unwrap()).unwrap();
            let anchors =
                |authority: &Authority| Anchors::new([pem(&authority.pem().unwrap())], []).0;
            for ek in KeyKind::ALL {
                let ek = Key::sample(Role::Ek, ek).unwrap();
                let der = one.certify(ek.subject_key()).unwrap();
                let certificate = EkCertificate::parse(&der).unwrap();
                let judge = |anchors: Anchors| {
                    anchors
                        .verify(&certificate, &[], now(), ChainOptions::default())
                        .is_ok()
                };
                assert!(judge(anchors(&one)) && !judge(anchors(&two)));
            }
        }
    }

    #[test]
    fn twins_differ_in_their_serial_numbers() {
        let key = Key::sample(Role::Ak, KeyKind::P256).unwrap();
        let authority = Authority::new("one", &key).unwrap();
        assert_ne!(authority.twin(1).unwrap(), authority.twin(2).unwrap());
    }
}
