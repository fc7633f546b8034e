//! Certificates and public keys: what is accepted is one thing, and what is trusted was signed and says what it must.

use evidence::SubjectKey;
use verify::{Anchors, ChainOptions, CrlPolicy, EkCertificate, Rejection, parse_public_key};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, GeneralName};
use x509_parser::x509::{SubjectPublicKeyInfo, X509Version};

use crate::der::signed_part;
use crate::machine::{ANCHORS, NOW, PKI, Signer, sign};
use crate::parts::Parts;
use crate::shown::assert_shown;

/// An EK certificate as it lies in an NV index.
pub(crate) fn certificate(data: &[u8]) {
    let outcome = EkCertificate::parse(data).map(|found| found.der().to_vec());
    let again = EkCertificate::parse(data).map(|found| found.der().to_vec());
    assert_eq!(outcome, again, "the same twice");
    let certificate = match EkCertificate::parse(data) {
        Ok(certificate) => certificate,
        Err(rejection) => return refused(&rejection),
    };
    let der = certificate.der();
    let padding = data.strip_prefix(der).expect("the certificate comes first");
    assert!(padding.iter().all(|byte| *byte == 0) || padding.iter().all(|byte| *byte == 0xFF));
    if der.len() + 32 < evidence::limits::CERTIFICATE {
        for (fill, is_padding) in [(0, true), (0xFF, true), (1, false)] {
            let padded = EkCertificate::parse(&[der, &[fill; 32]].concat());
            assert_eq!(
                padded.is_ok_and(|found| found.der() == der),
                is_padding,
                "{fill}"
            );
        }
    }
    for kept in [0, der.len() / 2, der.len() - 1] {
        assert!(
            EkCertificate::parse(&der[..kept]).is_err(),
            "the beginning of a certificate"
        );
    }
    described(&certificate);
    let (_, x509) = X509Certificate::from_der(der).expect("whoever reads X.509 reads this");
    let key = parse_public_key(x509.public_key().raw);
    assert_eq!(key.as_ref(), Ok(certificate.key()));
    // Nothing but what the CA signed leads to it.
    let verified = ANCHORS.verify(&certificate, &[], NOW, ChainOptions::default());
    match verified {
        Ok(_) => {
            let issued = PKI.certify(certificate.key());
            assert_eq!(signed_part(der), signed_part(&issued), "never issued");
        }
        Err(rejection) => refused(&rejection),
    }
}

/// A chain whose signatures are good, whatever it says: a CA certificate by the root and an EK
/// certificate by the CA.
pub(crate) fn chain(data: &[u8]) {
    let mut parts = Parts::of(data);
    let choice = parts.byte();
    let (ca, leaf) = (parts.next(), parts.next());
    let ca = sign(Signer::Root, ca);
    let Ok(leaf) = EkCertificate::parse(&sign(Signer::Ca, leaf)) else {
        return;
    };
    let anchors = Anchors::new([PKI.root.clone()], []).0;
    let options = ChainOptions {
        accept_expired_leaf: choice & 1 != 0,
        crl_policy: CrlPolicy::Use,
    };
    let offered = if choice & 2 == 0 {
        vec![ca.clone()]
    } else {
        vec![ca.clone(), ca.clone()]
    };
    let verify = || anchors.verify(&leaf, &offered, NOW, options);
    let outcome = verify();
    assert_eq!(
        outcome.as_ref().err(),
        verify().as_ref().err(),
        "the same twice"
    );
    let verified = match outcome {
        Ok(verified) => verified,
        Err(rejection) => return refused(&rejection),
    };
    assert_eq!(verified.key(), leaf.key());
    assert!(verified.description().is_some(), "no rule is waived");
    assert!(!verified.expired() || options.accept_expired_leaf);
    let x509 = |der| {
        X509Certificate::from_der(der)
            .expect("it was read before")
            .1
    };
    assert_ek(&x509(leaf.der()), leaf.key(), verified.expired());
    assert_ca(&x509(&ca));
    assert_eq!(
        plain(&x509(leaf.der()).issuer().to_string()),
        plain(&x509(&ca).subject().to_string())
    );
    // Without the CA's certificate there is no chain.
    assert!(anchors.verify(&leaf, &[], NOW, options).is_err());
}

/// A SubjectPublicKeyInfo.
pub(crate) fn public_key(data: &[u8]) {
    let outcome = parse_public_key(data);
    assert_eq!(outcome, parse_public_key(data), "the same twice");
    let key = match outcome {
        Ok(key) => key,
        Err(rejection) => return refused(&rejection),
    };
    let canonical = key.spki();
    assert_eq!(
        parse_public_key(&canonical),
        Ok(key.clone()),
        "one key, one identity"
    );
    assert_eq!(
        parse_public_key(&canonical).map(|key| key.ek_hash()),
        Ok(key.ek_hash())
    );
    assert_eq!(key.ek_hash().hex().len(), 64);
    assert_eq!(key.ek_hash().device().len(), 52);
    let (_, other) = SubjectPublicKeyInfo::from_der(data).expect("whoever reads X.509 reads this");
    let bits: &[u8] = other.subject_public_key.as_ref();
    match &key {
        SubjectKey::Rsa { modulus, .. } => {
            assert!(bits.windows(modulus.len()).any(|window| window == modulus));
        }
        SubjectKey::Ec { .. } => assert_eq!(key.point().as_deref(), Some(bits)),
    }
    assert!(
        parse_public_key(&[data, &[0]].concat()).is_err(),
        "something follows"
    );
    for kept in [0, data.len() / 2, data.len() - 1] {
        assert!(
            parse_public_key(&data[..kept]).is_err(),
            "the beginning of a key"
        );
    }
}

