//! The search for a path from an EK certificate to an anchor, within a budget.
//!
//! Webs of certificates with equal names have exponentially many paths. The search bounds what it
//! computes, not what it looks at: signature checks are counted, and running out refuses.

use evidence::{SubjectKey, limits};

use crate::anchors::Anchors;
use crate::certificate::{Certificate, EkCertificate};
use crate::certificate_signature::CertificateSignature;
use crate::issuer::sound_issuer_of_path;
use crate::leaf::EkLeaf;
use crate::revocation::CrlPolicy;
use crate::terms::{Terms, Waiver};
use crate::tpm_description::TpmDescription;
use crate::{Reason, Rejection};

/// Certificates in a path, EK certificate and anchor included.
const MAX_PATH: usize = 6;

/// Signature checks in one request: a path needs at most five, the rest is for CAs that were
/// certified anew under the same name.
const MAX_SIGNATURE_CHECKS: usize = 32;

/// What an operator may relax.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChainOptions {
    /// Whether the EK certificate itself may have expired.
    pub accept_expired_leaf: bool,
    /// What becomes of certificates that no revocation list is about.
    pub crl_policy: CrlPolicy,
}

/// An EK that a chain of certificates, ending at one of the operator's anchors, says is in a TPM.
/// Only [`Anchors::verify`] makes one.
#[derive(Debug, Clone)]
pub struct CertifiedEk {
    key: SubjectKey,
    description: Option<TpmDescription>,
    anchor: [u8; 32],
    expired: bool,
}

impl CertifiedEk {
    /// The EK.
    pub fn key(&self) -> &SubjectKey {
        &self.key
    }

    /// What the certificate says about the TPM that it is in; `None` where the anchor's terms excuse
    /// it from saying anything.
    pub fn description(&self) -> Option<&TpmDescription> {
        self.description.as_ref()
    }

    /// SHA-256 of the anchor's DER.
    pub fn anchor(&self) -> &[u8; 32] {
        &self.anchor
    }

    /// Whether the EK certificate has expired and that was accepted.
    pub fn expired(&self) -> bool {
        self.expired
    }
}

impl Anchors {
    /// Checks that `leaf` is an EK certificate and finds a path from it to an anchor, with the
    /// help of `offered`: certificates in DER that came from the agent, which can only be steps
    /// of a path. `now` is in Unix seconds.
    pub fn verify(
        &self,
        leaf: &EkCertificate,
        offered: &[Vec<u8>],
        now: i64,
        options: ChainOptions,
    ) -> Result<CertifiedEk, Rejection> {
        self.verify_counting(leaf, offered, now, options).0
    }

    /// The outcome, and how many signatures were checked for it.
    pub(crate) fn verify_counting(
        &self,
        leaf: &EkCertificate,
        offered: &[Vec<u8>],
        now: i64,
        options: ChainOptions,
    ) -> (Result<CertifiedEk, Rejection>, usize) {
        let own = EkLeaf::check(leaf, now, options.accept_expired_leaf, self.waivers());
        let (own, offered) = match own.and_then(|own| Ok((own, read_offered(offered)?))) {
            Ok(both) => both,
            Err(rejection) => return (Err(rejection), 0),
        };
        let mut search = Search {
            anchors: self,
            leaf: &own,
            offered: &offered,
            now,
            crl_policy: options.crl_policy,
            checks: 0,
            best: None,
        };
        let found = search.extend(&mut vec![leaf.certificate()]);
        let refusal = found.is_none().then(|| search.refusal());
        let checks = search.checks;
        let outcome = found.map(|anchor| CertifiedEk {
            key: leaf.key().clone(),
            description: own.description,
            anchor,
            expired: own.is_expired,
        });
        (
            outcome.ok_or_else(|| refusal.unwrap_or_else(|| Reason::UntrustedChain.into())),
            checks,
        )
    }
}

/// The peer's certificates, as few and as small as a real agent sends.
fn read_offered(offered: &[Vec<u8>]) -> Result<Vec<Certificate>, Rejection> {
    if offered.len() > limits::INTERMEDIATES {
        return Err(Rejection::because(
            Reason::ChainLimit,
            "too many intermediates",
        ));
    }
    offered.iter().map(|der| Certificate::read(der)).collect()
}

struct Search<'a> {
    anchors: &'a Anchors,
    leaf: &'a EkLeaf,
    offered: &'a [Certificate],
    now: i64,
    crl_policy: CrlPolicy,
    checks: usize,
    best: Option<(Weight, Rejection)>,
}

/// Of many dead ends the one to report: no budget left, else the longest path, else on that path
/// the most telling finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    is_final: bool,
    length: usize,
    finding: Finding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    NoIssuer,
    OtherSigner,
    BrokenRule,
}

