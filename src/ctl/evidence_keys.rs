//! The SVID keys in a record: which the agent offered, and which of them its TPM certified.

use evidence::{Hash, OfferExtension, Public};
use serde::Serialize;
use verify::{Attested, EkKind};

use crate::output::fields;

/// Offered keys and what hangs above them; nothing in an offer is believed.
#[derive(Debug, Serialize)]
pub(crate) struct OfferedKeys {
    keys: Vec<OfferedKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
}

/// One offered key.
#[derive(Debug, Serialize)]
struct OfferedKey {
    /// `None` for what is no public area.
    #[serde(flatten)]
    public: Option<Shown>,
    /// Whether the exchange proves that the key is in the machine's TPM, below the parent.
    certified: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    key: &'static str,
    /// The TPM's Name, in hex.
    name: String,
    /// Of the SubjectPublicKeyInfo: what a composer compares with the SVID's key.
    spki_sha256: String,
}

/// The storage root key that the agent named.
#[derive(Debug, Serialize)]
struct Parent {
    name: String,
    /// Whether the qualified name of a certified key says so, too.
    proved: bool,
}

impl OfferedKeys {
    /// What was offered, with what the exchange proves of it; `None` where nothing was.
    pub(crate) fn of(extension: &OfferExtension, attested: Option<&Attested>) -> Option<Self> {
        if extension.svid_keys.is_empty() {
            return None;
        }
        let keys = extension.svid_keys.iter();
        let parent = extension.svid_parent.as_deref().and_then(name);
        let proved = attested.and_then(Attested::storage_root);
        let proved = proved.map(|name| hex::encode(name.as_bytes()));
        Some(Self {
            keys: keys.map(|key| OfferedKey::of(key, attested)).collect(),
            parent: parent.map(|name| Parent {
                proved: proved.as_ref() == Some(&name),
                name,
            }),
        })
    }

    pub(crate) fn table(&self) -> String {
        let keys = self.keys.iter().map(|key| ("svid key", Some(key.text())));
        let parent = self.parent.as_ref().map(|parent| {
            let proved = if parent.proved {
                "proved"
            } else {
                "not proved"
            };
            ("svid parent", Some(format!("{}\n{proved}", parent.name)))
        });
        fields(keys.chain(parent).collect())
    }
}

impl OfferedKey {
    fn of(public: &[u8], attested: Option<&Attested>) -> Self {
        let public = Public::parse(public)
            .ok()
            .and_then(|public| Shown::of(&public));
        let certified = attested.map(Attested::svid_keys).unwrap_or_default();
        Self {
            certified: public.as_ref().is_some_and(|shown| {
                let mut names = certified
                    .iter()
                    .map(|key| hex::encode(key.name().as_bytes()));
                names.any(|name| name == shown.name)
            }),
            public,
        }
    }

    fn text(&self) -> String {
        let Some(shown) = &self.public else {
            return "malformed".to_owned();
        };
        let certified = if self.certified {
            "certified"
        } else {
            "not certified"
        };
        format!(
            "{}, {certified}\nname {}\nspki sha-256 {}",
            shown.key, shown.name, shown.spki_sha256
        )
    }
}

impl Shown {
    fn of(public: &Public) -> Option<Self> {
        let key = public.subject_key()?;
        Some(Self {
            key: EkKind::of(&key).map_or("unsupported", EkKind::name),
            name: hex::encode(public.name()?.as_bytes()),
            spki_sha256: hex::encode(Hash::Sha256.digest(&[&key.spki()])),
        })
    }
}

fn name(public: &[u8]) -> Option<String> {
    let name = Public::parse(public).ok()?.name()?;
    Some(hex::encode(name.as_bytes()))
}
