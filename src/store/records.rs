//! Records of exchanges, two for each machine, kept for the operator to look at and judge again.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use evidence::{EkHash, Evidence, PcrBank, Record, Response};
use tempfile::NamedTempFile;

/// A directory with `<EK hash>.json`, the last exchange of a machine, and `<EK hash>.previous.json`, the last one before
/// it in which PCRs had other values. It holds two files for each machine that anybody vouches for, and no others grow.
#[derive(Debug, Clone)]
pub struct RecordDirectory(PathBuf);

/// A record could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotKept(String);

impl RecordDirectory {
    /// Takes a directory that exists and can be written to.
    pub fn open(path: &Path) -> Result<Self, NotKept> {
        let directory = Self(path.to_owned());
        directory
            .temporary()
            .map_err(|error| directory.problem(&error))?;
        Ok(directory)
    }

    /// Keeps a record as a machine's last one. A reader sees the old record or the new one, never a part.
    pub fn keep(&self, machine: &EkHash, record: &Record) -> Result<(), NotKept> {
        self.try_keep(machine, record)
            .map_err(|error| self.problem(&error))
    }

    fn try_keep(&self, machine: &EkHash, record: &Record) -> std::io::Result<()> {
        let last = self.0.join(format!("{}.json", machine.hex()));
        let mut file = self.temporary()?;
        file.write_all(&record.encode())?;
        file.as_file().sync_data()?;
        let before = match fs::read(&last) {
            Ok(bytes) => Record::decode(&bytes).ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if before.is_some_and(|before| pcrs(&before) != pcrs(record)) {
            fs::rename(
                &last,
                self.0.join(format!("{}.previous.json", machine.hex())),
            )?;
        }
        file.persist(&last)?;
        Ok(())
    }

    /// For the owner alone, and gone if it is not persisted.
    fn temporary(&self) -> std::io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(".record-")
            .tempfile_in(&self.0)
    }

    fn problem(&self, error: &dyn std::fmt::Display) -> NotKept {
        NotKept(format!("{}: {error}", self.0.display()))
    }
}

/// The values that the machine sent; none without a quote.
fn pcrs(record: &Record) -> Option<Vec<PcrBank>> {
    match Response::decode(&record.response).ok()? {
        Response::Proof(proof) => Some(Evidence::decode(&proof.evidence).ok()?.pcrs),
        Response::Secret(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use evidence::{Hash, Proof, Secret};
    use tempfile::TempDir;

    use super::*;

    fn record(time: u64, pcr: u8) -> Record {
        let evidence = Evidence {
            quote: vec![1],
            signature: vec![2],
            pcrs: vec![PcrBank {
                hash: Hash::Sha256,
                values: [(7, vec![pcr; 32])].into(),
            }],
            certifications: Vec::new(),
        };
        let response = Response::Proof(Proof {
            evidence: evidence.encode(),
            log: None,
            proof: [0; 32],
        });
        Record {
            trust_domain: "example.org".into(),
            time,
            payload: vec![1],
            challenge: vec![2],
            secret: Secret::new(vec![3]),
            response: response.encode().to_vec(),
            enrolment: "enrolled".into(),
            verdict: "granted".into(),
        }
    }

    fn machine() -> EkHash {
        evidence::SubjectKey::rsa(&[0xC1; 256], 65537)
            .unwrap()
            .ek_hash()
    }

    fn read(directory: &TempDir, name: &str) -> Option<u64> {
        let bytes = fs::read(directory.path().join(name)).ok()?;
        Some(Record::decode(&bytes).unwrap().time)
    }

    #[test]
    fn the_last_record_and_the_last_of_another_state_are_kept() {
        let directory = TempDir::new().unwrap();
        let records = RecordDirectory::open(directory.path()).unwrap();
        let machine = machine();
        let (last, previous) = (
            format!("{}.json", machine.hex()),
            format!("{}.previous.json", machine.hex()),
        );
        for (time, pcr, expect) in [
            (1, 1, (Some(1), None)),
            (2, 1, (Some(2), None)),
            (3, 9, (Some(3), Some(2))),
            (4, 9, (Some(4), Some(2))),
            (5, 1, (Some(5), Some(4))),
        ] {
            records.keep(&machine, &record(time, pcr)).unwrap();
            assert_eq!(
                (read(&directory, &last), read(&directory, &previous)),
                expect
            );
        }
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            2,
            "nothing else is left"
        );
        let mode = fs::metadata(directory.path().join(&last))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_record_is_replaced_and_a_missing_directory_is_told() {
        let directory = TempDir::new().unwrap();
        let records = RecordDirectory::open(directory.path()).unwrap();
        let machine = machine();
        let last = format!("{}.json", machine.hex());
        fs::write(directory.path().join(&last), "half of a rec").unwrap();
        records.keep(&machine, &record(1, 1)).unwrap();
        assert_eq!(read(&directory, &last), Some(1));
        let absent = directory.path().join("absent");
        let told = RecordDirectory::open(&absent).unwrap_err().to_string();
        assert!(told.contains("absent"), "{told}");
        drop(directory);
        assert!(records.keep(&machine, &record(2, 1)).is_err());
    }
}
