//! Every SQL statement on the tables, with what the two databases say differently side by side.
//!
//! Parameters of statements on a machine: `$1` is the EK's hash, `$2` to `$13` are the state and the quarantine in the order
//! of the columns. A statement that is several is one transaction; it returns a row if it did what it is for.

/// Statements that the two databases say differently.
pub(crate) struct Dialect {
    /// Agent ID, keys one after the other, when they expire: keeps the keys, and of the agent's older ones so many that
    /// there are [`KEYS_OF_AN_AGENT`] at most.
    pub(crate) keep_keys: &'static str,
    /// Agent ID, key, now: takes one record that has not expired.
    pub(crate) consume_key: &'static str,
    /// [`INSERT`], and with it [`Dialect::keep_keys`] by `$14` to `$16`, or neither.
    pub(crate) admit_first: &'static str,
    /// [`UPDATE`], and with it [`Dialect::keep_keys`] by `$15` to `$17`, or neither.
    pub(crate) admit_again: &'static str,
    /// [`UPDATE`], and with it all keys of the agent `$15` are removed, or neither.
    pub(crate) quarantine: &'static str,
}

/// Records of one agent, live or not. Agents have two keys, and use one at once.
pub(crate) const KEYS_OF_AN_AGENT: usize = 64;

macro_rules! insert {
    () => {
        // A revision that one which was forgotten has not reached, so that nobody takes the new row for the old one.
        "INSERT INTO machines (ek_hash, revision, ak, storage_root, clock, boot_ids, seen_ms, quarantine_reason, \
         quarantined_ms, observed_ak, observed_storage_root, observed_clock, observed_boot_ids, observed_ms) \
         VALUES ($1, $6, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (ek_hash) DO NOTHING RETURNING revision"
    };
}

macro_rules! update {
    () => {
        "UPDATE machines SET revision = revision + 1, ak = $2, storage_root = $3, clock = $4, boot_ids = $5, \
         seen_ms = $6, quarantine_reason = $7, quarantined_ms = $8, observed_ak = $9, observed_storage_root = $10, \
         observed_clock = $11, observed_boot_ids = $12, observed_ms = $13 \
         WHERE ek_hash = $1 AND revision = $14 RETURNING revision"
    };
}

macro_rules! columns {
    () => {
        "revision, ak, storage_root, clock, boot_ids, seen_ms, quarantine_reason, quarantined_ms, observed_ak, \
         observed_storage_root, observed_clock, observed_boot_ids, observed_ms"
    };
}

/// What is known of a machine.
pub(crate) const MACHINE: &str =
    concat!("SELECT ", columns!(), " FROM machines WHERE ek_hash = $1");

/// Writes a machine of which nothing is known.
pub(crate) const INSERT: &str = insert!();

/// Writes a machine whose revision is `$14`.
pub(crate) const UPDATE: &str = update!();

/// Machines in quarantine past an EK's hash, in the order of the hashes, with the hash first.
pub(crate) const QUARANTINED: &str = concat!(
    "SELECT ek_hash, ",
    columns!(),
    " FROM machines WHERE quarantine_reason IS NOT NULL AND ek_hash > $1 ORDER BY ek_hash LIMIT $2"
);

/// Makes what was observed the state, if the revision is `$2`.
pub(crate) const ACCEPT: &str = "UPDATE machines SET revision = revision + 1, ak = observed_ak, \
     storage_root = observed_storage_root, clock = observed_clock, boot_ids = observed_boot_ids, \
     seen_ms = observed_ms, quarantine_reason = NULL, quarantined_ms = NULL, observed_ak = NULL, \
     observed_storage_root = NULL, observed_clock = NULL, observed_boot_ids = NULL, observed_ms = NULL \
     WHERE ek_hash = $1 AND revision = $2 AND quarantine_reason IS NOT NULL RETURNING revision";

/// Removes a machine whose revision is `$2`.
pub(crate) const FORGET: &str =
    "DELETE FROM machines WHERE ek_hash = $1 AND revision = $2 RETURNING revision";

/// Removes a machine.
pub(crate) const FORGET_ANY: &str = "DELETE FROM machines WHERE ek_hash = $1 RETURNING revision";

/// Instance, now.
pub(crate) const REGISTER_COMPOSER: &str = "INSERT INTO composers (instance, seen_ms) VALUES ($1, $2) \
     ON CONFLICT (instance) DO UPDATE SET seen_ms = excluded.seen_ms";

/// Instance.
pub(crate) const WITHDRAW_COMPOSER: &str = "DELETE FROM composers WHERE instance = $1";

/// Instance, since when it must have been seen.
pub(crate) const COMPOSER: &str =
    "SELECT seen_ms FROM composers WHERE instance = $1 AND seen_ms >= $2";

