//! The server's store as the command line finds it, and the machine in it that is meant.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use evidence::EkHash;
use policy::SCHEMA;
use store::{Database, DatabaseAddress, DatabaseError, StoredMachine};
use tokio::runtime::{self, Runtime};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy_text::{Slip, text_of};

/// Where the servers keep what they know of machines.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct StoreArguments {
    /// The server's store: the path of an SQLite file, or a postgres:// URL.
    ///
    /// ${NAME} in a URL stands for an environment variable, of this tool here.
    #[arg(long, value_name = "ADDRESS")]
    store: Option<String>,
    /// Take the store from what stands in the server's plugin_data, HCL or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// One thread.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Environment, "runtime_failed", error.to_string()))
}

/// Opens the store. An SQLite file must be there: a slip in its path must not make an empty one.
pub(crate) async fn opened(arguments: &StoreArguments) -> Result<Database, Failure> {
    let address = address(&arguments.text()?)?;
    let shown = address.to_string();
    if !address.is_postgres() && !Path::new(&shown).exists() {
        let message = format!("there is no database at {shown}");
        return Err(Failure::new(Exit::Environment, "no_database", message)
            .hint("name what stands in the server's configuration as store"));
    }
    Database::open(&address)
        .await
        .map_err(|error| Failure::from(error).named(&shown))
}

/// The address of a database, with this process's environment for `${NAME}`.
pub(crate) fn address(text: &str) -> Result<DatabaseAddress, Failure> {
    DatabaseAddress::parse(text, |name| env::var(name).ok())
        .map_err(|error| Failure::new(Exit::Usage, "bad_store", format!("the store {error}")))
}

/// The machine that a text means: the whole hash, or the beginning of one in quarantine.
pub(crate) async fn found(database: &Database, text: &str) -> Result<EkHash, Failure> {
    let text = bare(text);
    if let Some(ek) = EkHash::from_hex(text).or_else(|| of_device(text)) {
        return Ok(ek);
    }
    let wanted = text.to_ascii_lowercase();
    let mut matching = Vec::new();
    for (ek, _) in all_quarantined(database).await? {
        if ek.hex().starts_with(&wanted) || ek.device().starts_with(&wanted) {
            matching.push(ek);
        }
    }
    match matching.as_slice() {
        _ if wanted.is_empty() => Err(not_known(text)),
        [ek] => Ok(*ek),
        [] => Err(not_known(text)),
        several => {
            let message = format!("{text} begins the hashes of {} machines", several.len());
            Err(Failure::new(Exit::Usage, "ambiguous_hash", message)
                .hint("write more of it; `tpm-attestor quarantine list` shows all"))
        }
    }
}

/// What is known of a machine.
pub(crate) async fn machine(database: &Database, ek: &EkHash) -> Result<StoredMachine, Failure> {
    let stored = database.machine(ek).await?;
    stored.ok_or_else(|| not_known(&ek.hex()))
}

/// All machines in quarantine, in the order of their hashes.
pub(crate) async fn all_quarantined(
    database: &Database,
) -> Result<Vec<(EkHash, StoredMachine)>, Failure> {
    let mut all: Vec<(EkHash, StoredMachine)> = Vec::new();
    loop {
        let after = all.last().map(|(ek, _)| *ek);
        let page = database.quarantined(after.as_ref()).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The store has no such machine.
pub(crate) fn not_known(text: &str) -> Failure {
    let message = format!("the store knows no machine {text}");
    Failure::new(Exit::Negative, "unknown_machine", message)
        .hint("the beginning of a hash is enough only for a machine in quarantine")
}

impl StoreArguments {
    fn text(&self) -> Result<String, Failure> {
        let file = match (&self.store, &self.config) {
            (Some(address), _) => return Ok(address.clone()),
            (None, Some(file)) => file,
            // The parser has refused this.
            (None, None) => return Err(no_store("no store is named")),
        };
        let (values, problems) = SCHEMA.read(&text_of(file)?);
        if let Some(store) = values.text("store") {
            return Ok(store.value.to_owned());
        }
        let first = problems.first().map(|problem| Slip::of(problem).text());
        Err(no_store(&match first {
            Some(first) => format!("{}:{first}", file.display()),
            None => format!(
                "{} has no store: nothing is kept of machines",
                file.display()
            ),
        }))
    }
}

fn no_store(message: &str) -> Failure {
    Failure::new(Exit::Usage, "bad_configuration", message)
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        let reason = match &error {
            DatabaseError::Corrupt(_) => "database_damaged",
            DatabaseError::Version { .. } => "database_newer",
            DatabaseError::Foreign => "database_of_another",
            _ => "database_unavailable",
        };
        Self::new(Exit::Environment, reason, error.to_string())
    }
}

impl Failure {
    fn named(self, database: &str) -> Self {
        let message = format!("{database}: {}", self.message);
        Self::new(self.exit, self.reason, message)
    }
}

/// The hash in a selector or in an agent's SPIFFE ID.
fn bare(text: &str) -> &str {
    let text = text.rsplit(['/', ':']).next();
    text.unwrap_or_default().trim()
}

/// From the 52 characters of the device selector.
fn of_device(text: &str) -> Option<EkHash> {
    let text = text.to_ascii_lowercase();
    let mut bytes = Vec::with_capacity(HASH + 1);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for char in text.chars() {
        let value = match char {
            'a'..='z' => u32::from(char) - u32::from('a'),
            '2'..='7' => u32::from(char) - u32::from('2') + 26,
            _ => return None,
        };
        (buffer, bits) = (((buffer << 5) | value) & 0xFFFF, bits + 5);
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xFF).ok()?);
        }
    }
    let ek = EkHash::from_hex(&hex::encode(bytes))?;
    // The bits that are left over say nothing in the one right form.
    (ek.device() == text).then_some(ek)
}

/// Bytes.
const HASH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_many_forms() {
        let hex = "00ff".repeat(16);
        let ek = EkHash::from_hex(&hex).unwrap();
        for text in [
            hex.clone(),
            format!("pub_hash:{hex}"),
            format!("spiffe://example.org/spire/agent/tpm/{hex}"),
        ] {
            assert_eq!(EkHash::from_hex(bare(&text)), Some(ek), "{text}");
        }
        for text in [
            ek.device(),
            ek.device().to_uppercase(),
            format!("device:{}", ek.device()),
            format!("tpm:device:{}", ek.device()),
        ] {
            assert_eq!(of_device(bare(&text)), Some(ek), "{text}");
        }
        let device = ek.device();
        let last_bit = format!("{}{}", device.get(..51).unwrap(), "b");
        for text in [
            "",
            "a",
            device.get(1..).unwrap(),
            &format!("{device}a"),
            &last_bit,
            "1",
        ] {
            assert_eq!(of_device(text), None, "{text}");
        }
        for seed in 0..=255u8 {
            let ek = EkHash::from_hex(&hex::encode([seed; 32])).unwrap();
            assert_eq!(of_device(&ek.device()), Some(ek));
        }
    }
}
