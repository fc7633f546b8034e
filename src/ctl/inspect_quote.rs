//! `inspect quote`: what a TPM signed, read out of a TPMS_ATTEST or a record.

use std::path::Path;

use evidence::{Attest, Attested, Hash, PcrSelection, TPM_GENERATED, tag};
use serde::Serialize;
use verify::FirmwareVersion;

use crate::evidence_read::{Stored, is_record};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::output::{Report, fields};
use crate::text::printable;

/// A TPMS_ATTEST in words. No signature is checked: `inspect evidence` and `verify` do.
#[derive(Debug, Serialize)]
pub(crate) struct QuoteReport {
    source: String,
    #[serde(flatten)]
    quote: Quote,
}

/// What the structure says.
#[derive(Debug, Serialize)]
pub(crate) struct Quote {
    magic: String,
    /// Whether a TPM may have made it.
    is_generated: bool,
    #[serde(rename = "type")]
    kind: String,
    qualified_signer: String,
    extra_data: String,
    /// Milliseconds.
    clock: u64,
    reset_count: u32,
    restart_count: u32,
    clock_safe: bool,
    firmware: String,
    #[serde(flatten)]
    about: About,
}

/// What was attested.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum About {
    Quote {
        selections: Vec<Selection>,
        pcr_digest: String,
    },
    Creation {
        name: String,
        creation_hash: String,
    },
    Certify {
        name: String,
        qualified_name: String,
    },
    Other {
        bytes: usize,
    },
}

#[derive(Debug, Serialize)]
struct Selection {
    bank: String,
    pcrs: Vec<u8>,
}

/// Looks at a file.
pub(crate) fn report(path: &Path) -> Result<QuoteReport, Failure> {
    let bytes = files::read(path, MAX_FILE)?;
    let source = printable(&path.display().to_string());
    let unusable = |message: &str| {
        let message = format!("{}: {message}", path.display());
        Failure::new(Exit::Environment, "malformed_attest", message)
    };
    let attest = if is_record(&bytes) {
        let stored = Stored::of(path, &bytes)?;
        let evidence = stored.messages().evidence();
        let evidence = evidence.ok_or_else(|| unusable("the record has no quote"))?;
        Attest::parse(&evidence.quote)
    } else {
        Attest::parse(&bytes)
    };
    let attest = attest.map_err(|error| {
        unusable(&format!("neither a record nor a TPMS_ATTEST: {error}"))
            .hint("`tpm2_quote --message` writes one")
    })?;
    Ok(QuoteReport {
        source,
        quote: Quote::of(&attest),
    })
}

impl Quote {
    pub(crate) fn of(attest: &Attest) -> Self {
        Self {
            magic: format!("{:08x}", attest.magic),
            is_generated: attest.magic == TPM_GENERATED,
            kind: type_name(attest.kind),
            qualified_signer: hex::encode(attest.qualified_signer.as_bytes()),
            extra_data: hex::encode(&attest.extra_data),
            clock: attest.clock.clock,
            reset_count: attest.clock.reset_count,
            restart_count: attest.clock.restart_count,
            clock_safe: attest.clock.safe,
            firmware: FirmwareVersion(attest.firmware).to_string(),
            about: About::of(&attest.attested),
        }
    }

    /// Names and values for a table.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Option<String>)> {
        let origin = if self.is_generated {
            "TPM_GENERATED"
        } else {
            "no TPM makes this"
        };
        let safe = if self.clock_safe {
            "safe"
        } else {
            "not safe: it may have been later before"
        };
        let mut rows = vec![
            ("magic", Some(format!("{} ({origin})", self.magic))),
            ("type", Some(self.kind.clone())),
            ("qualified signer", Some(self.qualified_signer.clone())),
            ("extra data", Some(self.extra_data.clone())),
            ("clock", Some(format!("{} ms, {safe}", self.clock))),
            (
                "counters",
                Some(format!(
                    "{} resets, {} restarts",
                    self.reset_count, self.restart_count
                )),
            ),
            ("firmware", Some(self.firmware.clone())),
        ];
        rows.extend(self.about.rows());
        rows
    }
}

impl About {
    fn of(attested: &Attested) -> Self {
        match attested {
            Attested::Quote { selections, digest } => Self::Quote {
                selections: selections.iter().map(Selection::of).collect(),
                pcr_digest: hex::encode(digest),
            },
            Attested::Creation { name, hash } => Self::Creation {
                name: hex::encode(name.as_bytes()),
                creation_hash: hex::encode(hash),
            },
            Attested::Certify {
                name,
                qualified_name,
            } => Self::Certify {
                name: hex::encode(name.as_bytes()),
                qualified_name: hex::encode(qualified_name.as_bytes()),
            },
            Attested::Other(bytes) => Self::Other { bytes: bytes.len() },
        }
    }

    fn rows(&self) -> Vec<(&'static str, Option<String>)> {
        match self {
            Self::Quote {
                selections,
                pcr_digest,
            } => {
                let texts: Vec<_> = selections.iter().map(Selection::text).collect();
                vec![
                    ("PCRs", Some(texts.join("\n"))),
                    ("PCR digest", Some(pcr_digest.clone())),
                ]
            }
            Self::Creation {
                name,
                creation_hash,
            } => vec![
                ("name", Some(name.clone())),
                ("creation hash", Some(creation_hash.clone())),
            ],
            Self::Certify {
                name,
                qualified_name,
            } => vec![
                ("name", Some(name.clone())),
                ("qualified name", Some(qualified_name.clone())),
            ],
            Self::Other { bytes } => vec![("attested", Some(format!("{bytes} bytes")))],
        }
    }
}

impl Selection {
    fn of(selection: &PcrSelection) -> Self {
        let bank = Hash::from_algorithm(selection.bank);
        Self {
            bank: bank.map_or_else(
                || format!("{:#06x}", selection.bank.0),
                |hash| hash.name().to_owned(),
            ),
            pcrs: selection.pcrs().into_iter().flatten().collect(),
        }
    }

    fn text(&self) -> String {
        let pcrs: Vec<_> = self.pcrs.iter().map(ToString::to_string).collect();
        format!("{}: {}", self.bank, pcrs.join(", "))
    }
}

/// TPM library part 2, section 6.9.
fn type_name(kind: u16) -> String {
    let name = match kind {
        tag::ATTEST_NV => "TPM_ST_ATTEST_NV",
        tag::ATTEST_COMMAND_AUDIT => "TPM_ST_ATTEST_COMMAND_AUDIT",
        tag::ATTEST_SESSION_AUDIT => "TPM_ST_ATTEST_SESSION_AUDIT",
        tag::ATTEST_CERTIFY => "TPM_ST_ATTEST_CERTIFY",
        tag::ATTEST_QUOTE => "TPM_ST_ATTEST_QUOTE",
        tag::ATTEST_TIME => "TPM_ST_ATTEST_TIME",
        tag::ATTEST_CREATION => "TPM_ST_ATTEST_CREATION",
        other => return format!("{other:#06x}"),
    };
    name.to_owned()
}

impl Report for QuoteReport {
    fn table(&self) -> String {
        let mut rows = vec![("file", Some(self.source.clone()))];
        rows.extend(self.quote.rows());
        fields(rows)
    }

    fn exit(&self) -> Exit {
        if self.quote.is_generated {
            Exit::Good
        } else {
            Exit::Negative
        }
    }
}

/// Bytes of a record, the longer of the two forms.
const MAX_FILE: u64 = 1536 * 1024;
