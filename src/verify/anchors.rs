//! The certificate authorities that an operator trusts, indexed so that their number costs nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use evidence::{Curve, SubjectKey};

use crate::Reason;
use crate::certificate::{Certificate, EkCertificate};
use crate::distinguished_name::DistinguishedName;
use crate::issuer::sound_issuer;
use crate::revocation::Revocation;
use crate::terms::{Anchor, Terms, Waiver};

/// Anchors and the intermediates that an operator adds to them. Immutable: a reload makes a new one.
///
/// Any certificate may be an anchor, self-signed or not: vendors publish such roots, and operators
/// put intermediates beside them.
#[derive(Debug, Default)]
pub struct Anchors {
    authorities: Vec<Authority>,
    by_subject: HashMap<DistinguishedName, Vec<usize>>,
    usable: usize,
    earliest_expiry: Option<i64>,
    /// What any of the anchors waives.
    waivers: BTreeSet<Waiver>,
    pub(crate) revocation: Revocation,
}

/// A certificate that cannot be part of any chain. It does no harm to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnusableCertificate {
    /// Its place among the certificates given: the anchors, then the intermediates, from 0.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// A certificate of the operator's.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    /// The terms of an anchor; `None` for an intermediate.
    pub(crate) terms: Option<Terms>,
}

impl Anchors {
    /// From certificates in DER. What can be no issuer now or ever is reported; a duplicate counts
    /// once, as an anchor if it is one in either place.
    pub fn new(
        anchors: impl IntoIterator<Item = impl Into<Anchor>>,
        intermediates: impl IntoIterator<Item = Vec<u8>>,
    ) -> (Self, Vec<UnusableCertificate>) {
        let mut all = Self::default();
        let mut unusable = Vec::new();
        let mut known = HashSet::new();
        let anchors = anchors.into_iter().map(|anchor| {
            let Anchor { der, terms } = anchor.into();
            (der, Some(terms))
        });
        let intermediates = intermediates.into_iter().map(|der| (der, None));
        for (index, (der, terms)) in anchors.chain(intermediates).enumerate() {
            let outcome = match Certificate::read(&der) {
                Ok(certificate) if known.insert(certificate.fingerprint()) => {
                    all.add(Authority { certificate, terms })
                }
                Ok(_) => Ok(()),
                Err(rejection) => Err(rejection.reason),
            };
            unusable.extend(
                outcome
                    .err()
                    .map(|reason| UnusableCertificate { index, reason }),
            );
        }
        (all, unusable)
    }

    /// How many anchors can end a chain.
    pub fn len(&self) -> usize {
        self.usable
    }

    /// Whether no anchor can end a chain.
    pub fn is_empty(&self) -> bool {
        self.usable == 0
    }

    /// When the first of the usable anchors and intermediates expires, in Unix seconds.
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.earliest_expiry
    }

    /// Whether the operator's certificates of the issuer's name are many, or sign with large curves.
    pub(crate) fn may_search_long(&self, leaf: &EkCertificate) -> bool {
        let issuers = || self.named(&leaf.certificate().issuer);
        issuers().count() > FEW_ISSUERS
            || issuers().any(|issuer| {
                issuer.terms.is_none()
                    || matches!(&issuer.certificate.key,
                        SubjectKey::Ec { curve, .. } if *curve != Curve::P256)
            })
    }

    /// An unusable certificate is kept: a chain that needs it is refused for its very reason.
    fn add(&mut self, authority: Authority) -> Result<(), Reason> {
        let sound = sound_issuer(&authority.certificate).map_err(|rejection| rejection.reason);
        if sound.is_ok() {
            self.usable += usize::from(authority.terms.is_some());
            let waivers = authority.terms.iter().flat_map(|terms| &terms.waivers);
            self.waivers.extend(waivers);
            let expiry = authority.certificate.not_after;
            self.earliest_expiry = Some(
                self.earliest_expiry
                    .map_or(expiry, |earliest| earliest.min(expiry)),
            );
        }
        let subject = authority.certificate.subject.clone();
        self.by_subject
            .entry(subject)
            .or_default()
            .push(self.authorities.len());
        self.authorities.push(authority);
        sound
    }

    /// The rules that some anchor waives.
    pub(crate) fn waivers(&self) -> &BTreeSet<Waiver> {
        &self.waivers
    }

    /// The operator's certificates of a name, anchors first.
    pub(crate) fn named<'a>(
        &'a self,
        name: &DistinguishedName,
    ) -> impl Iterator<Item = &'a Authority> {
        let indices = self
            .by_subject
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        indices
            .iter()
            .filter_map(|index| self.authorities.get(*index))
    }
}

/// CAs of one name that are tried without further ado: one, and its successor.
const FEW_ISSUERS: usize = 2;
