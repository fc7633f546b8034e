//! `ca import`: from a published collection of TPM makers' CAs to the files that a server reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use store::{Collection, Found, Skipped};
use verify::Vendor;

use crate::anchors::SkippedFile;
use crate::ca::{Digest, Import};
use crate::ca_certificate::CaCertificate;
use crate::ca_import_report::{Imported, LeftOut, Written};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::inspect_report::sha256;
use crate::machine::now;

/// Reads, sorts out and writes; nothing is written if no anchor is left.
pub(crate) fn import(arguments: &Import) -> Result<Imported, Failure> {
    let (now, wanted) = (now(), arguments.vendors.as_deref());
    let collection = Collection::read(&arguments.collection)?;
    check_digest(arguments, collection.digest)?;
    let anchors = sorted(collection, wanted, now);
    let intermediates = arguments.intermediates.as_deref();
    let intermediates = intermediates
        .map(Collection::read)
        .transpose()?
        .map(|collection| sorted(collection, wanted, now));
    let written = if anchors.kept.is_empty() {
        None
    } else {
        let more = intermediates.as_ref().map(|sorted| sorted.kept.as_slice());
        Some(write(arguments, &anchors.kept, more)?)
    };
    let mut imported = Imported::new(written);
    let intermediates = intermediates.unwrap_or_default();
    imported.count(&anchors.kept, &intermediates.kept);
    for sorted in [anchors, intermediates] {
        imported.left_out.extend(sorted.left_out);
        let skipped = sorted.skipped.into_iter().map(SkippedFile::from);
        imported.skipped.extend(skipped);
    }
    Ok(imported)
}

#[derive(Default)]
struct Sorted {
    kept: Vec<CaCertificate>,
    left_out: Vec<LeftOut>,
    skipped: Vec<Skipped>,
}

/// What is wanted and can be used, each certificate once for each vendor, in an order that depends on
/// the certificates alone.
fn sorted(collection: Collection, wanted: Option<&[Vendor]>, now: i64) -> Sorted {
    let mut found: BTreeMap<Vec<u8>, BTreeSet<Option<Vendor>>> = BTreeMap::new();
    for (_, Found { der, owner }) in collection.certificates {
        found.entry(der).or_default().insert(owner);
    }
    let mut sorted = Sorted {
        skipped: collection.skipped,
        ..Sorted::default()
    };
    for (der, mut owners) in found {
        // What one place binds is not set free by another, here as in the server.
        if owners.len() > 1 {
            owners.remove(&None);
        }
        for owner in owners {
            let der = der.clone();
            let certificate = CaCertificate::of(Found { der, owner }, now);
            let is_wanted = wanted.is_none_or(|wanted| {
                certificate
                    .owner
                    .is_some_and(|owner| wanted.contains(&owner))
            });
            match certificate.reason {
                _ if !is_wanted => sorted
                    .left_out
                    .push(LeftOut::of(certificate, "other_vendor")),
                Some(reason) => sorted.left_out.push(LeftOut::of(certificate, reason)),
                None => sorted.kept.push(certificate),
            }
        }
    }
    let order = |one: &CaCertificate| (one.vendor.clone(), one.sha256.clone());
    sorted.kept.sort_by_key(order);
    sorted.left_out.sort_by_key(|one| order(&one.certificate));
    sorted
}

fn check_digest(arguments: &Import, found: Option<[u8; 32]>) -> Result<(), Failure> {
    let path = arguments.collection.display();
    match (arguments.sha256, found) {
        (None, _) => Ok(()),
        (Some(Digest(expected)), Some(found)) if found == expected => Ok(()),
        (Some(_), Some(found)) => {
            let message = format!("the SHA-256 of {path} is {}", hex::encode(found));
            let failure = Failure::new(Exit::Negative, "other_digest", message);
            Err(failure.hint("this is not the collection that --sha256 names; nothing was written"))
        }
        (Some(_), None) => {
            let message = format!("{path} is not one file, as --sha256 needs");
            Err(Failure::new(Exit::Usage, "not_one_file", message))
        }
    }
}

/// Writes the files; the bundle comes last, so that it is never there without what belongs to it.
fn write(
    arguments: &Import,
    anchors: &[CaCertificate],
    intermediates: Option<&[CaCertificate]>,
) -> Result<Written, Failure> {
    let failed = |error: io::Error| {
        let message = format!("cannot write into {}: {error}", arguments.out.display());
        Failure::new(Exit::Environment, "output_failed", message)
    };
    fs::create_dir_all(&arguments.out).map_err(failed)?;
    let directory = fs::canonicalize(&arguments.out).map_err(failed)?;
    let mut intermediates_path = None;
    if let Some(intermediates) = intermediates {
        let path = directory.join("intermediates.pem");
        let text = bundle("that help to build chains", intermediates);
        replace(&path, text.as_bytes()).map_err(failed)?;
        intermediates_path = Some(path);
    }
    let ca_path = directory.join("ca-bundle.pem");
    let text = bundle("that end chains", anchors);
    replace(&ca_path, text.as_bytes()).map_err(failed)?;
    Ok(Written::new(
        &ca_path,
        sha256(text.as_bytes()),
        intermediates_path.as_deref(),
        arguments.vendors.as_deref(),
    ))
}

/// Nothing of the time or the place in it: the same certificates give the same file.
fn bundle(what: &str, certificates: &[CaCertificate]) -> String {
    let blocks = certificates.iter().map(CaCertificate::block);
    let header = format!("## CA certificates of TPM makers {what}, by tpm-attestor ca import.\n");
    [header]
        .into_iter()
        .chain(blocks)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whoever reads the file sees the old one or the new one. The name before that is one that a server
/// passes over.
fn replace(path: &PathBuf, contents: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix("..")
        .tempfile_in(directory)?;
    file.write_all(contents)?;
    let everybody_reads = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(everybody_reads)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    fs::File::open(directory)?.sync_all()
}
