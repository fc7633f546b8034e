//! CA certificates of TPM makers: the commands under `ca`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use verify::Vendor;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::{ca_import, ca_show};

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Make a bundle for the server's ca_path out of a published collection.
    ///
    /// Reads PEM with comments as collections of TPM makers' CAs are published, plain PEM, DER, or a directory of these;
    /// leaves out what a server could not use, writes the rest in one form, and says what it is. Nothing is fetched:
    /// get the collection, and verify where it comes from, by other means first.
    #[command(verbatim_doc_comment)]
    Import(Import),
    /// List the certificates of a ca_path, and what a server would make of each.
    Show {
        /// A file or directory with CA certificates.
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The collection of CA certificates: each becomes an anchor.
    #[arg(value_name = "FILE")]
    pub(crate) collection: PathBuf,
    /// The directory to write ca-bundle.pem and intermediates.pem into.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// A collection of certificates that only help to build chains.
    #[arg(long, value_name = "FILE")]
    pub(crate) intermediates: Option<PathBuf>,
    /// Only the certificates of these vendors, by their TCG names, such as IFX,INTC,STM.
    #[arg(long, value_name = "VENDORS", value_delimiter = ',', value_parser = known_vendor)]
    pub(crate) vendors: Option<Vec<Vendor>>,
    /// The SHA-256 that the collection must have, in hex; it is one file then.
    #[arg(long, value_name = "HEX", value_parser = digest)]
    pub(crate) sha256: Option<Digest>,
}

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

/// Runs a command under `ca`.
pub(crate) fn run(command: &Ca, format: Format, out: &mut dyn Write) -> Result<Exit, Failure> {
    match command {
        Ca::Import(arguments) => output::write(&ca_import::import(arguments)?, format, out),
        Ca::Show { path } => output::write(&ca_show::show(path)?, format, out),
    }
}

fn known_vendor(name: &str) -> Result<Vendor, String> {
    store::vendor(name)
        .ok_or_else(|| format!("no TPM vendor; one of {}", store::vendor_names().join(", ")))
}

fn digest(text: &str) -> Result<Digest, &'static str> {
    let bytes = hex::decode(text).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(Digest).ok_or("write 64 hex digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_and_digests_are_checked_with_the_command_line() {
        assert_eq!(known_vendor("STM").unwrap(), Vendor(*b"STM "));
        assert!(known_vendor("INFX").unwrap_err().contains("IFX, INTC"));
        assert_eq!(digest(&"aB".repeat(32)), Ok(Digest([0xAB; 32])));
        for text in ["", "ab", &"ab".repeat(33), &"xy".repeat(32)] {
            assert!(digest(text).is_err(), "{text}");
        }
    }
}
