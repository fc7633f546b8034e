//! The certificates of a machine, for exchanges in which it proves itself.

use evidence::SubjectKey;

use super::forge::{Forge, KEY_USAGE, KEYS, bits, time};
use crate::Anchors;

/// An EK certificate, the CA that the agent sends with it, and the root that may be an anchor.
pub(crate) struct Chain {
    pub(crate) leaf: Vec<u8>,
    pub(crate) ca: Vec<u8>,
    root: Vec<u8>,
}

impl Chain {
    pub(crate) fn of(ek: &SubjectKey) -> Self {
        Self::new(ek, "400101000000Z")
    }

    pub(crate) fn expired(ek: &SubjectKey) -> Self {
        Self::new(ek, "260101000000Z")
    }

    fn new(ek: &SubjectKey, not_after: &str) -> Self {
        let mut leaf = Forge::ek("CA");
        leaf.spki = ek.spki();
        leaf.not_after = time(not_after);
        if matches!(ek, SubjectKey::Rsa { .. }) {
            leaf.put(KEY_USAGE, true, bits(0x20));
        }
        Self {
            leaf: leaf.sign(&KEYS.ca),
            ca: Forge::ca("CA", &KEYS.ca, "Root").sign(&KEYS.root),
            root: Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root),
        }
    }

    /// Anchors that the chain ends at.
    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::new([self.root.clone()], []).0
    }
}
