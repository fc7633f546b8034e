//! The certificates of a machine, for exchanges in which it proves itself.

use evidence::SubjectKey;

use super::crl_forge::List;
use super::forge::{ALTERNATIVE_NAME, Forge, KEY_USAGE, KEYS, alternative, bits, oid, time, tlv};
use crate::{Anchor, Anchors, Terms, Waiver};

/// An EK certificate, the CA that the agent sends with it, and the root that may be an anchor.
pub(crate) struct Chain {
    pub(crate) leaf: Vec<u8>,
    pub(crate) ca: Vec<u8>,
    root: Vec<u8>,
}

impl Chain {
    pub(crate) fn of(ek: &SubjectKey) -> Self {
        Self::bent(ek, |_| {})
    }

    /// With the key in another encoding.
    pub(crate) fn encoded(ek: &SubjectKey, spki: Vec<u8>) -> Self {
        Self::bent(ek, |leaf| leaf.spki = spki)
    }

    /// Without a description of the TPM.
    pub(crate) fn nameless(ek: &SubjectKey) -> Self {
        Self::bent(ek, |leaf| leaf.drop(ALTERNATIVE_NAME))
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
        Self::bent(ek, |leaf| {
            leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
        })
    }

    pub(crate) fn expired(ek: &SubjectKey) -> Self {
        Self::bent(ek, |leaf| leaf.not_after = time("260101000000Z"))
    }

    fn bent(ek: &SubjectKey, bend: impl FnOnce(&mut Forge)) -> Self {
        let mut leaf = Forge::ek("CA");
        leaf.spki = ek.spki();
        if matches!(ek, SubjectKey::Rsa { .. }) {
            leaf.put(KEY_USAGE, true, bits(0x20));
        }
        bend(&mut leaf);
        Self {
            leaf: leaf.sign(&KEYS.ca),
            ca: Forge::ca("CA", &KEYS.ca, "Root").sign(&KEYS.root),
            root: Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root),
        }
    }

    /// Anchors that the chain ends at.
    pub(crate) fn anchors(&self) -> Anchors {
        self.anchors_waiving(&[])
    }

    /// The same with rules that the anchor waives.
    pub(crate) fn anchors_waiving(&self, waivers: &[Waiver]) -> Anchors {
        let anchor = Anchor {
            der: self.root.clone(),
            terms: Terms {
                vendors: None,
                waivers: waivers.iter().copied().collect(),
            },
        };
        Anchors::new([anchor], []).0
    }

    /// The same with a list by the CA that revokes the EK certificate.
    pub(crate) fn anchors_revoking(&self) -> Anchors {
        let list = List::of("CA").revoking(&[0x11, 0x22], &[]);
        let anchors = Anchors::new([self.root.clone()], [self.ca.clone()]).0;
        anchors.with_crls([list.sign(&KEYS.ca)]).unwrap().0
    }
}
