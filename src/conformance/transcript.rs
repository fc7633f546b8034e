//! What passed between host and subject in one trial, in order, with the secrets of the subject taken out.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use tonic::Status;

/// A record that its clones share; without [`Transcript::begin`] nothing is kept.
#[derive(Clone, Debug, Default)]
pub struct Transcript(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    begun: Instant,
    secrets: Vec<Hidden>,
    events: Mutex<Vec<Event>>,
}

/// Bytes that must not be shown, and the name that stands for them.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// As in the subject file.
    pub name: String,
    /// At least four bytes.
    pub bytes: Vec<u8>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[non_exhaustive]
pub struct Event {
    /// Microseconds since the trial began.
    pub at_us: u64,
    /// Whose doing it was.
    pub from: From,
    /// What, as in `Configure` or `Attest: payload`.
    pub what: String,
    /// Its content: text as it was, bytes in base64, whichever; cut at 16 KiB.
    pub content: Content,
}

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The host's.
    Host,
    /// The subject's.
    Subject,
    /// A remark of the case.
    Case,
}

/// What was in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Nothing.
    Nothing,
    /// UTF-8.
    Text(String),
    /// Base64 of anything else.
    Bytes(String),
}

const EVENTS: usize = 2_000;
const CONTENT: usize = 16 << 10;

impl Transcript {
    /// A record that begins now.
    pub fn begin(secrets: Vec<Hidden>) -> Self {
        Self(Some(Arc::new(Kept {
            begun: Instant::now(),
            secrets,
            events: Mutex::default(),
        })))
    }

    /// The host did this.
    pub fn sent(&self, what: impl Into<String>, content: &[u8]) {
        self.add(From::Host, what.into(), content);
    }

    /// The subject did this.
    pub fn came(&self, what: impl Into<String>, content: &[u8]) {
        self.add(From::Subject, what.into(), content);
    }

    /// The subject answered a call so.
    pub(crate) fn answered<T: fmt::Debug>(
        &self,
        call: &str,
        answer: &Result<tonic::Response<T>, Status>,
    ) {
        if self.0.is_none() {
            return;
        }
        match answer {
            Ok(answer) => self.came(
                format!("{call}: OK"),
                format!("{:?}", answer.get_ref()).as_bytes(),
            ),
            Err(status) => self.refused(call, status),
        }
    }

    /// The subject answered with a status.
    pub(crate) fn refused(&self, call: &str, status: &Status) {
        let code = crate::status::code_name(status.code());
        self.came(format!("{call}: {code}"), status.message().as_bytes());
    }

    /// A remark.
    pub fn note(&self, what: impl Into<String>) {
        self.add(From::Case, what.into(), b"");
    }

    /// All so far.
    pub fn events(&self) -> Vec<Event> {
        let Some(kept) = &self.0 else {
            return Vec::new();
        };
        let events = kept.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }

    /// The text with the secrets taken out.
    pub fn redacted(&self, text: &str) -> String {
        match &self.0 {
            Some(kept) => {
                String::from_utf8_lossy(&redact(text.as_bytes(), &kept.secrets)).into_owned()
            }
            None => text.to_owned(),
        }
    }

    fn add(&self, from: From, what: String, content: &[u8]) {
        let Some(kept) = &self.0 else {
            return;
        };
        let at_us = u64::try_from(kept.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let content = Content::of(&redact(content, &kept.secrets));
        let mut events = kept.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < EVENTS {
            events.push(Event {
                at_us,
                from,
                what,
                content,
            });
        }
    }
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let kept = bytes.get(..CONTENT).unwrap_or(bytes);
        let more = match bytes.len().saturating_sub(kept.len()) {
            0 => String::new(),
            more => format!("… and {more} bytes more"),
        };
        match std::str::from_utf8(kept) {
            Ok("") => Self::Nothing,
            Ok(text) => Self::Text(format!("{text}{more}")),
            Err(_) => {
                use base64::Engine as _;
                let encoded = base64::engine::general_purpose::STANDARD.encode(kept);
                Self::Bytes(format!("{encoded}{more}"))
            }
        }
    }
}

/// Each secret is replaced by its name, wherever it stands, also in base64 and in hex.
fn redact(bytes: &[u8], secrets: &[Hidden]) -> Vec<u8> {
    use base64::Engine as _;
    let mut shown = bytes.to_vec();
    for secret in secrets.iter().filter(|secret| secret.bytes.len() >= 4) {
        let name = format!("{{{{secret:{}}}}}", secret.name);
        let base64 = base64::engine::general_purpose::STANDARD.encode(&secret.bytes);
        for form in [
            secret.bytes.clone(),
            base64.into_bytes(),
            hex::encode(&secret.bytes).into_bytes(),
        ] {
            shown = replaced(&shown, &form, name.as_bytes());
        }
    }
    shown
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        let (before, found) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(to);
        rest = found.get(from.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}
