-- "tpma": how this file is told from another application's.
PRAGMA application_id = 1953525089;

-- SVID keys that were certified and have no SVID yet; gone with the SVID, or when they expire.
CREATE TABLE svid_keys (
    id INTEGER PRIMARY KEY,
    agent_id BLOB NOT NULL,
    spki_sha256 BLOB NOT NULL CHECK (length(spki_sha256) = 32),
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX svid_keys_by_agent ON svid_keys (agent_id);

-- What a machine showed when it last attested, and, if it is in quarantine, what put it there. Names are TPM2B_NAME
-- without the size, clocks TPMS_CLOCK_INFO, boot ids one TPM2B each.
CREATE TABLE machines (
    ek_hash BLOB PRIMARY KEY CHECK (length(ek_hash) = 32),
    revision INTEGER NOT NULL,
    ak BLOB NOT NULL,
    storage_root BLOB,
    clock BLOB CHECK (length(clock) = 17),
    boot_ids BLOB NOT NULL,
    seen_ms INTEGER NOT NULL,
    quarantine_reason TEXT,
    quarantined_ms INTEGER,
    observed_ak BLOB,
    observed_storage_root BLOB,
    observed_clock BLOB CHECK (length(observed_clock) = 17),
    observed_boot_ids BLOB,
    observed_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX machines_in_quarantine ON machines (ek_hash) WHERE quarantine_reason IS NOT NULL;

-- The server processes whose CredentialComposer consumes svid_keys.
CREATE TABLE composers (
    instance BLOB PRIMARY KEY,
    seen_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 1;
