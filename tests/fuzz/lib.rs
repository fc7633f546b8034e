//! What holds for every input of every parser, as plain functions that a fuzzer and a test call alike.

mod boot;
mod boot_claims;
mod boot_reader;
mod certificates;
mod configuration;
mod database_address;
mod der;
mod exchange;
mod exchange_keys;
mod files;
mod histories;
mod histories_known;
mod machine;
mod messages;
mod oracle;
mod parts;
mod responses;
mod revocation;
mod shown;
mod structures;

use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs};

/// A parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name, also of the file of regressions.
    pub name: &'static str,
    /// Panics when something does not hold for an input.
    pub check: fn(&[u8]),
    /// Inputs that get far, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Inputs that once broke something, as lines of hex digits.
    regressions: &'static str,
}

macro_rules! targets {
    ($($module:ident: $($name:ident)*;)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$($(Target {
            name: stringify!($name),
            check: $module::$name,
            seeds: $module::seeds::$name,
            regressions: include_str!(concat!("regressions/", stringify!($name), ".txt")),
        },)*)*];
    };
}

targets! {
    messages: offer challenge response evidence_document;
    structures: public attest signature pcr_selection;
    certificates: certificate chain public_key;
    revocation: crl denials;
    configuration: hcl configuration;
    database_address: database_address;
    files: pem certificate_file;
    exchange: first_message last_message;
    histories: history;
    responses: tpm_response;
    boot: eventlog measured_boot;
}

impl Target {
    /// Inputs that once broke something.
    ///
    /// # Panics
    /// When the file of them is no hex.
    pub fn regressions(&self) -> Vec<Vec<u8>> {
        let lines = self.regressions.lines().map(str::trim);
        let inputs = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let input = |line| hex::decode(line).expect("a line of hex digits, or a comment");
        inputs.map(input).collect()
    }

    /// Writes seeds and regressions where the fuzzer looks for inputs: into the directory that
    /// `FUZZ_INPUTS` names, if it is set.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn plant(&self) {
        let Some(directory) = env::var_os("FUZZ_INPUTS") else {
            return;
        };
        let all = [(self.seeds)(), self.regressions()].concat();
        for (index, input) in all.iter().enumerate() {
            let file = Path::new(&directory).join(format!("{}-{index}", self.name));
            fs::write(file, input).expect("the inputs can be written");
        }
    }
}

/// The target that the environment variable `FUZZ_TARGET` names.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn chosen() -> &'static Target {
    static CHOSEN: LazyLock<&'static Target> = LazyLock::new(|| {
        let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let found = TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("no target {name}"))
    });
    &CHOSEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_and_every_regression_holds() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has no seed", target.name);
            for input in seeds.iter().chain(&target.regressions()) {
                (target.check)(input);
            }
        }
    }

    #[test]
    fn every_target_is_described() {
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/testing.md");
        let text = fs::read_to_string(document).unwrap();
        for target in TARGETS {
            let name = format!("`{}`", target.name);
            assert!(
                text.contains(&name),
                "docs/testing.md does not describe {name}"
            );
        }
    }

    /// Cheap and the same in every process: a fuzzer finds more, this finds it again.
    #[test]
    fn seeds_hold_when_they_are_cut_and_altered() {
        for target in TARGETS {
            for seed in (target.seeds)() {
                for step in 0..64 {
                    let at = step * seed.len() / 64;
                    (target.check)(&seed[..at]);
                    let mut altered = seed.clone();
                    if let Some(byte) = altered.get_mut(at) {
                        *byte ^= 1 << (step % 8);
                    }
                    (target.check)(&altered);
                }
            }
        }
    }
}
