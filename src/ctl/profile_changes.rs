//! What differs between two boots, PCR by PCR, and which events explain it.

use std::collections::BTreeSet;

use eventlog::{Bank, BootClaims, SignatureEntry, VerifiedBy};
use serde::Serialize;
use similar::{Algorithm, DiffTag, capture_diff_slices};

use crate::boot::{Boot, Replayed};
use crate::eventlog_claims::Entry;
use crate::eventlog_words::{Subject, Words};

/// A PCR that changed.
#[derive(Debug, Serialize)]
pub(crate) struct PcrChange {
    pub(crate) pcr: u8,
    pub(crate) old: String,
    pub(crate) new: String,
    /// Whether both logs account for the whole of it.
    pub(crate) explained: bool,
    /// Why they need not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<&'static str>,
    pub(crate) changes: Vec<Change>,
}

/// What changed, in words.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) what: String,
    pub(crate) removed: Vec<String>,
    pub(crate) added: Vec<String>,
}

/// A boot with its log replayed, and what the log proves if it does.
pub(crate) struct Told<'a> {
    pub(crate) boot: &'a Boot,
    pub(crate) replayed: Option<Replayed<'a>>,
    pub(crate) claims: Option<BootClaims>,
}

/// An event: the digest that was measured, and what the data says.
type Measured = (Vec<u8>, Words);

impl<'a> Told<'a> {
    /// A log that cannot be read explains nothing.
    pub(crate) fn of(boot: &'a Boot) -> Self {
        Self {
            boot,
            replayed: boot.replayed().and_then(Result::ok),
            claims: boot.claims().and_then(Result::ok),
        }
    }

    fn accounts_for(&self, pcr: u8) -> bool {
        let replayed = self.replayed.as_ref();
        let replayed = replayed.and_then(|replayed| replayed.values.get(&pcr));
        replayed.is_some() && replayed == self.boot.values.get(&pcr)
    }

    /// The events of a PCR. Linux measures its command line without a text; where the log proves one elsewhere, it is
    /// that.
    fn events(&self, pcr: u8, bank: Bank) -> Vec<Measured> {
        let Some(replayed) = &self.replayed else {
            return Vec::new();
        };
        let inputs = self.claims.iter().flat_map(|claims| &claims.kernel_inputs);
        let mut events = replayed.events_of(pcr, bank);
        for (digest, words) in &mut events {
            let mut same = inputs.clone().filter(|input| input.digest == *digest);
            if let Some(text) = same.find_map(|input| input.text.as_deref()) {
                text.clone_into(&mut words.text);
                words.bound = true;
            }
        }
        events
    }
}

/// The PCRs that both boots have and that differ, ascending.
pub(crate) fn changes(old: &Told<'_>, new: &Told<'_>) -> Vec<PcrChange> {
    let bank = new.boot.bank;
    let mut found = Vec::new();
    for (pcr, before) in &old.boot.values {
        let Some(after) = new.boot.values.get(pcr).filter(|after| *after != before) else {
            continue;
        };
        let explained = old.accounts_for(*pcr) && new.accounts_for(*pcr);
        let (removed, added) = differing(&old.events(*pcr, bank), &new.events(*pcr, bank));
        let mut changes = described(&removed, &added, old, new);
        if explained && changes.is_empty() {
            changes.push(Change::bare("locality at which the machine started"));
        }
        found.push(PcrChange {
            pcr: *pcr,
            old: hex::encode(before),
            new: hex::encode(after),
            explained,
            note: (!explained).then(|| extended_later(*pcr)).flatten(),
            changes,
        });
    }
    found
}

/// Who extends a PCR after the firmware's log has ended (UAPI.7).
pub(crate) fn extended_later(pcr: u8) -> Option<&'static str> {
    match pcr {
        10 => Some("the kernel extends it while the machine runs (IMA)"),
        11 => Some("systemd extends it with each phase of the boot"),
        15 => Some("the operating system extends it"),
        16 | 23 => Some("anybody on the machine can reset it"),
        17..=22 => Some("a late launch extends it"),
        _ => None,
    }
}

/// The events of the one and of the other that are not common to both, by what was measured.
fn differing(old: &[Measured], new: &[Measured]) -> (Vec<Measured>, Vec<Measured>) {
    let digests = |events: &[Measured]| -> Vec<Vec<u8>> {
        events.iter().map(|(digest, _)| digest.clone()).collect()
    };
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for operation in capture_diff_slices(Algorithm::Myers, &digests(old), &digests(new)) {
        if operation.tag() != DiffTag::Equal {
            let old = old.get(operation.old_range()).unwrap_or_default();
            let new = new.get(operation.new_range()).unwrap_or_default();
            removed.extend_from_slice(old);
            added.extend_from_slice(new);
        }
    }
    (removed, added)
}

