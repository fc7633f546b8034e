//! What is known of a machine as a row, and back again; a row that this plugin does not write is damaged.

use evidence::{ClockInfo, EkHash, Hash, Name, Reader, Writer, limits};
use verify::{BOOT_IDS, MachineState, Quarantine, Reason};

use crate::DatabaseError;
use crate::database_rows::{Columns, Value};

/// What the database knows of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMachine {
    /// What it showed when it last attested.
    pub state: MachineState,
    /// Why it is refused, if it is.
    pub quarantine: Option<Quarantine>,
    /// Changes with every write; what a writer has read it must name.
    pub revision: i64,
}

/// The columns that [`stored`] reads, but for the revision before them: first the state, then the quarantine.
pub(crate) fn values(state: &MachineState, quarantine: Option<&Quarantine>) -> Vec<Value> {
    let mut values = state_values(state).to_vec();
    match quarantine {
        None => values.extend([
            Value::Text(None),
            Value::Nothing,
            Value::Bytes(None),
            Value::Bytes(None),
            Value::Bytes(None),
            Value::Bytes(None),
            Value::Nothing,
        ]),
        Some(quarantine) => {
            values.push(Value::Text(Some(quarantine.reason.code().to_owned())));
            values.push(Value::Integer(quarantine.since_ms));
            values.extend(state_values(&quarantine.observed));
        }
    }
    values
}

/// Reads the revision, the state and the quarantine.
pub(crate) fn stored(columns: &mut Columns) -> Result<StoredMachine, DatabaseError> {
    let revision = columns.integer()?;
    let state = state(columns)?.ok_or_else(|| damaged("a state"))?;
    let reason = columns.text_if_any()?;
    let since_ms = columns.integer_if_any()?;
    let observed = self::state(columns)?;
    let quarantine = match (reason, since_ms, observed) {
        (None, None, None) => None,
        (Some(reason), Some(since_ms), Some(observed)) => Some(Quarantine {
            reason: Reason::from_code(&reason)
                .filter(|reason| reason.quarantines())
                .ok_or_else(|| damaged("a quarantine's reason"))?,
            since_ms,
            observed,
        }),
        _ => return Err(damaged("a quarantine")),
    };
    Ok(StoredMachine {
        state,
        quarantine,
        revision,
    })
}

/// Reads the hash of an EK.
pub(crate) fn ek_hash(columns: &mut Columns) -> Result<EkHash, DatabaseError> {
    EkHash::from_hex(&hex::encode(columns.bytes()?)).ok_or_else(|| damaged("an EK's hash"))
}

fn state_values(state: &MachineState) -> [Value; 5] {
    let clock = state.clock.as_ref().map(|clock| {
        Writer::new()
            .u64(clock.clock)
            .u32(clock.reset_count)
            .u32(clock.restart_count)
            .u8(clock.safe.into())
            .finish()
    });
    // The last ones, should there be more.
    let boot_ids = state.boot_ids.iter().rev().take(BOOT_IDS).rev();
    let boot_ids = boot_ids.fold(Writer::new(), |out, id| out.sized(id.as_bytes()));
    let storage_root = state.storage_root.as_ref();
    [
        Value::Bytes(Some(state.ak.as_bytes().to_vec())),
        Value::Bytes(storage_root.map(|name| name.as_bytes().to_vec())),
        Value::Bytes(clock),
        Value::Bytes(Some(boot_ids.finish())),
        Value::Integer(state.seen_ms),
    ]
}

/// `None` if every column is empty.
fn state(columns: &mut Columns) -> Result<Option<MachineState>, DatabaseError> {
    let ak = columns.bytes_if_any()?;
    let storage_root = columns.bytes_if_any()?;
    let clock = columns.bytes_if_any()?;
    let boot_ids = columns.bytes_if_any()?;
    let seen_ms = columns.integer_if_any()?;
    match (ak, boot_ids, seen_ms) {
        (None, None, None) if storage_root.is_none() && clock.is_none() => Ok(None),
        (Some(ak), Some(boot_ids), Some(seen_ms)) => Ok(Some(MachineState {
            ak: name(&ak)?,
            storage_root: storage_root.as_deref().map(name).transpose()?,
            clock: clock.as_deref().map(clock_info).transpose()?,
            boot_ids: texts(&boot_ids)?,
            seen_ms,
        })),
        _ => Err(damaged("a state")),
    }
}

/// TPM2B_NAME without the size: an algorithm, and as many bytes as its digests have.
fn name(bytes: &[u8]) -> Result<Name, DatabaseError> {
    let parse = || {
        let mut reader = Reader::new(bytes);
        let hash = Hash::from_algorithm(evidence::Algorithm(reader.u16().ok()?))?;
        (reader.rest().len() == hash.size()).then(|| Name::from_bytes(bytes))
    };
    parse().ok_or_else(|| damaged("a Name"))
}

/// TPMS_CLOCK_INFO.
fn clock_info(bytes: &[u8]) -> Result<ClockInfo, DatabaseError> {
    let parse = || {
        let mut reader = Reader::new(bytes);
        let clock = ClockInfo {
            clock: reader.u64().ok()?,
            reset_count: reader.u32().ok()?,
            restart_count: reader.u32().ok()?,
            safe: match reader.u8().ok()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        };
        reader.end().ok().map(|()| clock)
    };
    parse().ok_or_else(|| damaged("a clock"))
}

fn texts(bytes: &[u8]) -> Result<Vec<String>, DatabaseError> {
    let mut reader = Reader::new(bytes);
    let mut texts = Vec::new();
    while !reader.rest().is_empty() && texts.len() < BOOT_IDS {
        let bytes = reader
            .sized(limits::TEXT * MAX_UTF8)
            .map_err(|_malformed| damaged("a boot id"))?;
        let text = std::str::from_utf8(bytes).map_err(|_not_text| damaged("a boot id"))?;
        texts.push(text.to_owned());
    }
    reader
        .end()
        .map_err(|_trailing| damaged("the list of boot ids"))?;
    Ok(texts)
}

/// Bytes of a character.
const MAX_UTF8: usize = 4;

fn damaged(what: &str) -> DatabaseError {
    DatabaseError::damaged(&format!("{what} in the table machines is not valid"))
}