/// Now.
pub(crate) const PRUNE_KEYS: &str = "DELETE FROM svid_keys WHERE expires_ms <= $1";

/// Since when a composer must have been seen.
pub(crate) const PRUNE_COMPOSERS: &str = "DELETE FROM composers WHERE seen_ms < $1";

macro_rules! sqlite_keep {
    ($agent:literal, $keys:literal, $expires:literal, $condition:literal) => {
        concat!(
            "INSERT INTO svid_keys (agent_id, spki_sha256, expires_ms) WITH RECURSIVE place (at) AS \
             (SELECT 1 UNION ALL SELECT at + 32 FROM place WHERE at + 32 <= length(", $keys, ")) \
             SELECT ", $agent, ", substr(", $keys, ", at, 32), ", $expires,
            " FROM place WHERE at <= length(", $keys, ") AND ", $condition, "; \
             DELETE FROM svid_keys WHERE agent_id = ", $agent, " AND id <= \
             (SELECT id FROM svid_keys WHERE agent_id = ", $agent, " ORDER BY id DESC LIMIT 1 OFFSET 64)"
        )
    };
}

/// A transaction is one statement of several parts: one way to the thread that has the connection, and back.
pub(crate) const SQLITE: Dialect = Dialect {
    keep_keys: concat!(
        "BEGIN IMMEDIATE; ",
        sqlite_keep!("$1", "$2", "$3", "true"),
        "; COMMIT"
    ),
    consume_key: "DELETE FROM svid_keys WHERE id = (SELECT id FROM svid_keys \
                  WHERE agent_id = $1 AND spki_sha256 = $2 AND expires_ms > $3 ORDER BY id LIMIT 1) RETURNING id",
    // changes() are those of the statement before.
    admit_first: concat!(
        "BEGIN IMMEDIATE; ",
        insert!(),
        "; ",
        sqlite_keep!("$14", "$15", "$16", "changes() = 1"),
        "; COMMIT"
    ),
    admit_again: concat!(
        "BEGIN IMMEDIATE; ",
        update!(),
        "; ",
        sqlite_keep!("$15", "$16", "$17", "changes() = 1"),
        "; COMMIT"
    ),
    quarantine: concat!(
        "BEGIN IMMEDIATE; ",
        update!(),
        "; DELETE FROM svid_keys WHERE agent_id = $15 AND changes() = 1; COMMIT"
    ),
};

macro_rules! postgres_keep {
    ($agent:literal, $keys:literal, $expires:literal, $condition:literal) => {
        concat!(
            "trimmed AS (DELETE FROM svid_keys WHERE ",
            $condition,
            " AND id IN \
             (SELECT id FROM svid_keys WHERE agent_id = ",
            $agent,
            " ORDER BY id DESC \
             OFFSET greatest(64 - length(",
            $keys,
            ") / 32, 0))), \
             kept AS (INSERT INTO svid_keys (agent_id, spki_sha256, expires_ms) \
             SELECT ",
            $agent,
            ", substring(",
            $keys,
            " FROM at FOR 32), ",
            $expires,
            " FROM generate_series(1, length(",
            $keys,
            "), 32) AS at WHERE ",
            $condition,
            ")"
        )
    };
}

/// A transaction is one statement: one round trip. Two servers that keep keys of one agent at once may leave a few more
/// than 64, until the next one does.
pub(crate) const POSTGRES: Dialect = Dialect {
    keep_keys: concat!(
        "WITH ",
        postgres_keep!("$1", "$2", "$3", "true"),
        " SELECT 1::bigint"
    ),
    // Who waits for a row that another takes goes on with the next one.
    consume_key: "DELETE FROM svid_keys WHERE id = (SELECT id FROM svid_keys \
                  WHERE agent_id = $1 AND spki_sha256 = $2 AND expires_ms > $3 ORDER BY id LIMIT 1 FOR UPDATE) \
                  RETURNING id",
    admit_first: concat!(
        "WITH moved AS (",
        insert!(),
        "), ",
        postgres_keep!("$14", "$15", "$16", "EXISTS (SELECT 1 FROM moved)"),
        " SELECT revision FROM moved"
    ),
    admit_again: concat!(
        "WITH moved AS (",
        update!(),
        "), ",
        postgres_keep!("$15", "$16", "$17", "EXISTS (SELECT 1 FROM moved)"),
        " SELECT revision FROM moved"
    ),
    quarantine: concat!(
        "WITH moved AS (",
        update!(),
        "), taken AS (DELETE FROM svid_keys WHERE agent_id = $15 AND EXISTS (SELECT 1 FROM moved)) \
         SELECT revision FROM moved"
    ),
};
