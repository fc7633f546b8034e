//! The selectors that a grant carries: which there are, when, and how they are written.

use eventlog::BootClaims;

use crate::facts::Facts;
use crate::session::{Attested, Certification, Method};
use crate::{FirmwareVersion, TpmDescription};

/// The selectors that an operator asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionalSelectors {
    /// Which kinds.
    pub kinds: Vec<OptionalSelector>,
    /// `pcr:<bank>:<index>:<hex>` of these PCRs.
    pub pcrs: Vec<u8>,
}

/// A selector that is there only when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table below describes them")]
pub enum OptionalSelector {
    Model,
    Firmware,
    EkCa,
    BootChain,
}

/// A row of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectorKind {
    /// As it is written, with placeholders.
    pub form: &'static str,
    /// When it is there.
    pub when: &'static str,
    /// What it stands for.
    pub doc: &'static str,
}

/// All selectors, in the order in which a grant carries them.
pub const SELECTORS: &[SelectorKind] = &[
    SelectorKind {
        form: "pub_hash:<64 hex digits>",
        when: "always",
        doc: "The SHA-256 of the EK's SubjectPublicKeyInfo: the machine, as long as it has this TPM.",
    },
    SelectorKind {
        form: "device:<52 characters>",
        when: "always",
        doc: "The same hash in base32, which fits the value of a Kubernetes label.",
    },
    SelectorKind {
        form: "attestation:quote|credential",
        when: "always",
        doc: "How the machine proved itself: by a quote, or by a credential alone as agents of the community TPM plugin do.",
    },
    SelectorKind {
        form: "ek_cert:verified|expired|none",
        when: "always",
        doc: "Whether an EK certificate leads to a trusted CA; `expired` where that is accepted.",
    },
    SelectorKind {
        form: "vendor:<name>",
        when: "the EK certificate is verified and names a vendor",
        doc: "The maker of the TPM by its name in the TCG's registry, such as `IFX`; `id:` and eight hex digits where it has none.",
    },
    SelectorKind {
        form: "kind:discrete|firmware|virtual",
        when: "it follows from the verified vendor",
        doc: "What the TPM is made of: a chip, the platform's firmware, or a hypervisor.",
    },
    SelectorKind {
        form: "secure_boot:on|off",
        when: "the boot event log leads to the quoted PCRs",
        doc: "Whether UEFI Secure Boot verified what was booted.",
    },
    SelectorKind {
        form: "measured:<profile>",
        when: "a profile of the policy matches",
        doc: "The machine is in a state that this profile describes; one for each that matches when all must.",
    },
    SelectorKind {
        form: "model:<model>",
        when: "asked for by `extra_selectors`, and the EK certificate is verified",
        doc: "The TPM's model as its maker certified it: lower case, other characters than `a-z0-9._-` as `-`.",
    },
    SelectorKind {
        form: "firmware:<major>.<minor>",
        when: "asked for by `extra_selectors`, and the machine gave a quote",
        doc: "The TPM's firmware version that runs now.",
    },
    SelectorKind {
        form: "ek_ca:<16 hex digits>",
        when: "asked for by `extra_selectors`, and the EK certificate is verified",
        doc: "The first eight bytes of the SHA-256 of the anchor that the EK certificate leads to.",
    },
    SelectorKind {
        form: "boot_chain:<stage>",
        when: "asked for by `extra_selectors`, and the boot event log leads to the quoted PCRs",
        doc: "A program that took part in the boot: `shim`, `grub`, `systemd-boot`, `systemd-stub`, `linux-stub`; one selector for each.",
    },
    SelectorKind {
        form: "pcr:<bank>:<index>:<hex>",
        when: "asked for by `pcr_selectors`, and the machine gave a quote",
        doc: "The value of a PCR; changes with every update of what is measured there.",
    },
    SelectorKind {
        form: SVID_KEY_CERTIFIED,
        when: "the TPM certified every SVID key that was offered, and a CredentialComposer enforces it",
        doc: "The agent's SVID is of a key that was made in this TPM and cannot leave it.",
    },
];

/// Of machines whose SVID key is in their TPM.
pub(crate) const SVID_KEY_CERTIFIED: &str = "svid_key:certified";

