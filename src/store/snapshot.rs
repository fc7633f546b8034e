//! One reading of all files of CAs: anchors, intermediates and revocation lists that belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use evidence::Hash;
use verify::{Anchor, Anchors, Terms, Vendor};

use crate::certificates::{self, Contents, Found, Skipped};
use crate::crls::{self, Lists};
use crate::directory::{self, Fingerprint, Unreadable};

/// Where anchors and what goes with them are, and on what terms they count.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// File or directory of CA certificates that end chains.
    pub anchors: PathBuf,
    /// File or directory of certificates that help to build chains and are trusted for nothing else.
    pub intermediates: Option<PathBuf>,
    /// File or directory of revocation lists.
    pub crls: Option<PathBuf>,
    /// The SHA-256 that `anchors`, one file then, must have.
    pub digest: Option<[u8; 32]>,
    /// Terms by the SHA-256 of an anchor's DER. Vendors in them stand instead of the owner that the
    /// file names.
    pub terms: BTreeMap<[u8; 32], Terms>,
}

/// A part of [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// [`Sources::anchors`].
    Anchors,
    /// [`Sources::intermediates`].
    Intermediates,
    /// [`Sources::crls`].
    Crls,
    /// [`Sources::digest`].
    Digest,
}

/// Why anchors were not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLoaded {
    /// A directory or file could not be read.
    #[error("{problem}")]
    Unreadable {
        /// Which one.
        part: Part,
        /// What the system says.
        problem: String,
    },
    /// A file that held certificates holds none, or fewer, that can be used; half written, perhaps.
    #[error("{file} held certificates and now holds some or none that can be used")]
    Damaged {
        /// Which one.
        part: Part,
        /// Its name.
        file: String,
    },
    /// All certificates or lists are gone.
    #[error("{path} held something and is empty now")]
    Emptied {
        /// Which one.
        part: Part,
        /// Where it is.
        path: String,
    },
    /// A digest is of one file.
    #[error("{0} is not one file, as it has to be for its SHA-256 to be compared")]
    NotOneFile(String),
    /// The file is not the one that the operator pinned.
    #[error("the SHA-256 of {path} is {found}")]
    OtherDigest {
        /// Where it is.
        path: String,
        /// In hex.
        found: String,
    },
    /// A revocation list cannot be relied on.
    #[error("{file}: crl_invalid: {problem}")]
    InvalidCrl {
        /// The file that holds it.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What was loaded, and what an operator may want to know about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of anchors that can end a chain.
    pub anchors: usize,
    /// Number of revocation lists in force.
    pub crls: usize,
    /// Files and certificates that were passed over.
    pub skipped: Vec<Skipped>,
    /// Files with revocation lists of issuers that are none of the operator's.
    pub foreign: Vec<OsString>,
    /// Terms for an anchor that there is not.
    pub unmatched: Vec<[u8; 32]>,
}

impl Report {
    /// Number of revocation lists, foreign ones included.
    pub(crate) fn lists(&self) -> usize {
        self.crls + self.foreign.len()
    }
}

/// What each file held that can be used, and that cannot: how damage is told from absence.
pub(crate) type Files = BTreeMap<(Part, OsString), Held>;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) usable: usize,
    pub(crate) unusable: usize,
}

pub(crate) struct Loaded {
    pub(crate) anchors: Anchors,
    pub(crate) files: Files,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) report: Report,
}

