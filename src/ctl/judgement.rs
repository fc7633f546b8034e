//! What a server would say to an EK certificate.

use serde::Serialize;
use verify::{EkCertificate, Reason, Rejection};

use crate::anchors::Trust;
use crate::text::printable;

/// A verdict with what an operator needs to act on it.
#[derive(Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    /// What exactly was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<&'static str>,
    /// SHA-256 of the anchor's DER, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) anchor_sha256: Option<String>,
}

/// The verdict alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// A path leads to an anchor, and every rule holds.
    Accepted,
    /// A rule is broken, or no path leads to an anchor.
    Refused,
    /// No anchors are given, and nothing else is wrong.
    NotJudged,
}

impl Judgement {
    /// Judges as a server with these anchors would. Without anchors only what needs none.
    pub(crate) fn of(
        certificate: &EkCertificate,
        intermediates: &[Vec<u8>],
        trust: &Trust,
        now: i64,
    ) -> Self {
        let anchors = trust.anchors();
        match anchors.verify(certificate, intermediates, now, trust.options) {
            Ok(certified) => Self {
                detail: certified
                    .expired()
                    .then(|| "it has expired, which is accepted".to_owned()),
                anchor_sha256: Some(hex::encode(certified.anchor())),
                ..Self::bare(Verdict::Accepted)
            },
            Err(Rejection {
                reason: Reason::UntrustedChain,
                ..
            }) if !trust.is_given() => Self::not_judged(),
            Err(rejection) => Self::refusal(&rejection),
        }
    }

    /// What becomes of a machine without a certificate.
    pub(crate) fn of_none(trust: &Trust) -> Self {
        if trust.is_given() {
            Self::refusal(&Reason::EkCertMissing.into())
        } else {
            Self::not_judged()
        }
    }

    pub(crate) fn refusal(rejection: &Rejection) -> Self {
        Self {
            reason: Some(rejection.reason.code()),
            detail: rejection.detail.as_deref().map(printable),
            cause: Some(rejection.reason.cause()),
            remedy: Some(rejection.reason.remedy()),
            ..Self::bare(Verdict::Refused)
        }
    }

    fn not_judged() -> Self {
        Self::bare(Verdict::NotJudged)
    }

    fn bare(verdict: Verdict) -> Self {
        Self {
            verdict,
            reason: None,
            detail: None,
            cause: None,
            remedy: None,
            anchor_sha256: None,
        }
    }

    /// One line, and what to do about it on the next.
    pub(crate) fn text(&self) -> String {
        let detail = self.detail.as_deref();
        match self.verdict {
            Verdict::Accepted => {
                let anchor = self.anchor_sha256.as_deref().unwrap_or_default();
                let detail = detail.map(|detail| format!("; {detail}"));
                format!(
                    "accepted by the anchor {anchor}{}",
                    detail.unwrap_or_default()
                )
            }
            Verdict::Refused => {
                let detail = detail.or(self.cause).unwrap_or_default();
                let reason = self.reason.unwrap_or_default();
                let remedy = self.remedy.unwrap_or_default();
                format!("refused: {reason}: {detail}\n→ {remedy}")
            }
            Verdict::NotJudged => "nothing is wrong with it; name the anchors with --ca".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_certificate_is_refused_only_where_one_is_asked_for() {
        let nobody = Trust::default();
        assert_eq!(Judgement::of_none(&nobody).verdict, Verdict::NotJudged);
        let directory = tempfile::tempdir().unwrap();
        let arguments = crate::cli::TrustArguments {
            ca: Some(directory.path().to_owned()),
            ..Default::default()
        };
        let somebody = Trust::load(&arguments).unwrap();
        let judgement = Judgement::of_none(&somebody);
        assert_eq!(judgement.verdict, Verdict::Refused);
        assert_eq!(judgement.reason, Some("ek_cert_missing"));
        assert!(judgement.text().contains(Reason::EkCertMissing.remedy()));
    }

    #[test]
    fn validity_is_judged_without_anchors_and_expiry_may_be_accepted() {
        let pem = evidence::parse_pem(include_str!("vectors/ek-p384.pem"), 1).unwrap();
        let certificate = EkCertificate::parse(&pem[0].contents).unwrap();
        let (before, within, after) = (0, 1_800_000_000, 253_402_300_800);
        for (now, accept_expired_leaf, reason) in [
            (within, false, None),
            (before, true, Some("ek_cert_not_yet_valid")),
            (after, false, Some("ek_cert_expired")),
            (after, true, None),
        ] {
            let arguments = crate::cli::TrustArguments {
                accept_expired_ek: accept_expired_leaf,
                ..Default::default()
            };
            let trust = Trust::load(&arguments).unwrap();
            let judgement = Judgement::of(&certificate, &[], &trust, now);
            let verdict = reason.map_or(Verdict::NotJudged, |_| Verdict::Refused);
            assert_eq!((judgement.verdict, judgement.reason), (verdict, reason));
        }
    }

    #[test]
    fn details_are_escaped() {
        let rejection = Rejection::because(Reason::EkSan, "a\u{1b}b");
        assert_eq!(
            Judgement::refusal(&rejection).detail.as_deref(),
            Some("a\\u{1b}b")
        );
    }
}
