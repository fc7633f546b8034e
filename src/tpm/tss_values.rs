//! Values of tss-esapi from ours, and back.

use evidence::{Algorithm, Hash, Hierarchy, PcrSelection};
use tss_esapi::Error as TssError;
use tss_esapi::constants::Tss2ResponseCode;
use tss_esapi::handles::KeyHandle;
use tss_esapi::handles::ObjectHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles;
use tss_esapi::structures::PcrSelectionList;
use tss_esapi::tss2_esys::{TPML_PCR_SELECTION, TPMS_PCR_SELECTION};

use crate::{CommandCode, Error, Key, ResponseCode};

/// The object that takes a hierarchy's password.
pub(crate) fn hierarchy_object(hierarchy: Hierarchy) -> ObjectHandle {
    match hierarchy {
        Hierarchy::Owner => ObjectHandle::Owner,
        Hierarchy::Null => ObjectHandle::Null,
        Hierarchy::Endorsement => ObjectHandle::Endorsement,
        Hierarchy::Platform => ObjectHandle::Platform,
    }
}

/// The hierarchy that a primary key is made in.
pub(crate) fn hierarchy_of(hierarchy: Hierarchy) -> resource_handles::Hierarchy {
    match hierarchy {
        Hierarchy::Owner => resource_handles::Hierarchy::Owner,
        Hierarchy::Null => resource_handles::Hierarchy::Null,
        Hierarchy::Endorsement => resource_handles::Hierarchy::Endorsement,
        Hierarchy::Platform => resource_handles::Hierarchy::Platform,
    }
}

pub(crate) fn key_handle(key: &Key) -> KeyHandle {
    KeyHandle::from(key.handle.0)
}

pub(crate) fn hashing(name_alg: Algorithm) -> Result<HashingAlgorithm, Error> {
    match Hash::from_algorithm(name_alg) {
        Some(Hash::Sha1) => Ok(HashingAlgorithm::Sha1),
        Some(Hash::Sha256) => Ok(HashingAlgorithm::Sha256),
        Some(Hash::Sha384) => Ok(HashingAlgorithm::Sha384),
        Some(Hash::Sha512) => Ok(HashingAlgorithm::Sha512),
        None => Err(Error::UnsupportedNameAlgorithm(name_alg)),
    }
}

/// A TPM2B without its size.
pub(crate) fn unsized_part(bytes: &[u8]) -> Vec<u8> {
    bytes.get(2..).unwrap_or_default().to_vec()
}

/// The list in its order, which the library's builder would lose.
pub(crate) fn selection_list(selections: &[PcrSelection]) -> Option<PcrSelectionList> {
    let mut list = TPML_PCR_SELECTION {
        count: u32::try_from(selections.len()).ok()?,
        ..TPML_PCR_SELECTION::default()
    };
    for (place, selection) in selections.iter().enumerate() {
        let mut bitmap = TPMS_PCR_SELECTION {
            hash: selection.bank.0,
            sizeofSelect: u8::try_from(selection.bitmap.len()).ok()?,
            ..TPMS_PCR_SELECTION::default()
        };
        let bytes = bitmap.pcrSelect.get_mut(..selection.bitmap.len())?;
        bytes.copy_from_slice(&selection.bitmap);
        *list.pcrSelections.get_mut(place)? = bitmap;
    }
    PcrSelectionList::try_from(list).ok()
}

pub(crate) fn selections_of(list: PcrSelectionList) -> Vec<PcrSelection> {
    let list = TPML_PCR_SELECTION::from(list);
    let count = usize::try_from(list.count).unwrap_or_default();
    let selections = list.pcrSelections.iter().take(count);
    let selection = |one: &TPMS_PCR_SELECTION| PcrSelection {
        bank: Algorithm(one.hash),
        bitmap: one
            .pcrSelect
            .get(..usize::from(one.sizeofSelect))
            .unwrap_or_default()
            .to_vec(),
    };
    selections.map(selection).collect()
}

/// Absence is an answer, every other code an error.
pub(crate) fn present<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.code() {
            Some(ResponseCode::FIRST_HANDLE | ResponseCode::FIRST_HANDLE_VALUE) => Ok(None),
            _ => Err(error),
        },
    }
}

/// The layer that failed is in bits 16 to 23; 0 is the TPM, 11 and 12 are resource managers, which
/// answer with the TPM's codes.
pub(crate) fn failure(command: CommandCode, error: TssError) -> Error {
    match response_code(error) {
        None => Error::TssWrapper { command },
        Some(code) if matches!(code >> 16, 0 | 11 | 12) => Error::Tpm {
            command,
            code: ResponseCode(code & 0xFFFF),
        },
        Some(code) => Error::Tss { command, code },
    }
}

/// The number is private in tss-esapi, but shown.
pub(crate) fn response_code(error: TssError) -> Option<u32> {
    let shown = match error {
        TssError::WrapperError(_) => return None,
        TssError::Tss2Error(Tss2ResponseCode::Success) => return Some(0),
        TssError::Tss2Error(Tss2ResponseCode::FormatZero(code)) => code.to_string(),
        TssError::Tss2Error(Tss2ResponseCode::FormatOne(code)) => code.to_string(),
    };
    let (_, digits) = shown.rsplit_once("0x")?;
    u32::from_str_radix(digits, 16).ok()
}