/// One change for each subject, in the order of the logs.
fn described(
    removed: &[Measured],
    added: &[Measured],
    old: &Told<'_>,
    new: &Told<'_>,
) -> Vec<Change> {
    let mut subjects: Vec<&Subject> = Vec::new();
    for (_, words) in removed.iter().chain(added) {
        if !subjects.contains(&&words.subject) {
            subjects.push(&words.subject);
        }
    }
    let of = |events: &[Measured], subject: &Subject| -> Vec<Measured> {
        let found = events.iter().filter(|(_, words)| words.subject == *subject);
        found.cloned().collect()
    };
    let claims = old.claims.as_ref().zip(new.claims.as_ref());
    subjects
        .into_iter()
        .map(|subject| change(subject, &of(removed, subject), &of(added, subject), claims))
        .collect()
}

fn change(
    subject: &Subject,
    removed: &[Measured],
    added: &[Measured],
    claims: Option<(&BootClaims, &BootClaims)>,
) -> Change {
    let by_claims = claims.and_then(|(old, new)| {
        let lists = [old, new].map(|claims| listed(subject, claims));
        let [Some(old), Some(new)] = lists else {
            return None;
        };
        let change = Change {
            what: subject.text(),
            removed: old.difference(&new).cloned().collect(),
            added: new.difference(&old).cloned().collect(),
        };
        // The owner of an entry may be another one, which no policy asks for.
        (!change.removed.is_empty() || !change.added.is_empty()).then_some(change)
    });
    by_claims
        .or_else(|| by_words(subject, removed, added))
        .unwrap_or_else(|| Change {
            what: subject.text(),
            removed: removed.iter().map(shown).collect(),
            added: added.iter().map(shown).collect(),
        })
}

/// What the claims list of a subject.
fn listed(subject: &Subject, claims: &BootClaims) -> Option<BTreeSet<String>> {
    let boot = &claims.secure_boot;
    let entries = |entries: &[SignatureEntry]| {
        let texts = entries.iter().map(|entry| Entry::of(entry).text());
        Some(texts.collect())
    };
    match subject {
        Subject::Variable(name) => match name.as_str() {
            "PK" => entries(&boot.pk),
            "KEK" => entries(&boot.kek),
            "db" => entries(&boot.db),
            "dbx" => entries(&boot.dbx),
            _ => None,
        },
        Subject::Authority(name) => {
            let used = boot
                .authorities
                .iter()
                .filter(|used| used.variable == *name);
            let text = |used: &VerifiedBy| used.entry.as_ref().map(|entry| Entry::of(entry).text());
            Some(used.filter_map(text).collect())
        }
        _ => None,
    }
}

/// One command line by another, word by word, where the digests cover both.
fn by_words(subject: &Subject, removed: &[Measured], added: &[Measured]) -> Option<Change> {
    let ([(_, before)], [(_, after)]) = (removed, added) else {
        return None;
    };
    if *subject != Subject::CommandLine || !before.bound || !after.bound {
        return None;
    }
    let [before, after] =
        [before, after].map(|words| -> Vec<&str> { words.text.split_ascii_whitespace().collect() });
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for operation in capture_diff_slices(Algorithm::Myers, &before, &after) {
        if operation.tag() != DiffTag::Equal {
            removed.extend(before.get(operation.old_range()).unwrap_or_default());
            added.extend(after.get(operation.new_range()).unwrap_or_default());
        }
    }
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (removed, added) = (owned(removed), owned(added));
    let differ = !removed.is_empty() || !added.is_empty();
    differ.then(|| Change {
        what: subject.text(),
        removed,
        added,
    })
}

/// The text where the digest covers it and it says everything, else the digest with the text as a hint.
fn shown((digest, words): &Measured) -> String {
    let says_all = !words.text.is_empty()
        && words.bound
        && matches!(
            words.subject,
            Subject::Variable(_) | Subject::CommandLine | Subject::Action | Subject::LoaderText
        );
    if says_all && !words.text.ends_with(" bytes") {
        return words.text.clone();
    }
    let digest = hex::encode(digest);
    match words.text.as_str() {
        "" => digest,
        text if words.bound => format!("{digest} ({text})"),
        text => format!("{digest} (hint: {text})"),
    }
}

impl Change {
    pub(crate) fn new(what: &str, old: String, new: String) -> Self {
        Self {
            what: what.to_owned(),
            removed: vec![old],
            added: vec![new],
        }
    }

    fn bare(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            removed: Vec::new(),
            added: Vec::new(),
        }
    }

    /// What is gone and what has come, each on a line of its own.
    pub(crate) fn text(&self) -> String {
        let removed = self.removed.iter().map(|text| format!("- {text}"));
        let added = self.added.iter().map(|text| format!("+ {text}"));
        removed.chain(added).collect::<Vec<_>>().join("\n")
    }
}
