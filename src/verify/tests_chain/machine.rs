//! The certificates of a machine, for exchanges in which it proves itself.

use evidence::SubjectKey;

use super::forge::{ALTERNATIVE_NAME, Forge, KEY_USAGE, KEYS, alternative, bits, oid, time, tlv};
use crate::Anchors;

/// An EK certificate, the CA that the agent sends with it, and the root that may be an anchor.
pub(crate) struct Chain {
    pub(crate) leaf: Vec<u8>,
    pub(crate) ca: Vec<u8>,
    root: Vec<u8>,
}

impl Chain {
    pub(crate) fn of(ek: &SubjectKey) -> Self {
        Self::new(ek, "400101000000Z", None)
    }

    /// With another description of the TPM: the ASN.1 string type and bytes of manufacturer, model and version.
    pub(crate) fn described(ek: &SubjectKey, attributes: [(u8, &[u8]); 3]) -> Self {
        let rdns: Vec<_> = (1..)
            .zip(attributes)
            .map(|(number, (string, value))| {
                let kind = oid(&format!("2.23.133.2.{number}"));
                tlv(0x31, &[&tlv(0x30, &[&kind, &tlv(string, &[value])])])
            })
            .collect();
        Self::new(ek, "400101000000Z", Some(alternative(&rdns)))
    }

    pub(crate) fn expired(ek: &SubjectKey) -> Self {
        Self::new(ek, "260101000000Z", None)
    }

    fn new(ek: &SubjectKey, not_after: &str, name: Option<Vec<u8>>) -> Self {
        let mut leaf = Forge::ek("CA");
        if let Some(name) = name {
            leaf.put(ALTERNATIVE_NAME, true, name);
        }
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
