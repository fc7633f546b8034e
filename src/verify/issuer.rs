//! What a certificate must be to vouch for another one.

use crate::certificate::Certificate;
use crate::key::sound_issuer_key;
use crate::leaf::known_extensions;
use crate::{Reason, Rejection};

/// The rules that an issuer keeps or breaks for ever.
pub(crate) fn sound_issuer(issuer: &Certificate) -> Result<(), Rejection> {
    // RFC 5280, 6.1.4 (k): basicConstraints says CA, in version 3, which alone has extensions.
    let constraints = issuer.extensions.basic_constraints;
    if !issuer.is_version_3 || !constraints.is_some_and(|constraints| constraints.ca) {
        return Err(about(issuer, Reason::IssuerNotCa));
    }
    // RFC 5280, 6.1.4 (n): a key usage that is there includes keyCertSign.
    if issuer
        .extensions
        .key_usage
        .as_ref()
        .is_some_and(|usage| !usage.value.key_cert_sign())
    {
        return Err(about(issuer, Reason::IssuerKeyUsage));
    }
    // RFC 5280, 6.1.4 (o). Name constraints are among what is not evaluated: EK certificates name no
    // host, and a CA that limits what it vouches for by name is none of a TPM vendor.
    known_extensions(issuer)?;
    // RFC 5280, 4.2.1.12: a critical extended key usage limits the key to what it names.
    let purposes = issuer.extensions.purposes.as_ref();
    if purposes.is_some_and(|usage| usage.critical && !usage.value.endorsement && !usage.value.any)
    {
        return Err(about(issuer, Reason::UnhandledCriticalExt));
    }
    // RFC 4055, 1.2: a key that is given for RSAES-OAEP encrypts and does not sign.
    if issuer.is_oaep_key {
        return Err(about(issuer, Reason::UnsupportedKey));
    }
    sound_issuer_key(&issuer.key)
}

/// All rules of an issuer that has `followers` intermediates between itself and the leaf, those
/// that are self-issued left out. `now` is in Unix seconds.
pub(crate) fn sound_issuer_of_path(
    issuer: &Certificate,
    followers: usize,
    now: i64,
) -> Result<(), Rejection> {
    sound_issuer(issuer)?;
    // RFC 5280, 6.1.3 (a)(2), also for anchors: who trusts a root until a date does not after it.
    if now < issuer.not_before || now > issuer.not_after {
        return Err(about(issuer, Reason::CaExpired));
    }
    // RFC 5280, 6.1.4 (l) and (m).
    let limit = issuer
        .extensions
        .basic_constraints
        .and_then(|constraints| constraints.path_len);
    if limit.is_some_and(|limit| usize::try_from(limit).is_ok_and(|limit| followers > limit)) {
        return Err(about(issuer, Reason::PathLen));
    }
    Ok(())
}

fn about(issuer: &Certificate, reason: Reason) -> Rejection {
    Rejection::because(reason, format!("\"{}\"", issuer.subject.text()))
}
