//! Known departures of firmware and boot loaders from the profile: named, each switchable, each reported when met.

use std::collections::BTreeSet;

/// A departure that may be tolerated (rule M16: no others).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// `shim_extra_byte`: some versions of shim measure an authority with one byte too many behind it.
    ShimExtraByte,
    /// `missing_exit_boot_services`: the log lacks the entry of the call to ExitBootServices that PCR 5 has.
    MissingExitBootServices,
    /// `shim_variables`: shim measures SbatLevel and MokListTrusted as authorities under its own GUID.
    ShimVariables,
    /// `empty_secure_boot`: on some clouds SecureBoot is measured with no data, which means off.
    EmptySecureBoot,
}

impl Quirk {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ShimExtraByte,
        Self::MissingExitBootServices,
        Self::ShimVariables,
        Self::EmptySecureBoot,
    ];

    /// The name in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShimExtraByte => "shim_extra_byte",
            Self::MissingExitBootServices => "missing_exit_boot_services",
            Self::ShimVariables => "shim_variables",
            Self::EmptySecureBoot => "empty_secure_boot",
        }
    }

    /// The quirk of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quirk| quirk.name() == name)
    }
}

/// What may be tolerated, and what had to be.
#[derive(Debug)]
pub(crate) struct Tolerance<'a> {
    tolerated: &'a BTreeSet<Quirk>,
    met: BTreeSet<Quirk>,
}

impl<'a> Tolerance<'a> {
    pub(crate) fn new(tolerated: &'a BTreeSet<Quirk>) -> Self {
        let met = BTreeSet::new();
        Self { tolerated, met }
    }

    /// A departure is there: whether it may be.
    pub(crate) fn permits(&mut self, quirk: Quirk) -> bool {
        let tolerated = self.tolerated.get(&quirk);
        self.met.extend(tolerated);
        tolerated.is_some()
    }

    /// Those that were met.
    pub(crate) fn met(self) -> BTreeSet<Quirk> {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks_are_known_by_their_names() {
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::from_name(quirk.name()), Some(quirk));
        }
        assert_eq!(Quirk::from_name("other"), None);
    }

    #[test]
    fn what_is_not_tolerated_was_not_met() {
        let tolerated = [Quirk::ShimVariables].into();
        let mut tolerance = Tolerance::new(&tolerated);
        assert!(!tolerance.permits(Quirk::ShimExtraByte));
        assert!(tolerance.permits(Quirk::ShimVariables));
        assert_eq!(tolerance.met(), tolerated);
    }
}
