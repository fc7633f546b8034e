//! What has to hold for claims about a boot: each leads to what was measured, and a log that lies gains nothing.

use eventlog::{BootClaims, SecureBoot, SignatureEntry, VerifiedBy, limits};
use evidence::{Algorithm, Hash};

use crate::boot_reader::{self, Entry};
use crate::shown::assert_shown;

/// Every text may reach a log, a selector or an operator.
pub(crate) fn are_shown(claims: &BootClaims) {
    let secure_boot = &claims.secure_boot;
    let lists = entries_of(secure_boot);
    let authorities = &secure_boot.authorities;
    let entries = lists.into_iter().flatten();
    let entries = entries.chain(authorities.iter().filter_map(|by| by.entry.as_ref()));
    let of_entries = entries.filter_map(|entry| match entry {
        SignatureEntry::Certificate { subject, .. } => subject.as_ref(),
        SignatureEntry::Other { kind, .. } => Some(kind),
        SignatureEntry::Sha256 { .. } => None,
    });
    let images = claims.images.iter().chain(&claims.drivers);
    let texts = images
        .filter_map(|image| image.path.as_ref())
        .chain(of_entries)
        .chain(authorities.iter().map(|by| &by.variable))
        .chain(claims.actions.iter().map(|action| &action.text))
        .chain(&claims.firmware_version);
    for text in texts {
        assert_shown(text, limits::TEXT);
    }
    let inputs = claims.kernel_inputs.iter();
    let lines = claims.command_lines.iter().map(|line| &line.text);
    for text in lines.chain(inputs.filter_map(|input| input.text.as_ref())) {
        assert_shown(text, limits::COMMAND_LINE);
    }
}

