//! PCR selections and values (TPM library part 2, sections 10.6 and 10.9).

use std::collections::{BTreeMap, BTreeSet};

use crate::{Algorithm, Hash, Malformed, Reader, Writer, limits};

/// TPMS_PCR_SELECTION: a bank and the PCRs chosen in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrSelection {
    /// The bank, a TPM_ALG_ID of a hash.
    pub bank: Algorithm,
    /// The bitmap: bit n of byte m selects PCR 8m + n.
    pub bitmap: Vec<u8>,
}

/// The values of PCRs of one bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrBank {
    /// The bank.
    pub hash: Hash,
    /// PCR index to value, each of the bank's digest size.
    pub values: BTreeMap<u8, Vec<u8>>,
}

impl PcrSelection {
    /// A selection with the bitmap of three bytes that a PC Client TPM has. Indices past 23 are
    /// not representable and left out.
    pub fn new(hash: Hash, pcrs: &[u8]) -> Self {
        let mut bitmap = vec![0u8; limits::PCRS / 8];
        for pcr in pcrs {
            if let Some(byte) = bitmap.get_mut(usize::from(pcr / 8)) {
                *byte |= 1 << (pcr % 8);
            }
        }
        Self {
            bank: hash.algorithm(),
            bitmap,
        }
    }

    /// The PCRs chosen, ascending; `None` when the bitmap names one past 23.
    pub fn pcrs(&self) -> Option<BTreeSet<u8>> {
        let mut pcrs = BTreeSet::new();
        for (byte, base) in self.bitmap.iter().zip((0u8..).step_by(8)) {
            for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
                let pcr = base + bit;
                if usize::from(pcr) >= limits::PCRS {
                    return None;
                }
                pcrs.insert(pcr);
            }
        }
        Some(pcrs)
    }

    /// TPML_PCR_SELECTION.
    pub fn encode_list(selections: &[Self]) -> Vec<u8> {
        let count = u32::try_from(selections.len()).unwrap_or(u32::MAX);
        selections
            .iter()
            .fold(Writer::new().u32(count), |out, selection| {
                let size = u8::try_from(selection.bitmap.len()).unwrap_or(u8::MAX);
                out.u16(selection.bank.0).u8(size).raw(&selection.bitmap)
            })
            .finish()
    }

    /// Reads a TPML_PCR_SELECTION.
    pub fn parse_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, Malformed> {
        parse_selections(reader)
    }
}

/// The digest that a quote carries: H(values in the order of the selections, ascending index).
/// `None` when a selected value is missing. `hash` is that of the signing scheme.
pub fn pcr_digest(hash: Hash, selections: &[PcrSelection], banks: &[PcrBank]) -> Option<Vec<u8>> {
    let mut values: Vec<&[u8]> = Vec::new();
    for selection in selections {
        let pcrs = selection.pcrs()?;
        let bank = banks
            .iter()
            .find(|bank| bank.hash.algorithm() == selection.bank);
        for pcr in pcrs {
            values.push(bank?.values.get(&pcr)?);
        }
    }
    Some(hash.digest(&values))
}

pub(crate) fn parse_selections(reader: &mut Reader<'_>) -> Result<Vec<PcrSelection>, Malformed> {
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count > MAX_SELECTIONS {
        return Err(Malformed::TooLong);
    }
    let mut selections = Vec::with_capacity(count);
    for _ in 0..count {
        let bank = Algorithm(reader.u16()?);
        let size = usize::from(reader.u8()?);
        if size > MAX_BITMAP {
            return Err(Malformed::TooLong);
        }
        selections.push(PcrSelection {
            bank,
            bitmap: reader.take(size)?.to_vec(),
        });
    }
    Ok(selections)
}

/// HASH_COUNT of the largest TPMs, room to see that a quote has too many banks.
const MAX_SELECTIONS: usize = 16;
/// Bytes of a bitmap: more than any platform has.
const MAX_BITMAP: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_round_trip() {
        let list = vec![
            PcrSelection::new(Hash::Sha256, &[0, 7, 23]),
            PcrSelection::new(Hash::Sha1, &[]),
        ];
        let bytes = PcrSelection::encode_list(&list);
        let mut reader = Reader::new(&bytes);
        assert_eq!(parse_selections(&mut reader), Ok(list.clone()));
        assert_eq!(reader.end(), Ok(()));
        assert_eq!(list[0].pcrs(), Some([0, 7, 23].into()));
        let far = PcrSelection {
            bank: Algorithm::SHA256,
            bitmap: vec![0, 0, 0, 1],
        };
        assert_eq!(far.pcrs(), None);
    }

    #[test]
    fn counts_and_sizes_are_bounded() {
        let many = Writer::new().u32(17).finish();
        assert_eq!(
            parse_selections(&mut Reader::new(&many)),
            Err(Malformed::TooLong)
        );
        let wide = Writer::new().u32(1).u16(11).u8(33).raw(&[0; 33]).finish();
        assert_eq!(
            parse_selections(&mut Reader::new(&wide)),
            Err(Malformed::TooLong)
        );
    }

    #[test]
    fn digest_follows_selection_order_and_needs_every_value() {
        let banks = [
            PcrBank {
                hash: Hash::Sha256,
                values: [(0, vec![1; 32]), (7, vec![2; 32])].into(),
            },
            PcrBank {
                hash: Hash::Sha1,
                values: [(0, vec![3; 20])].into(),
            },
        ];
        let selections = [
            PcrSelection::new(Hash::Sha1, &[0]),
            PcrSelection::new(Hash::Sha256, &[7, 0]),
        ];
        let expect = Hash::Sha256.digest(&[&[3; 20], &[1; 32], &[2; 32]]);
        assert_eq!(pcr_digest(Hash::Sha256, &selections, &banks), Some(expect));
        let missing = [PcrSelection::new(Hash::Sha256, &[1])];
        assert_eq!(pcr_digest(Hash::Sha256, &missing, &banks), None);
    }
}