impl<'a> Search<'a> {
    /// Extends a path whose links are all verified, to an anchor; the anchor's fingerprint. Depth
    /// first, at most [`MAX_PATH`] deep.
    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> Option<[u8; 32]> {
        let child = *path.last()?;
        if let Err(reason) = self.usable_algorithm(child) {
            let rejection = Rejection::because(reason, signature_of(child));
            self.dead_end(path, Finding::BrokenRule, rejection);
            return None;
        }
        let candidates = self.candidates(child, path);
        if candidates.is_empty() {
            self.dead_end(path, Finding::NoIssuer, no_issuer(child));
        }
        for (issuer, terms) in candidates {
            if self.is_exhausted() {
                return None;
            }
            if !self.vouches(issuer, path) {
                continue;
            }
            if let Some(terms) = terms {
                match self.ends(path, terms) {
                    Ok(()) => return Some(issuer.fingerprint()),
                    Err(rejection) => self.dead_end(path, Finding::BrokenRule, rejection),
                }
                continue;
            }
            path.push(issuer);
            let found = self.extend(path);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// NIST SP 800-131A rev. 2, section 9, unless an anchor waives it.
    fn usable_algorithm(&self, certificate: &Certificate) -> Result<(), Reason> {
        let algorithm = certificate.signature_algorithm?;
        if algorithm.is_weak() && !self.anchors.waivers().contains(&Waiver::Sha1) {
            return Err(Reason::WeakSignatureAlg);
        }
        Ok(())
    }

    /// Whether an anchor on these terms ends the verified path.
    fn ends(&self, path: &[&Certificate], terms: &Terms) -> Result<(), Rejection> {
        let is_weak = |certificate: &&&Certificate| {
            let algorithm = certificate.signature_algorithm;
            algorithm.is_ok_and(CertificateSignature::is_weak)
        };
        if let Some(weak) = path.iter().find(is_weak)
            && !terms.waivers.contains(&Waiver::Sha1)
        {
            return Err(Rejection::because(
                Reason::WeakSignatureAlg,
                signature_of(weak),
            ));
        }
        self.leaf.fits(terms)?;
        self.anchors
            .check_revocation(path, self.crl_policy, self.now)
    }

    /// Whether `issuer` may be, and is, the issuer of the last certificate in the path.
    fn vouches(&mut self, issuer: &Certificate, path: &[&Certificate]) -> bool {
        if path.len() >= MAX_PATH {
            let rejection = Rejection::because(Reason::ChainLimit, "the path is too long");
            self.dead_end(path, Finding::BrokenRule, rejection);
            return false;
        }
        let intermediates = path.get(1..).unwrap_or_default();
        let followers = intermediates
            .iter()
            .filter(|certificate| !certificate.is_self_issued())
            .count();
        if let Err(rejection) = sound_issuer_of_path(issuer, followers, self.now) {
            self.dead_end(path, Finding::BrokenRule, rejection);
            return false;
        }
        if self.checks >= MAX_SIGNATURE_CHECKS {
            let rejection = Rejection::because(Reason::ChainLimit, "too many signature checks");
            let weight = Weight {
                is_final: true,
                length: path.len(),
                finding: Finding::BrokenRule,
            };
            self.best = Some((weight, rejection));
            return false;
        }
        self.checks += 1;
        // RFC 5280, 6.1.3 (a)(1).
        let is_signed = path
            .last()
            .is_some_and(|child| child.is_signed_by(&issuer.key));
        if !is_signed {
            let detail = format!("not signed by \"{}\"", issuer.subject.text());
            self.dead_end(
                path,
                Finding::OtherSigner,
                Rejection::because(Reason::BadCertSignature, detail),
            );
        }
        is_signed
    }

    /// Certificates whose subject is the child's issuer (RFC 5280, 6.1.3 (a)(4)), likely ones
    /// first: the key identifier named, then anchors, the operator's others, and the peer's. A CA
    /// that is in the path already, under this or another certificate, would only close a circle.
    fn candidates(
        &self,
        child: &Certificate,
        path: &[&Certificate],
    ) -> Vec<(&'a Certificate, Option<&'a Terms>)> {
        let own = self
            .anchors
            .named(&child.issuer)
            .map(|own| (&own.certificate, own.terms.as_ref()));
        let offered = self
            .offered
            .iter()
            .filter(|offered| offered.subject == child.issuer);
        let mut candidates: Vec<_> = own
            .chain(offered.map(|offered| (offered, None)))
            .filter(|(issuer, _)| {
                !path
                    .iter()
                    .any(|passed| passed.key == issuer.key && passed.subject == issuer.subject)
            })
            .collect();
        candidates.sort_by_key(|(issuer, _)| {
            let named = child.extensions.authority_key_id.as_ref();
            named.is_none() || named != issuer.extensions.subject_key_id.as_ref()
        });
        candidates
    }

    fn is_exhausted(&self) -> bool {
        self.best
            .as_ref()
            .is_some_and(|(weight, _)| weight.is_final)
    }

    fn dead_end(&mut self, path: &[&Certificate], finding: Finding, rejection: Rejection) {
        let weight = Weight {
            is_final: false,
            length: path.len(),
            finding,
        };
        if self.best.as_ref().is_none_or(|(best, _)| *best < weight) {
            self.best = Some((weight, rejection));
        }
    }

    fn refusal(&mut self) -> Rejection {
        self.best
            .take()
            .map_or_else(|| Reason::UntrustedChain.into(), |(_, rejection)| rejection)
    }
}

fn signature_of(child: &Certificate) -> String {
    format!(
        "signature of \"{}\" by \"{}\"",
        child.subject.text(),
        child.issuer.text()
    )
}

/// Names what an operator has to find.
fn no_issuer(child: &Certificate) -> Rejection {
    let mut detail = format!("no certificate of the issuer \"{}\"", child.issuer.text());
    if let Some(location) = &child.extensions.authority_info {
        detail = format!("{detail}; it may be at \"{location}\"");
    }
    Rejection::because(Reason::UntrustedChain, detail)
}
