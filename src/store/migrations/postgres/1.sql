-- SVID keys that were certified and have no SVID yet; gone with the SVID, or when they expire.
CREATE TABLE svid_keys (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id BYTEA NOT NULL,
    spki_sha256 BYTEA NOT NULL CHECK (length(spki_sha256) = 32),
    expires_ms BIGINT NOT NULL
);

CREATE INDEX svid_keys_by_agent ON svid_keys (agent_id, id);

-- What a machine showed when it last attested, and, if it is in quarantine, what put it there. Names are TPM2B_NAME
-- without the size, clocks TPMS_CLOCK_INFO, boot ids one TPM2B each.
CREATE TABLE machines (
    ek_hash BYTEA PRIMARY KEY CHECK (length(ek_hash) = 32),
    revision BIGINT NOT NULL,
    ak BYTEA NOT NULL,
    storage_root BYTEA,
    clock BYTEA CHECK (length(clock) = 17),
    boot_ids BYTEA NOT NULL,
    seen_ms BIGINT NOT NULL,
    quarantine_reason TEXT,
    quarantined_ms BIGINT,
    observed_ak BYTEA,
    observed_storage_root BYTEA,
    observed_clock BYTEA CHECK (length(observed_clock) = 17),
    observed_boot_ids BYTEA,
    observed_ms BIGINT
);

CREATE INDEX machines_in_quarantine ON machines (ek_hash) WHERE quarantine_reason IS NOT NULL;

-- The server processes whose CredentialComposer consumes svid_keys.
CREATE TABLE composers (
    instance BYTEA PRIMARY KEY,
    seen_ms BIGINT NOT NULL
);
