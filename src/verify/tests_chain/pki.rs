//! A small PKI that the cases bend: a root that is the anchor, a CA that the agent offers, an EK.

use super::forge::{Forge, KEYS, Signer};
use crate::chain::{CertifiedEk, ChainOptions};
use crate::{Anchor, Anchors, CrlPolicy, EkCertificate, Reason, Rejection, Terms};

/// 2026-11-24.
pub(crate) const NOW: i64 = 1_795_478_400;

pub(super) struct Pki {
    pub(super) root: Forge,
    pub(super) root_signer: &'static Signer,
    pub(super) ca: Forge,
    pub(super) ca_issuer: &'static Signer,
    pub(super) leaf: Forge,
    pub(super) leaf_issuer: &'static Signer,
    /// What is sent in place of the leaf.
    pub(super) sent: Option<Vec<u8>>,
    /// Bytes behind the leaf.
    pub(super) tail: Vec<u8>,
    /// More anchors.
    pub(super) anchors: Vec<Vec<u8>>,
    pub(super) intermediates: Vec<Vec<u8>>,
    /// What the agent offers beside the CA.
    pub(super) offered: Vec<Vec<u8>>,
    pub(super) is_root_an_anchor: bool,
    pub(super) is_ca_offered: bool,
    pub(super) now: i64,
    pub(super) accept_expired_leaf: bool,
    /// The terms of the root.
    pub(super) terms: Terms,
    pub(super) crls: Vec<Vec<u8>>,
    pub(super) crl_policy: CrlPolicy,
}

impl Pki {
    pub(super) fn new() -> Self {
        Self {
            root: Forge::ca("Root", &KEYS.root, "Root"),
            root_signer: &KEYS.root,
            ca: Forge::ca("CA", &KEYS.ca, "Root"),
            ca_issuer: &KEYS.root,
            leaf: Forge::ek("CA"),
            leaf_issuer: &KEYS.ca,
            sent: None,
            tail: Vec::new(),
            anchors: Vec::new(),
            intermediates: Vec::new(),
            offered: Vec::new(),
            is_root_an_anchor: true,
            is_ca_offered: true,
            now: NOW,
            accept_expired_leaf: false,
            terms: Terms::default(),
            crls: Vec::new(),
            crl_policy: CrlPolicy::Use,
        }
    }

    pub(super) fn bent(bend: impl FnOnce(&mut Self)) -> Self {
        let mut pki = Self::new();
        bend(&mut pki);
        pki
    }

    pub(super) fn leaf_der(&self) -> Vec<u8> {
        let leaf = self
            .sent
            .clone()
            .unwrap_or_else(|| self.leaf.sign(self.leaf_issuer));
        [leaf, self.tail.clone()].concat()
    }

    /// The verdict, and how many signatures it took.
    pub(super) fn judge(&self) -> (Result<CertifiedEk, Rejection>, usize) {
        let leaf = match EkCertificate::parse(&self.leaf_der()) {
            Ok(leaf) => leaf,
            Err(rejection) => return (Err(rejection), 0),
        };
        let root = self.is_root_an_anchor.then(|| Anchor {
            der: self.root.sign(self.root_signer),
            terms: self.terms.clone(),
        });
        let ca = self.is_ca_offered.then(|| self.ca.sign(self.ca_issuer));
        let more = self.anchors.iter().cloned().map(Anchor::from);
        let anchors = root.into_iter().chain(more);
        let (anchors, _) = Anchors::new(anchors, self.intermediates.clone());
        let (anchors, foreign) = anchors.with_crls(self.crls.clone()).unwrap();
        assert!(foreign.is_empty(), "{foreign:?}");
        let offered: Vec<_> = ca.into_iter().chain(self.offered.clone()).collect();
        let options = ChainOptions {
            accept_expired_leaf: self.accept_expired_leaf,
            crl_policy: self.crl_policy,
        };
        anchors.verify_counting(&leaf, &offered, self.now, options)
    }
}

/// A name, how the PKI is bent, and the reason of the refusal.
pub(super) type Refused = (&'static str, fn(&mut Pki), Reason);

/// A name, and how the PKI is bent.
pub(super) type Accepted = (&'static str, fn(&mut Pki));

/// Each PKI is refused for exactly its reason.
pub(super) fn refuse(cases: &[Refused]) {
    for (case, bend, reason) in cases {
        match Pki::bent(bend).judge().0 {
            Ok(_) => panic!("{case}: accepted"),
            Err(rejection) => {
                assert_eq!(rejection.reason, *reason, "{case}: {:?}", rejection.detail);
            }
        }
    }
}

/// Each PKI is accepted.
pub(super) fn accept(cases: &[Accepted]) {
    for (case, bend) in cases {
        if let Err(rejection) = Pki::bent(bend).judge().0 {
            panic!("{case}: {} {:?}", rejection.reason, rejection.detail);
        }
    }
}
