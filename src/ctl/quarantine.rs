//! Machines that servers have put in quarantine, looked at and let go: the commands under `quarantine`.

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use clap::{Args, Subcommand};
use evidence::EkHash;
use serde::Serialize;
use store::{Database, DatabaseError, StoredMachine};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Report};
use crate::quarantine_report::{Listing, Shown};
use crate::quarantine_store::{StoreArguments, found, machine, not_known, opened, runtime};

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List the machines in quarantine: which, why, since when, and what was seen.
    List {
        #[command(flatten)]
        store: StoreArguments,
    },
    /// Show what is known of a machine beside what was seen of it, and what differs.
    ///
    /// Without a quarantine it shows what is known.
    Show {
        #[command(flatten)]
        machine: MachineArguments,
    },
    /// End a quarantine: what was seen is what the next attestation is compared with.
    ///
    /// Find out first why the machine is in quarantine. If a copy of it was seen, find the copy: the original, being ahead of
    /// it, attests again then, and so does the copy until it falls behind.
    #[command(verbatim_doc_comment)]
    Accept {
        #[command(flatten)]
        machine: MachineArguments,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Drop everything known of a machine: its next attestation counts as its first.
    Forget {
        #[command(flatten)]
        machine: MachineArguments,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct MachineArguments {
    /// The machine: 64 hex digits, the 52 characters of the device selector, or its agent's SPIFFE ID.
    ///
    /// For a machine in quarantine the beginning is enough, if there is one only that begins so.
    #[arg(value_name = "HASH")]
    hash: String,
    #[command(flatten)]
    store: StoreArguments,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    ek_hash: String,
    device: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "done", rename_all = "snake_case")]
enum What {
    Accepted,
    Forgotten,
}

/// Runs a command under `quarantine`.
pub(crate) fn run(
    command: &QuarantineCommand,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let runtime = runtime()?;
    match command {
        QuarantineCommand::List { store } => {
            let listing = runtime.block_on(async {
                let database = opened(store).await?;
                Listing::read(&database).await
            })?;
            output::write(&listing, format, out)
        }
        QuarantineCommand::Show { machine } => {
            let (_, ek, stored) = runtime.block_on(looked_up(machine))?;
            output::write(&Shown::of(&ek, &stored), format, out)
        }
        QuarantineCommand::Accept { machine, yes } => {
            let (database, ek, stored) = runtime.block_on(looked_up(machine))?;
            if stored.quarantine.is_none() {
                return Err(not_in_quarantine(&ek));
            }
            confirmed(
                *yes,
                &ek,
                Some(&stored),
                "Is what was seen this machine's rightful state?",
            )?;
            let accepted = runtime.block_on(database.accept(&ek, stored.revision));
            if !accepted.map_err(Failure::from)? {
                return Err(changed(&ek));
            }
            output::write(&Done::of(&ek, What::Accepted), format, out)
        }
        QuarantineCommand::Forget { machine, yes } => {
            let (database, ek, stored) = runtime.block_on(to_forget(machine))?;
            confirmed(
                *yes,
                &ek,
                stored.as_ref(),
                "Drop everything known of this machine?",
            )?;
            let revision = stored.map(|stored| stored.revision);
            let forgotten = runtime.block_on(database.forget(&ek, revision));
            if !forgotten.map_err(Failure::from)? {
                return Err(changed(&ek));
            }
            output::write(&Done::of(&ek, What::Forgotten), format, out)
        }
    }
}

async fn looked_up(
    arguments: &MachineArguments,
) -> Result<(Database, EkHash, StoredMachine), Failure> {
    let database = opened(&arguments.store).await?;
    let ek = found(&database, &arguments.hash).await?;
    let stored = machine(&database, &ek).await?;
    Ok((database, ek, stored))
}

/// A row that is damaged can be forgotten like any other.
async fn to_forget(
    arguments: &MachineArguments,
) -> Result<(Database, EkHash, Option<StoredMachine>), Failure> {
    let database = opened(&arguments.store).await?;
    let ek = found(&database, &arguments.hash).await?;
    let stored = match database.machine(&ek).await {
        Err(DatabaseError::Corrupt(_)) => None,
        Err(error) => return Err(error.into()),
        Ok(None) => return Err(not_known(&ek.hex())),
        Ok(stored) => stored,
    };
    Ok((database, ek, stored))
}

fn not_in_quarantine(ek: &EkHash) -> Failure {
    let message = format!("{ek} is not in quarantine");
    Failure::new(Exit::Negative, "not_in_quarantine", message)
}

/// Between the look and the word a server or another operator wrote: the word was not about what is there now.
fn changed(ek: &EkHash) -> Failure {
    let message =
        format!("what is known of {ek} has changed since it was looked at; nothing was done");
    Failure::new(Exit::Negative, "machine_changed", message)
        .hint("look at it again: `tpm-attestor quarantine show`")
}

/// Shows the machine on the terminal and asks. Where nobody can be asked, `--yes` has to say it.
fn confirmed(
    yes: bool,
    ek: &EkHash,
    stored: Option<&StoredMachine>,
    question: &str,
) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let (input, mut terminal) = (io::stdin(), io::stderr());
    if !input.is_terminal() {
        let message = "nobody can be asked: stdin is no terminal";
        return Err(Failure::new(Exit::Usage, "not_confirmed", message).hint("say it with --yes"));
    }
    let shown = match stored {
        Some(stored) => Shown::of(ek, stored).table(),
        None => format!("what is known of {ek} cannot be read\n"),
    };
    write!(terminal, "{shown}\n{question} [y/N] ")
        .and_then(|()| terminal.flush())
        .map_err(|error| unasked(&error))?;
    let mut answer = String::new();
    let mut input = io::Read::take(input.lock(), ANSWER);
    input
        .read_line(&mut answer)
        .map_err(|error| unasked(&error))?;
    if is_yes(&answer) {
        Ok(())
    } else {
        let message = "nothing was changed";
        Err(Failure::new(Exit::Negative, "not_confirmed", message))
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES")
}

fn unasked(error: &io::Error) -> Failure {
    let message = format!("cannot ask on the terminal: {error}");
    Failure::new(Exit::Environment, "output_failed", message)
}

/// Bytes of an answer.
const ANSWER: u64 = 64;

impl Done {
    fn of(ek: &EkHash, what: What) -> Self {
        Self {
            ek_hash: ek.hex(),
            device: ek.device(),
            what,
        }
    }
}

impl Report for Done {
    fn table(&self) -> String {
        match self.what {
            What::Accepted => format!(
                "{} is out of quarantine: what was seen is what the next attestation is compared with\n",
                self.ek_hash
            ),
            What::Forgotten => format!(
                "{} is forgotten: its next attestation counts as its first\n",
                self.ek_hash
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for (answer, yes) in [
            ("y\n", true),
            ("yes\n", true),
            ("YES", true),
            ("\n", false),
            ("", false),
            ("no\n", false),
            ("yellow\n", false),
        ] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
