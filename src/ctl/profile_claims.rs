//! What boot event logs prove, as keys of a profile.

use std::collections::BTreeSet;

use eventlog::{BootClaims, ImageKind, SignatureEntry};

use verify::as_claimed;

use crate::eventlog_claims::Entry;
use crate::profile_block::{Block, Source, Sourced};

/// What the profile says besides values of PCRs.
#[derive(Clone, Copy)]
pub(crate) struct Covered {
    pub(crate) secure_boot: bool,
    pub(crate) boot_images: bool,
}

impl Covered {
    /// What all of the logs prove.
    pub(crate) fn by(claims: &[&BootClaims]) -> Self {
        let shows_programs = |of: &&BootClaims| {
            let mut kinds = of.images.iter().map(|image| image.kind);
            kinds.any(|kind| kind == ImageKind::Application)
        };
        Self {
            secure_boot: claims.iter().all(|of| of.secure_boot.enabled),
            boot_images: claims.iter().all(shows_programs),
        }
    }
}

/// Adds what the logs prove, in the order in which servers check it; `pcrs` are those whose values the profile will list.
pub(crate) fn add_claims(
    block: &mut Block,
    claims: &[&BootClaims],
    dbx: bool,
    pcrs: &BTreeSet<u8>,
) {
    let covered = Covered::by(claims);
    let count = claims.len();
    if covered.secure_boot {
        block.flag("secure_boot", "Secure Boot was on.");
        add_keys(block, claims, dbx);
    } else {
        block.note("Secure Boot was not on everywhere: nothing is required of its keys.");
    }
    if covered.boot_images {
        let images = gather(claims, |of| {
            let images = of.images.iter();
            let about = |path: &Option<String>| {
                path.as_ref()
                    .map(|path| format!("hint: {path}"))
                    .unwrap_or_default()
            };
            images
                .map(|image| (hex::encode(&image.digest), about(&image.path)))
                .collect()
        });
        let note = "All programs that the firmware or a loader started, by Authenticode digest.";
        block.list("boot_images", &images, count, note);
    } else {
        block.note("The log shows no program that the firmware started.");
    }
    add_command_lines(block, claims, pcrs);
}

fn add_keys(block: &mut Block, claims: &[&BootClaims], dbx: bool) {
    let count = claims.len();
    let db = gather(claims, |of| {
        named(&of.secure_boot.db.iter().collect::<Vec<_>>())
    });
    if !db.is_empty() {
        block.list("db", &db, count, "All keys that may sign what is booted.");
    }
    if dbx {
        let common = in_all(claims, |of| {
            named(&of.secure_boot.dbx.iter().collect::<Vec<_>>())
        });
        if common.is_empty() {
            block.note("There is nothing that every dbx has.");
        } else {
            let note = "What every dbx has; more may be in it.";
            block.list("dbx", &common, count, note);
        }
    }
    let authorities = gather(claims, |of| {
        let used = of.secure_boot.authorities.iter();
        named(
            &used
                .filter_map(|used| used.entry.as_ref())
                .collect::<Vec<_>>(),
        )
    });
    if !authorities.is_empty() {
        let note = "All keys that vouched for what was started.";
        block.list("authorities", &authorities, count, note);
    }
}

fn add_command_lines(block: &mut Block, claims: &[&BootClaims], pcrs: &BTreeSet<u8>) {
    let shows_all = |of: &&BootClaims| !of.command_lines.is_empty() && of.unread.is_empty();
    if !claims.iter().all(shows_all) {
        block
            .note("A log shows no text of the kernel command line; PCRs 8, 9 and 12 are about it.");
        return;
    }
    if pcrs.is_disjoint(&[4, 9].into()) {
        block.note("Nothing is required of command lines: without PCR 4 or 9 nothing says who measured them.");
        return;
    }
    let lines = gather(claims, |of| {
        let lines = of.command_lines.iter();
        lines
            .map(|line| (as_written(line.text.trim()), format!("PCR {}", line.pcr)))
            .collect()
    });
    let note = "All kernel command lines that were measured.";
    block.block("command_line", "allow", &lines, claims.len(), note);
}

/// Without the escapes that a profile does not need.
fn as_written(line: &str) -> String {
    let written = line.replace("\\u{22}", "\"").replace("\\u{5c}", "\\");
    if as_claimed(&written) == line {
        written
    } else {
        line.to_owned()
    }
}

/// The union over all boots, with which of them had what.
fn gather(claims: &[&BootClaims], of: impl Fn(&BootClaims) -> Vec<(String, String)>) -> Sourced {
    let mut values = Sourced::new();
    for (index, claims) in claims.iter().enumerate() {
        for (value, about) in of(claims) {
            sourced(&mut values, index, value, about);
        }
    }
    values
}

/// What all boots had.
fn in_all(claims: &[&BootClaims], of: impl Fn(&BootClaims) -> Vec<(String, String)>) -> Sourced {
    let mut values = gather(claims, of);
    values.retain(|_, source| source.boots.len() == claims.len());
    values
}

/// Adds a value of a boot, counted from zero.
pub(crate) fn sourced(values: &mut Sourced, index: usize, value: String, about: String) {
    let source = values.entry(value).or_insert_with(|| Source {
        about,
        ..Source::default()
    });
    source.boots.insert(index + 1);
}

fn named(entries: &[&SignatureEntry]) -> Vec<(String, String)> {
    entries
        .iter()
        .map(|entry| Entry::of(entry))
        .map(|entry| (entry.fingerprint.clone(), entry.about()))
        .collect()
}
