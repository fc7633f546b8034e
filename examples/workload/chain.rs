//! Checks that the certificates of an X.509-SVID lead to an authority of its trust domain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use rustls_pki_types::{CertificateDer, UnixTime};
use spiffe::Certificate;
use time::OffsetDateTime;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::parse_x509_certificate;

/// The time since 1970.
pub(crate) fn now() -> Result<Duration> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")
}

/// Builds a path from the first certificate of `chain` to one of `authorities`, valid at `now`; returns when the first
/// one expires.
pub(crate) fn verify(
    chain: &[Certificate],
    authorities: &[Certificate],
    now: Duration,
) -> Result<OffsetDateTime> {
    let anchors = authorities.iter().map(der).collect::<Vec<_>>();
    let anchors = anchors
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<Vec<_>, _>>()
        .context("an authority in the trust bundle is malformed")?;
    let (leaf, intermediates) = chain.split_first().context("no certificate in it")?;
    let intermediates = intermediates.iter().map(der).collect::<Vec<_>>();
    let leaf_der = der(leaf);
    EndEntityCert::try_from(&leaf_der)?.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        UnixTime::since_unix_epoch(now),
        // SPIRE issues X.509-SVIDs for both sides of a TLS connection.
        KeyUsage::client_auth(),
        None,
        None,
    )?;
    expiry(leaf)
}

fn expiry(certificate: &Certificate) -> Result<OffsetDateTime> {
    match parse_x509_certificate(certificate.as_bytes()) {
        Ok((_, certificate)) => Ok(certificate.validity().not_after.to_datetime()),
        Err(error) => Err(anyhow!("malformed certificate: {error}")),
    }
}

fn der(certificate: &Certificate) -> CertificateDer<'_> {
    CertificateDer::from(certificate.as_bytes())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        SanType, date_time_ymd,
    };
    use spiffe::{X509Bundle, X509Svid};

    use super::*;

    const ID: &str = "spiffe://example.org/workload";

    struct Authority {
        certificate: Certificate,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        let bundle =
            X509Bundle::parse_from_der("example.org".parse().unwrap(), signed.der()).unwrap();
        Authority {
            certificate: bundle.authorities()[0].clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn svid(authority: &Authority) -> X509Svid {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = vec![SanType::URI(ID.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 1, 2);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &authority.issuer).unwrap();
        X509Svid::parse_from_der(signed.der(), &key.serialize_der()).unwrap()
    }

    fn at(time: OffsetDateTime) -> Duration {
        Duration::from_secs(time.unix_timestamp().try_into().unwrap())
    }

    #[test]
    fn a_chain_to_the_authority_verifies_while_it_is_valid() {
        let home = authority();
        let svid = svid(&home);
        let authorities = [authority().certificate, home.certificate];
        let check = |now| verify(svid.cert_chain(), &authorities, at(now));
        let end = date_time_ymd(2026, 1, 2);
        assert_eq!(check(date_time_ymd(2026, 1, 1)).unwrap(), end);
        assert!(check(date_time_ymd(2025, 12, 31)).is_err(), "not valid yet");
        assert!(check(date_time_ymd(2026, 1, 3)).is_err(), "expired");
    }

    #[test]
    fn a_chain_to_another_authority_does_not() {
        let svid = svid(&authority());
        let now = at(date_time_ymd(2026, 1, 1));
        assert!(verify(svid.cert_chain(), &[authority().certificate], now).is_err());
        assert!(verify(svid.cert_chain(), &[], now).is_err());
        assert!(verify(&[], &[authority().certificate], now).is_err());
    }
}