/// The fingerprints are taken before the files are read: a change in between shows at the next look.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, NotLoaded> {
    let fingerprints = fingerprints(sources)?;
    let mut anchors = certificates::read(&sources.anchors).map_err(unreadable(Part::Anchors))?;
    check_digest(sources, anchors.digest)?;
    let intermediates = sources.intermediates.as_deref().map(certificates::read);
    let mut intermediates = intermediates
        .transpose()
        .map_err(unreadable(Part::Intermediates))?
        .unwrap_or_default();
    let lists = sources.crls.as_deref().map_or(Ok(Lists::new()), lists)?;
    let mut report = Report::default();
    report.skipped.append(&mut anchors.skipped);
    report.skipped.append(&mut intermediates.skipped);
    let mut files = Files::new();
    let (mut places, ders) = flatten(Part::Anchors, anchors, &mut files);
    let (more, intermediates) = flatten(Part::Intermediates, intermediates, &mut files);
    places.extend(more);
    let anchors = on_terms(ders, &sources.terms, &mut report.unmatched);
    let intermediates = intermediates.into_iter().map(|found| found.der);
    let (anchors, unusable) = Anchors::new(anchors, intermediates);
    for bad in unusable {
        let Some(place) = places.get(bad.index) else {
            continue;
        };
        let held = files.entry(place.clone()).or_default();
        held.usable = held.usable.saturating_sub(1);
        held.unusable += 1;
        report.skipped.push(Skipped {
            file: place.1.clone(),
            why: bad.reason.sentence(),
        });
    }
    let anchors = revoking(anchors, lists, &mut report.foreign)?;
    (report.anchors, report.crls) = (anchors.len(), anchors.crls());
    Ok(Loaded {
        anchors,
        files,
        fingerprints,
        report,
    })
}

/// Tells one state of all the files from another.
pub(crate) fn fingerprints(sources: &Sources) -> Result<Vec<Fingerprint>, NotLoaded> {
    let parts = [
        (Part::Anchors, Some(&sources.anchors)),
        (Part::Intermediates, sources.intermediates.as_ref()),
        (Part::Crls, sources.crls.as_ref()),
    ];
    let take = |(part, path): (Part, Option<&PathBuf>)| match path {
        Some(path) => directory::fingerprint(path).map_err(unreadable(part)),
        None => Ok(Fingerprint::new()),
    };
    parts.into_iter().map(take).collect()
}

fn check_digest(sources: &Sources, found: Option<[u8; 32]>) -> Result<(), NotLoaded> {
    let Some(expected) = sources.digest else {
        return Ok(());
    };
    let path = sources.anchors.display().to_string();
    match found {
        None => Err(NotLoaded::NotOneFile(path)),
        Some(found) if found != expected => Err(NotLoaded::OtherDigest {
            path,
            found: hex::encode(found),
        }),
        Some(_) => Ok(()),
    }
}

fn lists(path: &Path) -> Result<Lists, NotLoaded> {
    crls::read(path).map_err(|problem| match problem {
        crls::Problem::Unreadable(error) => unreadable(Part::Crls)(error),
        crls::Problem::NoList(file) => NotLoaded::InvalidCrl {
            file: file.to_string_lossy().into_owned(),
            problem: "no revocation list, or a damaged one".to_owned(),
        },
    })
}

/// The certificates of all files, each with its place.
fn flatten(
    part: Part,
    contents: Contents,
    files: &mut Files,
) -> (Vec<(Part, OsString)>, Vec<Found>) {
    let mut places = Vec::new();
    let mut all = Vec::new();
    for (name, file) in contents.files {
        let place = (part, name);
        let held = Held {
            usable: file.certificates.len(),
            unusable: file.unusable,
        };
        files.insert(place.clone(), held);
        places.resize(places.len() + held.usable, place);
        all.extend(file.certificates);
    }
    (places, all)
}

/// What the configuration says about an anchor counts, and without vendors there, the owners that the
/// files name. One file that names none does not set free what another binds.
fn on_terms(
    found: Vec<Found>,
    terms: &BTreeMap<[u8; 32], Terms>,
    unmatched: &mut Vec<[u8; 32]>,
) -> Vec<Anchor> {
    let digests: Vec<[u8; 32]> = found
        .iter()
        .map(|found| Hash::Sha256.digest(&[&found.der]))
        .map(|digest| digest.try_into().unwrap_or_default())
        .collect();
    let mut owners: BTreeMap<[u8; 32], BTreeSet<Vendor>> = BTreeMap::new();
    for (digest, found) in digests.iter().zip(&found) {
        owners.entry(*digest).or_default().extend(found.owner);
    }
    unmatched.extend(terms.keys().filter(|digest| !owners.contains_key(*digest)));
    let anchor = |(der, digest): (Vec<u8>, &[u8; 32])| {
        let mut terms = terms.get(digest).cloned().unwrap_or_default();
        let named = owners.get(digest).filter(|owners| !owners.is_empty());
        terms.vendors = terms
            .vendors
            .or_else(|| named.map(|owners| owners.iter().copied().collect()));
        Anchor { der, terms }
    };
    let ders = found.into_iter().map(|found| found.der);
    ders.zip(&digests).map(anchor).collect()
}

