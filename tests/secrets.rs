//! Everything secret that the tests of one process come to know, and the search for it in a log, in whatever form.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

/// Secrets that must be in no log. Those of the whole test process are in [`Secrets::known`].
#[derive(Debug, Default)]
pub struct Secrets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Parts of long secrets: what leaves out a few bytes at either end is found, too.
    parts: HashMap<[u8; PART], &'static str>,
    short: HashMap<Vec<u8>, &'static str>,
    kinds: BTreeSet<&'static str>,
}

impl Secrets {
    /// What the tests of this process know by now.
    pub fn known() -> &'static Self {
        static KNOWN: std::sync::OnceLock<Secrets> = std::sync::OnceLock::new();
        KNOWN.get_or_init(Self::default)
    }

    /// Adds a secret. `what` names it in the report of a leak. What says nothing, such as zeros, is none.
    pub fn learn(&self, what: &'static str, secret: &[u8]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if secret.len() < SHORTEST || !says_something(secret) {
            return;
        }
        known.kinds.insert(what);
        if secret.len() < PART {
            known.short.insert(secret.to_vec(), what);
            return;
        }
        let last = secret.len() - PART;
        for start in (0..last).step_by(STRIDE).chain([last]) {
            if let Some(part) = secret[start..].first_chunk::<PART>()
                && says_something(part)
            {
                known.parts.insert(*part, what);
            }
        }
    }

    /// The kinds of secrets that are known.
    pub fn kinds(&self) -> BTreeSet<&'static str> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.kinds.clone()
    }

    /// What of it is in a log: raw, in hexadecimal of either case, in base64 of either alphabet at any alignment, or as
    /// a list of numbers; also inside the strings of lines that are JSON.
    pub fn leaks(&self, log: &str) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.kinds.is_empty() {
            return Vec::new();
        }
        let mut found = BTreeSet::new();
        for line in log.lines() {
            known.search(line, &mut found);
            if let Ok(value) = serde_json::from_str(line) {
                strings(&value, &mut |text| known.search(text, &mut found));
            }
        }
        found.into_iter().collect()
    }

    /// Fails the test if there is any of it in the log of the process `name`; a test that fails already says enough.
    pub fn must_not_be_in(&self, name: &str, log: &str) {
        let leaks = self.leaks(log);
        assert!(
            leaks.is_empty() || thread::panicking(),
            "the log of {name} holds secrets: {leaks:?}"
        );
    }
}

impl Known {
    fn search(&self, text: &str, found: &mut BTreeSet<String>) {
        let mut look = |form: &str, bytes: &[u8]| {
            let parts = bytes.windows(PART).filter_map(|part| {
                let part: &[u8; PART] = part.try_into().ok()?;
                self.parts.get(part)
            });
            let short = self.short.iter().filter_map(|(secret, what)| {
                let is_there = bytes.windows(secret.len()).any(|part| part == secret);
                is_there.then_some(what)
            });
            found.extend(parts.chain(short).map(|what| format!("{what} {form}")));
        };
        look("as it is", text.as_bytes());
        for run in text.split(|c: char| !c.is_ascii_hexdigit()) {
            for start in 0..run.len().min(2) {
                look(
                    "in hexadecimal",
                    &pairs(run.get(start..).unwrap_or_default()),
                );
            }
        }
        for run in text.split(|c: char| !is_base64(c)) {
            for start in 0..run.len().min(4) {
                look("in base64", &decoded(run.get(start..).unwrap_or_default()));
            }
        }
        for radix in [10, 16] {
            for list in lists(text, radix) {
                look("as numbers", &list);
            }
        }
    }
}

/// Bytes of a secret that are looked for at once: fewer could be an accident.
const PART: usize = 12;
const STRIDE: usize = 4;
/// Bytes of a password that is no accident.
const SHORTEST: usize = 6;
/// Characters between two numbers of one list, as `,` and the indentation of `{:#?}`.
const BETWEEN: usize = 40;

/// Four different bytes at least: zeros and the like are everywhere.
fn says_something(bytes: &[u8]) -> bool {
    bytes.iter().collect::<BTreeSet<_>>().len() >= 4
}

fn strings(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, look)),
        Value::Object(members) => members.iter().for_each(|(name, item)| {
            look(name);
            strings(item, look);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The bytes of hexadecimal digits, two each.
fn pairs(digits: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    digits.as_bytes().chunks_exact(2).filter_map(pair).collect()
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/-_".contains(c)
}

/// The bytes of base64 in either alphabet; the last bits of an incomplete group may be anything.
fn decoded(run: &str) -> Vec<u8> {
    let standard = run.replace('-', "+").replace('_', "/");
    let padding = "A".repeat(standard.len().next_multiple_of(4) - standard.len());
    let mut bytes = STANDARD_NO_PAD
        .decode(format!("{standard}{padding}"))
        .unwrap_or_default();
    bytes.truncate(standard.len() * 3 / 4);
    bytes
}

/// Numbers below 256 that follow each other with nothing but punctuation between them.
fn lists(text: &str, radix: u32) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut list = Vec::new();
    let mut between = 0;
    for token in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = token.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let digits = word.strip_prefix("0x").unwrap_or(word);
        if digits.is_empty() {
            between += 1;
        } else {
            match u8::from_str_radix(digits, radix) {
                Ok(byte) if digits.len() <= 3 && between < BETWEEN => list.push(byte),
                Ok(byte) if digits.len() <= 3 => {
                    all.push(std::mem::replace(&mut list, vec![byte]));
                }
                _ => all.push(std::mem::take(&mut list)),
            }
            between = 0;
        }
    }
    all.push(list);
    all.retain(|list| list.len() >= SHORTEST);
    all
}