impl OptionalSelector {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Model, Self::Firmware, Self::EkCa, Self::BootChain];

    /// The name in configuration, and before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Firmware => "firmware",
            Self::EkCa => "ek_ca",
            Self::BootChain => "boot_chain",
        }
    }

    /// The selector of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a machine may be selected by. Nothing in it is text of a peer that no CA vouches for.
pub(crate) fn selectors(
    attested: &Attested,
    matched: &[String],
    optional: &OptionalSelectors,
) -> Vec<String> {
    let facts = Facts(attested);
    let mut selectors = identity(attested);
    selectors.extend(facts.vendor().map(|vendor| format!("vendor:{vendor}")));
    selectors.extend(facts.kind().map(|kind| format!("kind:{}", kind.name())));
    let boot = facts.boot().ok();
    selectors.extend(boot.map(secure_boot));
    selectors.extend(matched.iter().map(|profile| format!("measured:{profile}")));
    for kind in &optional.kinds {
        match kind {
            OptionalSelector::Model => {
                let model = facts.description().map(TpmDescription::model);
                selectors.extend(model.map(|model| format!("model:{}", plain(model))));
            }
            OptionalSelector::Firmware => {
                let version = facts.firmware().map(FirmwareVersion::major_minor);
                selectors.extend(version.map(|version| format!("firmware:{version}")));
            }
            OptionalSelector::EkCa => selectors.extend(anchor(attested)),
            OptionalSelector::BootChain => {
                let stages = boot.into_iter().flat_map(|boot| &boot.boot_chain);
                selectors.extend(stages.map(|stage| format!("boot_chain:{}", stage.name())));
            }
        }
    }
    selectors.extend(pcrs(&facts, &optional.pcrs));
    selectors
}

fn identity(attested: &Attested) -> Vec<String> {
    let hash = attested.ek_hash();
    let method = match attested.method() {
        Method::Quote(_) => "quote",
        Method::Credential => "credential",
    };
    let certificate = match attested.certification() {
        Certification::Verified(ek) if ek.expired() => "expired",
        Certification::Verified(_) => "verified",
        Certification::Refused(_) | Certification::Absent => "none",
    };
    vec![
        format!("pub_hash:{hash}"),
        format!("device:{}", hash.device()),
        format!("attestation:{method}"),
        format!("ek_cert:{certificate}"),
    ]
}

fn secure_boot(boot: &BootClaims) -> String {
    let state = if boot.secure_boot.enabled {
        "on"
    } else {
        "off"
    };
    format!("secure_boot:{state}")
}

fn anchor(attested: &Attested) -> Option<String> {
    let Certification::Verified(ek) = attested.certification() else {
        return None;
    };
    let short = ek.anchor().get(..8).map(hex::encode)?;
    Some(format!("ek_ca:{short}"))
}

fn pcrs(facts: &Facts<'_>, wanted: &[u8]) -> Vec<String> {
    let Some(bank) = facts
        .quoted()
        .ok()
        .and_then(|quoted| quoted.banks().first())
    else {
        return Vec::new();
    };
    let value = |pcr: &u8| {
        let value = bank.values.get(pcr)?;
        Some(format!(
            "pcr:{}:{pcr}:{}",
            bank.hash.name(),
            hex::encode(value)
        ))
    };
    wanted.iter().filter_map(value).collect()
}

/// Lower case, and nothing that a selector could be cut at.
fn plain(text: &str) -> String {
    text.to_ascii_lowercase()
        .chars()
        .map(|char| match char {
            'a'..='z' | '0'..='9' | '.' | '_' | '-' => char,
            _ => '-',
        })
        .take(MAX_MODEL)
        .collect()
}

/// Characters of a model in a selector.
const MAX_MODEL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_plain_and_short() {
        for (model, selector) in [
            ("SLB9670", "slb9670"),
            ("a:b c", "a-b-c"),
            ("\\u{e9}", "-u-e9-"),
            ("v1.2_3-4", "v1.2_3-4"),
        ] {
            assert_eq!(plain(model), selector);
        }
        assert_eq!(plain(&"x".repeat(64)).len(), 64);
        assert_eq!(plain(&"x".repeat(65)).len(), 64);
    }
}