/// What an operator reads of a certificate that nobody has verified.
fn described(certificate: &EkCertificate) {
    assert_shown(certificate.issuer_text(), 256);
    certificate
        .authority_info()
        .inspect(|text| assert_shown(text, 256));
    if let Some(tpm) = certificate.description() {
        assert_shown(tpm.model(), 128);
        assert_shown(tpm.version(), 128);
        assert_shown(&tpm.vendor().to_string(), 11);
        assert!(!tpm.model().is_empty() && !tpm.version().is_empty());
    }
}

pub(crate) fn refused(rejection: &Rejection) {
    assert_shown(&rejection.to_string(), 128);
    if let Some(detail) = &rejection.detail {
        assert_shown(detail, 1024);
    }
}

/// TCG EK Credential Profile 2.6, section 3.
fn assert_ek(x509: &X509Certificate<'_>, key: &SubjectKey, expired: bool) {
    assert_eq!(x509.version(), X509Version::V3);
    assert!(x509.validity().not_before.timestamp() <= NOW);
    assert_eq!(x509.validity().not_after.timestamp() < NOW, expired);
    assert_extensions(x509);
    let constraints = x509.basic_constraints().expect("once").expect("there");
    assert!(!constraints.value.ca);
    let usage = x509.key_usage().expect("once").expect("there");
    assert!(usage.critical);
    let usage = usage.value;
    assert!(!usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    assert!(match key {
        SubjectKey::Rsa { .. } => usage.key_encipherment(),
        SubjectKey::Ec { .. } => usage.key_agreement(),
    });
    let purposes = x509.extended_key_usage().expect("once").expect("there");
    let has = |oid| {
        purposes
            .value
            .other
            .iter()
            .any(|purpose| purpose.to_id_string() == oid)
    };
    assert!(has("2.23.133.8.1") && !has("2.23.133.8.3"));
    let names = x509
        .subject_alternative_name()
        .expect("once")
        .expect("there");
    let directory = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DirectoryName(name) => Some(name),
            _ => None,
        });
    let attributes: Vec<_> = directory
        .flat_map(|name| {
            name.iter_attributes()
                .map(|attribute| attribute.attr_type().to_id_string())
        })
        .collect();
    for wanted in ["2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3"] {
        assert_eq!(
            attributes.iter().filter(|found| *found == wanted).count(),
            1,
            "{wanted}"
        );
    }
}

/// RFC 5280, 4.2.1.9 and 4.2.1.3.
fn assert_ca(x509: &X509Certificate<'_>) {
    let validity = x509.validity();
    assert!(validity.not_before.timestamp() <= NOW && NOW <= validity.not_after.timestamp());
    assert_extensions(x509);
    let constraints = x509.basic_constraints().expect("once").expect("there");
    assert!(constraints.value.ca);
    let usage = x509.key_usage().expect("once");
    assert!(usage.is_none_or(|usage| usage.value.key_cert_sign()));
    assert_eq!(plain(&x509.issuer().to_string()), "cn=root");
}

/// RFC 5280, 4.2: each extension once, and no critical one that nobody can read.
fn assert_extensions(x509: &X509Certificate<'_>) {
    for extension in x509.extensions() {
        let same = x509
            .extensions()
            .iter()
            .filter(|other| other.oid == extension.oid);
        assert_eq!(same.count(), 1, "{}", extension.oid);
        let unread = matches!(
            extension.parsed_extension(),
            ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. }
        );
        let is_known = extension.oid.to_id_string() == SUBJECT_DIRECTORY_ATTRIBUTES;
        assert!(
            !extension.critical || !unread || is_known,
            "{}",
            extension.oid
        );
    }
}

/// RFC 5280, 7.1: names are compared without letter case and surplus white space.
fn plain(name: &str) -> String {
    let words: Vec<_> = name.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

const SUBJECT_DIRECTORY_ATTRIBUTES: &str = "2.5.29.9";

/// Certificates and keys of sample machines.
pub(crate) mod seeds {
    use evidence::{AkTemplate, SubjectKey};
    use softtpm::{KeyKind, SoftTpm};

    use crate::der::signed_part;
    use crate::machine::PKI;
    use crate::parts::part;

    fn eks() -> Vec<SubjectKey> {
        let ek = |kind| SoftTpm::sample(kind, AkTemplate::EccP256).expect("samples");
        KeyKind::ALL.map(|kind| ek(kind).ek_key().clone()).to_vec()
    }

    pub(crate) fn certificate() -> Vec<Vec<u8>> {
        let leaves = eks().into_iter().map(|ek| PKI.certify(&ek));
        let padded = [PKI.certify(&eks()[0]), vec![0xFF; 100]].concat();
        leaves
            .chain(PKI.near_eks(&eks()[3]))
            .chain([PKI.root.clone(), PKI.ca.clone(), padded])
            .collect()
    }

    pub(crate) fn chain() -> Vec<Vec<u8>> {
        let ca = part(signed_part(&PKI.ca));
        let leaf = |ek: &SubjectKey| part(signed_part(&PKI.certify(ek)));
        let good = eks();
        let near_leaf = PKI.near_eks(&good[3]).into_iter();
        let near_leaf = near_leaf.map(|leaf| [ca.clone(), part(signed_part(&leaf))].concat());
        let near_ca = PKI.near_cas().into_iter();
        let near_ca = near_ca.map(|ca| [part(signed_part(&ca)), leaf(&good[3])].concat());
        let good = good.iter().map(|ek| [ca.clone(), leaf(ek)].concat());
        let all = good.chain(near_leaf).chain(near_ca);
        all.map(|chain| [&[0], chain.as_slice()].concat()).collect()
    }

    pub(crate) fn public_key() -> Vec<Vec<u8>> {
        eks().iter().map(SubjectKey::spki).collect()
    }
}