/// Each claim is of an entry of the log, in the eyes of another reader.
pub(crate) fn hold(claims: &BootClaims, entries: &[Entry<'_>]) {
    let measured = Measured::of(claims, entries);
    let secure_boot = &claims.secure_boot;
    let enabled = measured.variable("SecureBoot");
    assert_eq!(secure_boot.enabled, enabled == [1], "{enabled:?}");
    assert!(secure_boot.enabled || matches!(enabled, [0] | []));
    for (name, found) in ["PK", "KEK", "db", "dbx"]
        .iter()
        .zip(entries_of(secure_boot))
    {
        let value = measured.variable(name);
        let signatures = boot_reader::signatures(value).expect("signature lists");
        assert_eq!(found.len(), signatures.len(), "{name}");
        for (entry, signature) in found.iter().zip(signatures) {
            let fingerprint = match entry {
                SignatureEntry::Sha256 { .. } => signature[..32].to_vec(),
                _ => Hash::Sha256.digest(&[signature]),
            };
            assert_eq!(entry.fingerprint().as_slice(), fingerprint, "{name}");
        }
    }
    for VerifiedBy {
        variable, entry, ..
    } in &secure_boot.authorities
    {
        let Some(entry) = entry else { continue };
        let is = |data: &[u8]| is_entry(entry, data);
        assert!(measured.has(7, is), "{variable}: {entry:?}");
    }
    for (pcr, images) in [(4, &claims.images), (2, &claims.drivers)] {
        let mut digests = measured.digests(pcr);
        for image in images {
            let is_next = digests.any(|digest| digest == image.digest);
            assert!(is_next, "{image:?} of PCR {pcr}");
        }
    }
    for action in claims
        .actions
        .iter()
        .filter(|action| !action.text.contains('\\'))
    {
        let is = |data: &[u8]| data.strip_suffix(&[0]).unwrap_or(data) == action.text.as_bytes();
        assert!(measured.has(action.pcr.into(), is), "{action:?}");
    }
    for line in claims
        .command_lines
        .iter()
        .filter(|line| !line.text.contains('\\'))
    {
        let digests = measured.digests_of(&line.text);
        let is = |digest: &[u8]| digests.iter().any(|of| of == digest);
        assert!(measured.digests(line.pcr.into()).any(is), "{line:?}");
    }
}

/// A log that does not tell what the machine did says the same of it, or more; never less, nor another thing.
pub(crate) fn no_lie(told: &BootClaims, truth: &BootClaims) {
    assert_eq!(told.secure_boot, truth.secure_boot);
    assert_eq!(told.option_rom_events, truth.option_rom_events);
    assert!(told.replayed.is_subset(&truth.replayed));
    for (told, truth) in [
        (&told.images, &truth.images),
        (&told.drivers, &truth.drivers),
    ] {
        let mut told = told.iter();
        for image in truth {
            let is_told = told.any(|told| told.digest == image.digest);
            assert!(is_told, "{image:?} is concealed");
        }
    }
}

/// What a bank was extended by.
struct Measured<'a> {
    hash: Hash,
    entries: Vec<(&'a Entry<'a>, &'a [u8])>,
}

impl<'a> Measured<'a> {
    fn of(claims: &BootClaims, entries: &'a [Entry<'a>]) -> Self {
        let algorithm = claims.bank.algorithm();
        let digest = |entry: &'a Entry<'a>| {
            let (_, digest) = entry.digests.iter().find(|(of, _)| *of == algorithm)?;
            (entry.kind != NO_ACTION).then_some((entry, *digest))
        };
        Self {
            hash: Hash::from_algorithm(Algorithm(algorithm)).expect("a bank"),
            entries: entries.iter().filter_map(digest).collect(),
        }
    }

    fn digests(&self, pcr: u32) -> impl Iterator<Item = &'a [u8]> {
        let of_pcr = self
            .entries
            .iter()
            .filter(move |(entry, _)| entry.pcr == pcr);
        of_pcr.map(|(_, digest)| *digest)
    }

    /// An entry of the PCR has such data, or it has but for what old versions of shim put behind it, and measured it.
    fn has(&self, pcr: u32, is: impl Fn(&[u8]) -> bool) -> bool {
        self.entries.iter().any(|(entry, digest)| {
            let data = entry.data;
            let shorter = &data[..data.len().saturating_sub(1)];
            let is_bound = [data, shorter]
                .iter()
                .any(|data| self.hash.digest(&[data]) == *digest);
            entry.pcr == pcr && is_bound && is(data)
        })
    }

    /// The value of a variable of Secure Boot, which is measured whole.
    fn variable(&self, name: &str) -> &'a [u8] {
        let wide = softtpm::utf16(name);
        let value = self.entries.iter().find_map(|(entry, digest)| {
            let (guid, own, value) = boot_reader::variable(entry.data)?;
            let is_database = name.starts_with("db");
            let expected = if is_database {
                softtpm::IMAGE_SECURITY_DATABASE
            } else {
                softtpm::GLOBAL_VARIABLE
            };
            let is_config = (entry.pcr, entry.kind) == (7, VARIABLE_DRIVER_CONFIG);
            let is_measured = self.hash.digest(&[entry.data]) == *digest;
            (is_config && is_measured && guid == expected && own == wide).then_some(value)
        });
        value.unwrap_or_else(|| panic!("{name} is claimed and was not measured"))
    }

    /// The digests of a text in the forms in which boot loaders measure one.
    fn digests_of(&self, text: &str) -> [Vec<u8>; 4] {
        let terminated = [text, "\0"].concat();
        let narrow = [text, &terminated].map(|text| text.as_bytes().to_vec());
        let wide = [text, &terminated].map(softtpm::utf16);
        let [one, two, three, four] = [narrow, wide].concat().try_into().expect("four");
        [one, two, three, four].map(|text: Vec<u8>| self.hash.digest(&[&text]))
    }
}

/// The entry is in a variable, with an owner before it, without one, or before what shim puts behind it.
fn is_entry(entry: &SignatureEntry, variable: &[u8]) -> bool {
    let Some((_, _, value)) = (0..9)
        .filter_map(|more| variable.len().checked_sub(more))
        .find_map(|size| boot_reader::variable(&variable[..size]))
    else {
        return false;
    };
    let fingerprint = entry.fingerprint();
    [Some(value), value.get(16..)]
        .into_iter()
        .flatten()
        .any(|value| value == fingerprint || Hash::Sha256.digest(&[value]) == fingerprint)
}

fn entries_of(secure_boot: &SecureBoot) -> [&Vec<SignatureEntry>; 4] {
    let SecureBoot {
        pk, kek, db, dbx, ..
    } = secure_boot;
    [pk, kek, db, dbx]
}

const NO_ACTION: u32 = 3;
const VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
