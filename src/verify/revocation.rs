//! The revocation lists in force: each signed by a certificate of the operator's that may sign lists.

use std::collections::HashMap;

use evidence::SubjectKey;

use crate::anchors::{Anchors, Authority};
use crate::certificate::Certificate;
use crate::crl::{Coverage, Crl, UnverifiedCrl};
use crate::distinguished_name::DistinguishedName;
use crate::key::sound_issuer_key;
use crate::terms::{Terms, Waiver};
use crate::{Reason, Rejection};

/// What becomes of certificates that no list in force is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrlPolicy {
    /// They count; lists revoke, also past their time.
    #[default]
    Use,
    /// They are refused: every certificate but the anchor needs a list that holds now.
    Require,
}

/// A list that cannot be relied on although its issuer is one of the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("crl_invalid: {problem}")]
pub struct InvalidCrl {
    /// Its place among the lists given, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The lists in force.
#[derive(Debug, Default)]
pub(crate) struct Revocation {
    lists: Vec<Crl>,
    by_issuer: HashMap<DistinguishedName, Vec<usize>>,
}

impl Anchors {
    /// Puts revocation lists in DER in force, and returns the places of those that are of issuers
    /// which are none of the operator's: a directory of vendors' lists may hold more than is used.
    ///
    /// A list that is malformed, or names an issuer that did not sign it, makes all of them invalid:
    /// to go on without it would bring back what it revokes.
    pub fn with_crls(
        self,
        lists: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(Self, Vec<usize>), InvalidCrl> {
        self.with_some_crls(lists, MAX_ENTRIES)
    }

    /// The same with another limit to the entries of all lists.
    pub(crate) fn with_some_crls(
        mut self,
        lists: impl IntoIterator<Item = Vec<u8>>,
        mut limit: usize,
    ) -> Result<(Self, Vec<usize>), InvalidCrl> {
        let mut foreign = Vec::new();
        let mut revocation = Revocation::default();
        for (index, der) in lists.into_iter().enumerate() {
            let invalid = |problem| InvalidCrl { index, problem };
            let list = UnverifiedCrl::read(&der).map_err(invalid)?;
            if self.named(&list.issuer).next().is_none() {
                foreign.push(index);
                continue;
            }
            let list = list.verify(&self.signers(&list.issuer), limit);
            let list = list.map_err(invalid)?;
            limit = limit.saturating_sub(list.entries());
            revocation.add(list);
        }
        self.revocation = revocation;
        Ok((self, foreign))
    }

    /// How many revocation lists are in force.
    pub fn crls(&self) -> usize {
        self.revocation.lists.len()
    }

    /// The revocation lists in force that were to be replaced before `now`: who issued them, printable, and
    /// until when they were good; times are in Unix seconds.
    pub fn overdue_crls(&self, now: i64) -> impl Iterator<Item = (&str, i64)> {
        self.revocation.lists.iter().filter_map(move |list| {
            let update = list.next_update().filter(|update| *update < now)?;
            Some((list.issuer.text(), update))
        })
    }

    /// The keys that may sign lists of a name, and whether SHA-1 is waived for what they sign. RFC 5280,
    /// 6.3.3 (f): the key usage, if there is one, includes cRLSign. That the certificate may sign
    /// others is not asked for: an indirect list has an issuer of its own.
    fn signers(&self, issuer: &DistinguishedName) -> Vec<(&SubjectKey, bool)> {
        self.named(issuer)
            .filter(|issuer| {
                let usage = issuer.certificate.extensions.key_usage.as_ref();
                usage.is_none_or(|usage| usage.value.crl_sign())
                    && sound_issuer_key(&issuer.certificate.key).is_ok()
            })
            .map(|issuer| (&issuer.certificate.key, self.waives_sha1_for(issuer)))
            .collect()
    }

    /// Whether it is an anchor that waives SHA-1, or was issued by one.
    fn waives_sha1_for(&self, authority: &Authority) -> bool {
        let waives = |terms: &Terms| terms.waivers.contains(&Waiver::Sha1);
        match &authority.terms {
            Some(terms) => waives(terms),
            None => self.named(&authority.certificate.issuer).any(|issuer| {
                issuer.terms.as_ref().is_some_and(waives)
                    && authority.certificate.is_signed_by(&issuer.certificate.key)
            }),
        }
    }

    /// Judges every certificate of a path but its anchor: the EK certificate first. `now` is in Unix
    /// seconds.
    pub(crate) fn check_revocation(
        &self,
        path: &[&Certificate],
        policy: CrlPolicy,
        now: i64,
    ) -> Result<(), Rejection> {
        for (index, certificate) in path.iter().enumerate() {
            if self
                .revocation
                .about(certificate)
                .any(|list| list.revokes(certificate))
            {
                let reason = if index == 0 {
                    Reason::EkRevoked
                } else {
                    Reason::CaRevoked
                };
                return Err(about(certificate, reason));
            }
        }
        if policy == CrlPolicy::Use {
            return Ok(());
        }
        for certificate in path {
            let lists = self.revocation.about(certificate);
            let best = lists.map(|list| list.coverage(certificate, now)).max();
            match best.unwrap_or(Coverage::Missing) {
                Coverage::Current => {}
                Coverage::Stale => return Err(about(certificate, Reason::CrlStale)),
                Coverage::Missing => return Err(about(certificate, Reason::CrlMissing)),
            }
        }
        Ok(())
    }
}

impl Revocation {
    fn add(&mut self, list: Crl) {
        let places = self.by_issuer.entry(list.issuer.clone()).or_default();
        places.push(self.lists.len());
        self.lists.push(list);
    }

    /// The lists of the certificate's issuer, and of those that it names as issuers of lists: no other
    /// may speak of it (RFC 5280, 6.3.3 (b)(1)).
    fn about(&self, certificate: &Certificate) -> impl Iterator<Item = &Crl> {
        let named = &certificate.extensions.crl_issuers;
        std::iter::once(&certificate.issuer)
            .chain(named)
            .filter_map(|issuer| self.by_issuer.get(issuer))
            .flatten()
            .filter_map(|place| self.lists.get(*place))
    }
}

fn about(certificate: &Certificate, reason: Reason) -> Rejection {
    Rejection::because(
        reason,
        format!(
            "certificate {} of \"{}\"",
            hex::encode(&certificate.serial),
            certificate.issuer.text()
        ),
    )
}

/// In all lists together; bounds the memory.
const MAX_ENTRIES: usize = 1_000_000;