fn revoking(
    anchors: Anchors,
    lists: Lists,
    foreign: &mut Vec<OsString>,
) -> Result<Anchors, NotLoaded> {
    let (names, lists): (Vec<_>, Vec<_>) = lists.into_iter().unzip();
    let name = |index: usize| names.get(index).cloned().unwrap_or_default();
    let outcome = anchors.with_crls(lists);
    let (anchors, unused) = outcome.map_err(|invalid| NotLoaded::InvalidCrl {
        file: name(invalid.index).to_string_lossy().into_owned(),
        problem: invalid.problem.to_owned(),
    })?;
    foreign.extend(unused.into_iter().map(name));
    Ok(anchors)
}

fn unreadable(part: Part) -> impl FnOnce(Unreadable) -> NotLoaded {
    move |error| NotLoaded::Unreadable {
        part,
        problem: error.to_string(),
    }
}

impl NotLoaded {
    /// Which part is to blame.
    pub fn part(&self) -> Part {
        match self {
            Self::Unreadable { part, .. }
            | Self::Damaged { part, .. }
            | Self::Emptied { part, .. } => *part,
            Self::NotOneFile(_) | Self::OtherDigest { .. } => Part::Digest,
            Self::InvalidCrl { .. } => Part::Crls,
        }
    }
}

#[cfg(test)]
mod tests {
    use verify::Waiver;

    use super::*;

    const STM: Vendor = Vendor(*b"STM ");
    const IFX: Vendor = Vendor(*b"IFX\0");

    fn found(der: u8, owner: Option<Vendor>) -> Found {
        Found {
            der: vec![der],
            owner,
        }
    }

    fn digest(der: u8) -> [u8; 32] {
        Hash::Sha256.digest(&[&[der]]).try_into().unwrap()
    }

    /// The owners that the files name for one certificate, the terms configured for it, and its terms.
    #[test]
    fn the_configuration_counts_before_the_owners_and_any_owner_before_none() {
        let waiving = Terms {
            vendors: None,
            waivers: [Waiver::Expired].into(),
        };
        let bound = Terms {
            vendors: Some(vec![IFX]),
            ..Terms::default()
        };
        for (owners, configured, vendors) in [
            (vec![None], None, None),
            (vec![Some(STM)], None, Some(vec![STM])),
            (vec![None, Some(STM)], None, Some(vec![STM])),
            (vec![Some(STM), None], None, Some(vec![STM])),
            (vec![Some(STM), Some(IFX)], None, Some(vec![IFX, STM])),
            (vec![None], Some(&bound), Some(vec![IFX])),
            (vec![Some(STM)], Some(&bound), Some(vec![IFX])),
            (vec![Some(STM)], Some(&waiving), Some(vec![STM])),
            (vec![None], Some(&waiving), None),
        ] {
            let terms = configured.map(|terms| (digest(1), terms.clone()));
            let all = owners.iter().map(|owner| found(1, *owner));
            let all = all.chain([found(2, None)]).collect();
            let mut unmatched = Vec::new();
            let mut anchors = on_terms(all, &terms.into_iter().collect(), &mut unmatched);
            let other = anchors.pop().unwrap();
            assert_eq!(other, Anchor::from(vec![2]), "another certificate");
            assert_eq!((anchors.len(), unmatched.len()), (owners.len(), 0));
            for anchor in anchors {
                assert_eq!(anchor.terms.vendors, vendors, "tpm/B19: {owners:?}");
                let waivers = configured.map(|terms| terms.waivers.clone());
                assert_eq!(anchor.terms.waivers, waivers.unwrap_or_default());
            }
        }
    }
}
