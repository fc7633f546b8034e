//! Reading PCRs in portions that a TPM can return at once.

use evidence::{Hash, PcrBank, PcrSelection};

use crate::{Error, limits};

/// The PCRs still to be read and the values that are there.
pub(crate) struct Reading {
    wanted: Vec<(Hash, u8)>,
    banks: Vec<PcrBank>,
}

impl Reading {
    /// # Errors
    /// [`Error::PcrAbsent`] for a bank or an index that no TPM here has.
    pub(crate) fn new(selections: &[PcrSelection]) -> Result<Self, Error> {
        let mut wanted = flatten(selections)?;
        wanted.reverse();
        Ok(Self {
            wanted,
            banks: Vec::new(),
        })
    }

    /// What to ask for next; `None` when everything is there.
    pub(crate) fn next(&self) -> Option<Vec<PcrSelection>> {
        let mut portions: Vec<(Hash, Vec<u8>)> = Vec::new();
        for (hash, pcr) in self.wanted.iter().rev().take(limits::PCRS_AT_ONCE) {
            match portions.last_mut() {
                Some((last, pcrs)) if last == hash && pcrs.last() < Some(pcr) => pcrs.push(*pcr),
                _ => portions.push((*hash, vec![*pcr])),
            }
        }
        let select = |(hash, pcrs): &(Hash, Vec<u8>)| PcrSelection::new(*hash, pcrs);
        (!portions.is_empty()).then(|| portions.iter().map(select).collect())
    }

    /// Takes an answer: the TPM leaves out of `selections` what it does not have.
    pub(crate) fn accept(
        &mut self,
        selections: &[PcrSelection],
        digests: &[Vec<u8>],
    ) -> Result<(), Error> {
        let asked = self.wanted.len().min(limits::PCRS_AT_ONCE);
        let mut given = flatten(selections)?.into_iter().zip(digests);
        for _ in 0..asked {
            let Some((hash, pcr)) = self.wanted.pop() else {
                return Ok(());
            };
            match given.next() {
                Some((which, value)) if which == (hash, pcr) && value.len() == hash.size() => {
                    self.insert(hash, pcr, value.clone());
                }
                _ => return Err(absent(hash, pcr)),
            }
        }
        Ok(())
    }

    /// The values read so far, a bank each, in the order of the selections.
    pub(crate) fn finish(self) -> Vec<PcrBank> {
        self.banks
    }

    fn insert(&mut self, hash: Hash, pcr: u8, value: Vec<u8>) {
        match self.banks.iter_mut().find(|bank| bank.hash == hash) {
            Some(bank) => {
                bank.values.insert(pcr, value);
            }
            None => self.banks.push(PcrBank {
                hash,
                values: [(pcr, value)].into(),
            }),
        }
    }
}

fn flatten(selections: &[PcrSelection]) -> Result<Vec<(Hash, u8)>, Error> {
    let mut all = Vec::new();
    for selection in selections {
        let beyond = || Error::PcrAbsent {
            bank: selection.bank,
            pcr: u8::try_from(evidence::limits::PCRS).unwrap_or(u8::MAX),
        };
        let pcrs = selection.pcrs().ok_or_else(beyond)?;
        for pcr in pcrs {
            let hash = Hash::from_algorithm(selection.bank).ok_or(Error::PcrAbsent {
                bank: selection.bank,
                pcr,
            })?;
            all.push((hash, pcr));
        }
    }
    Ok(all)
}

fn absent(hash: Hash, pcr: u8) -> Error {
    Error::PcrAbsent {
        bank: hash.algorithm(),
        pcr,
    }
}

#[cfg(test)]
mod tests {
    use evidence::Algorithm;

    use super::*;

    #[test]
    fn portions_are_of_eight_across_banks() {
        let all: Vec<u8> = (0..10).collect();
        let selections = [
            PcrSelection::new(Hash::Sha256, &all),
            PcrSelection::new(Hash::Sha1, &[0, 7]),
        ];
        let mut reading = Reading::new(&selections).unwrap();
        let first = reading.next().unwrap();
        assert_eq!(first, [PcrSelection::new(Hash::Sha256, &all[..8])]);
        reading.accept(&first, &vec![vec![1; 32]; 8]).unwrap();
        let second = reading.next().unwrap();
        assert_eq!(
            second,
            [
                PcrSelection::new(Hash::Sha256, &[8, 9]),
                PcrSelection::new(Hash::Sha1, &[0, 7]),
            ]
        );
        let digests = [vec![2; 32], vec![3; 32], vec![4; 20], vec![5; 20]];
        reading.accept(&second, &digests).unwrap();
        assert_eq!(reading.next(), None);
        let banks = reading.finish();
        assert_eq!(banks.len(), 2);
        assert_eq!(banks[0].values[&9], [3; 32]);
        assert_eq!(banks[1].values[&7], [5; 20]);
    }

    #[test]
    fn what_the_tpm_leaves_out_is_named() {
        let selections = [PcrSelection::new(Hash::Sha256, &[0, 7])];
        let empty = [PcrSelection::new(Hash::Sha256, &[])];
        let one = [PcrSelection::new(Hash::Sha256, &[0])];
        let other = [PcrSelection::new(Hash::Sha256, &[0, 8])];
        for (given, digests, missing) in [
            (&empty[..], vec![], 0),
            (&one, vec![vec![0; 32]], 7),
            (&other, vec![vec![0; 32]; 2], 7),
            (&selections, vec![vec![0; 32]], 7),
            (&selections, vec![vec![0; 20], vec![0; 32]], 0),
        ] {
            let mut reading = Reading::new(&selections).unwrap();
            match reading.accept(given, &digests) {
                Err(Error::PcrAbsent { bank, pcr }) => {
                    assert_eq!((bank, pcr), (Algorithm::SHA256, missing));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn unknown_banks_and_indices_are_absent_without_asking() {
        for (bank, bitmap) in [
            (Algorithm(0x0012), vec![1, 0, 0]),
            (Algorithm::SHA256, vec![0, 0, 0, 1]),
        ] {
            let refused = Reading::new(&[PcrSelection { bank, bitmap }]);
            assert!(matches!(refused, Err(Error::PcrAbsent { .. })));
        }
    }
}
