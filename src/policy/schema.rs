//! The keys of the server plugin's configuration: one source for reader and documentation.

use hcl::{Key, Kind, Moved, Schema};

use crate::schema_profile::PROFILE;

/// The keys of `plugin_data`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        Key {
            name: "ca_path",
            kind: Kind::Text,
            default: "`/opt/spire/.data/certs` if it exists",
            doc: "Directory (or file) of CA certificates, PEM or DER. A machine whose EK certificate leads to one of them is accepted. Each certificate is an anchor, whether self-signed or not. Re-read when it changes.",
        },
        Key {
            name: "intermediates_path",
            kind: Kind::Text,
            default: "none",
            doc: "Directory (or file) of certificates that help to build chains to an anchor and are trusted for nothing else. Re-read when it changes.",
        },
        Key {
            name: "ca_bundle_sha256",
            kind: Kind::Text,
            default: "none",
            doc: "SHA-256 (64 hex digits) of `ca_path`, which must be one file then: any other content is refused, at the start and when it changes. `tpm-attestor ca import` prints it.",
        },
        Key {
            name: "anchor",
            kind: Kind::Blocks(&ANCHOR),
            default: "none",
            doc: "What holds for one certificate of `ca_path`: `anchor \"<SHA-256 of its DER, 64 hex digits>\" { vendors = [\"IFX\"] }`. A block without its certificate is a warning: the file may still come.",
        },
        Key {
            name: "vendors",
            kind: Kind::TextList,
            default: "all",
            doc: "The TPM makers whose EK certificates count, by their TCG names such as `IFX`, `INTC`, `STM`, or `id:` and eight hex digits. Any other is refused with `vendor_denied`.",
        },
        Key {
            name: "crl_path",
            kind: Kind::Text,
            default: "none",
            doc: "Directory (or file) of certificate revocation lists of the CAs in `ca_path` and `intermediates_path`, DER or PEM; nothing else may be in it. A list that is damaged, or not signed by the CA that it names, is an error. Re-read when it changes, together with the CAs.",
        },
        Key {
            name: "crl_policy",
            kind: Kind::Choice(&["use", "require"]),
            default: "`\"use\"`",
            doc: "`use`: what a list revokes is refused, also when the list is out of date, and certificates without a list are accepted. `require`: each EK certificate, and each CA certificate below the anchor, needs a list that is not out of date.",
        },
        Key {
            name: "hash_path",
            kind: Kind::Text,
            default: "`/opt/spire/.data/hashes` if it exists",
            doc: "Directory with one file for each enrolled machine, named by the EK's hash (64 lower-case hex digits); contents do not matter. Asked at each attestation.",
        },
        Key {
            name: "ek_deny_path",
            kind: Kind::Text,
            default: "none",
            doc: "File of machines that are refused whatever vouches for them, one entry a line: `ek:<EK hash>`, `cert:<SHA-256 of the EK certificate>`, `serial:<SHA-256 of the issuer's name in DER>:<serial number in hex>`; `#` begins a comment. A line that cannot be read is an error. Re-read when it changes.",
        },
        Key {
            name: "ek_trust",
            kind: Kind::Choice(&["either", "both"]),
            default: "`\"either\"`",
            doc: "With both `ca_path` and `hash_path`: whether one of them must vouch for a machine, or both.",
        },
        Key {
            name: "ek_profiles",
            kind: Kind::TextList,
            default: "all",
            doc: "The kinds of EK that count: `rsa-2048`, `rsa-3072`, `rsa-4096`, `p-256`, `p-384`, `p-521`. A TPM with an RSA and an ECC EK has two identities unless one kind is left out.",
        },
        Key {
            name: "accept_expired_ek",
            kind: Kind::Flag,
            default: "`false`",
            doc: "Whether an EK certificate past its end still counts; such agents get the selector `ek_cert:expired`. CA certificates must be valid all the same.",
        },
        Key {
            name: "legacy_agents",
            kind: Kind::Choice(&["allow", "deny"]),
            default: "`\"allow\"`",
            doc: "Whether agents of the community TPM plugin, which send no quote, are accepted; they get the selector `attestation:credential`.",
        },
        Key {
            name: "pcrs",
            kind: Kind::IntegerList { min: 0, max: 23 },
            default: "`[0, 1, 2, 3, 4, 5, 6, 7]`",
            doc: "The PCRs that each quote must cover.",
        },
        Key {
            name: "pcr_bank",
            kind: Kind::Choice(&["sha256", "sha384", "sha512"]),
            default: "`\"sha256\"`",
            doc: "The bank of these PCRs; every machine's TPM must have it active.",
        },
        Key {
            name: "challenge_timeout",
            kind: Kind::Duration,
            default: "`\"30s\"`",
            doc: "How long an agent may take to answer a challenge; slow TPMs need seconds.",
        },
        Key {
            name: "attestation_timeout",
            kind: Kind::Duration,
            default: "`\"60s\"`",
            doc: "How long an attestation may take in all.",
        },
        Key {
            name: "max_streams",
            kind: Kind::Integer { min: 1, max: 4096 },
            default: "`4096`",
            doc: "Unfinished attestations at the same time; one more is refused with `overloaded`.",
        },
        Key {
            name: "max_streams_per_client",
            kind: Kind::Integer { min: 0, max: 4096 },
            default: "`16`",
            doc: "The same for one client, an IPv4 address or an IPv6 network of 64 bits, where SPIRE tells its address (1.15.2 and later). `0` is no limit: set it where a load balancer hides the agents' addresses.",
        },
        Key {
            name: "reload_interval",
            kind: Kind::Duration,
            default: "`\"5s\"`",
            doc: "How often `ca_path`, `intermediates_path`, `crl_path` and `ek_deny_path` are looked at for changes.",
        },
        Key {
            name: "evidence_path",
            kind: Kind::Text,
            default: "none: nothing is kept",
            doc: "Directory, which must exist, in which the server keeps what machines sent that are trusted, their boot event logs each time: for each its last attestation, `<EK hash>.json`, and the last before it with other PCR values, `<EK hash>.previous.json`. `tpm-attestor` shows, compares and judges them again. For the server's account alone.",
        },
        STORE,
        Key {
            name: "svid_keys",
            kind: Kind::Choice(&["observe", "require"]),
            default: "`\"observe\"`",
            doc: "Whether an agent must show that the key of its SVID is in the machine's TPM, with the plugin's KeyManager. `observe`: what is shown is verified and kept for the CredentialComposer, and agents that show nothing are accepted. `require`: they are refused with `svid_key_uncertified`. Needs `store`. The CSR passes the CredentialComposer alone: without one in the same SPIRE Server nothing ties the SVID to the key.",
        },
        Key {
            name: "tpm_clear",
            kind: Kind::Choice(&["accept", "quarantine"]),
            default: "`\"accept\"`",
            doc: "What becomes of a machine whose storage root key is another than before, as TPM2_Clear makes it: accepted with a warning, or refused with `tpm_cleared` until `tpm-attestor quarantine accept`. Needs `store`.",
        },
        Key {
            name: "ak_change",
            kind: Kind::Choice(&["accept", "quarantine"]),
            default: "`\"accept\"`",
            doc: "What becomes of a machine whose attestation key is another than before, as the agent's `ak` makes it: accepted with a warning, or refused with `ak_changed` until `tpm-attestor quarantine accept`. Needs `store`.",
        },
        Key {
            name: "unexpected_reset",
            kind: Kind::Choice(&["warn", "refuse"]),
            default: "`\"warn\"`",
            doc: "What becomes of a machine whose TPM was reset while its kernel ran on: accepted with a warning, or refused with `reset_unexpected` until it has booted. Needs `store`.",
        },
        Key {
            name: "mode",
            kind: Kind::Choice(&["enforce", "monitor"]),
            default: "`\"enforce\"`",
            doc: "What follows when the rules about a machine's state (`profile` and `vulnerable_tpms`) refuse it. `enforce`: it gets no identity. `monitor`: it gets one all the same, and log and metrics say what would have refused it. Who it is, and whether it proved it, is never only monitored.",
        },
        Key {
            name: "profile",
            kind: Kind::Blocks(&PROFILE),
            default: "none: every state is accepted",
            doc: "What machines may look like: `profile \"production\" { secure_boot = true }`. The label names the profile in the selector `measured:<name>`: 1 to 32 of `a-z0-9._-`. All keys of a profile must hold. In JSON that Helm writes, profiles are in the order of their names.",
        },
        Key {
            name: "profile_match",
            kind: Kind::Choice(&["first", "all"]),
            default: "`\"first\"`",
            doc: "`first`: the first profile that a machine matches counts, and one is enough. `all`: it must match every one.",
        },
        Key {
            name: "event_log",
            kind: Kind::Choice(&["ask", "policy", "never"]),
            default: "`\"ask\"`",
            doc: "Whether agents are asked for the boot event log. `ask`: every agent that has it, so that the log and selectors say what it proves. `policy`: only where a profile or `boot_chain` in `extra_selectors` needs it. `never`: an error where one of them does.",
        },
        Key {
            name: "tolerate",
            kind: Kind::TextList,
            default: "`[\"shim_variables\", \"shim_extra_byte\", \"empty_secure_boot\"]`",
            doc: "Known departures of firmware and boot loaders from the specification that do not make a boot event log unbelievable; each that is met is reported. `shim_variables`: shim measures SbatLevel and MokListTrusted as authorities. `shim_extra_byte`: some versions of shim measure one byte too many. `empty_secure_boot`: on some clouds SecureBoot is measured without data, which counts as off. `missing_exit_boot_services`: the log lacks what the firmware measured when the system took over. `[]` tolerates none.",
        },
        Key {
            name: "vulnerable_tpms",
            kind: Kind::Choice(&["warn", "reject"]),
            default: "`\"warn\"`",
            doc: "What becomes of a machine whose TPM firmware, as its quote shows it, is in a published advisory or in an `advisory` block: accepted with a warning, or refused with `firmware_denied`.",
        },
        Key {
            name: "advisory",
            kind: Kind::RepeatedBlocks(&ADVISORY),
            default: "those that come with the plugin",
            doc: "More firmware that counts as vulnerable: `advisory \"site-2026-1\" { vendor = \"IFX\" to = \"7.84\" }`. The label names it in the log: 1 to 64 of `A-Za-z0-9._-`. Blocks of one name, and those that come with the plugin, add up.",
        },
        Key {
            name: "extra_selectors",
            kind: Kind::TextList,
            default: "none",
            doc: "Selectors beyond those that every machine gets: `model`, `firmware`, `ek_ca`, `boot_chain`.",
        },
        Key {
            name: "pcr_selectors",
            kind: Kind::IntegerList { min: 0, max: 23 },
            default: "none",
            doc: "PCRs whose values become selectors, `pcr:<bank>:<index>:<hex>`; they are quoted as well. 10, 16 and 23 are refused, since anybody on the machine can change them.",
        },
    ],
    moved: &[
        Moved {
            name: "aws",
            hint: "enrol such machines by hash in `hash_path`, or by their EK certificate's CA in `ca_path`",
        },
        Moved {
            name: "pve",
            hint: "enrol such machines by hash in `hash_path`, or by their EK certificate's CA in `ca_path`",
        },
        Moved {
            name: "pcr",
            hint: "every quote covers the PCRs in `pcrs`, and good values are required in a `profile`",
        },
        Moved {
            name: "tpm_path",
            hint: "that is the agent's `device`; the server needs no TPM",
        },
    ],
};

/// Where the two plugins of a server keep what they know.
pub const STORE: Key = Key {
    name: "store",
    kind: Kind::Text,
    default: "none: nothing is kept from one attestation to the next",
    doc: "Where the server keeps what it saw of each machine (to notice copies, restored snapshots and cleared TPMs) and the keys that were certified: the absolute path of an SQLite file, which is made if it is not there, or `postgres://user:${DB_PASSWORD}@host/database`, where `${NAME}` stands for an environment variable of SPIRE Server. Several servers need PostgreSQL. Attestor and CredentialComposer name the same one.",
};

/// The keys of a file of advisories.
pub(crate) const ADVISORIES: Schema = Schema {
    keys: &[Key {
        name: "advisory",
        kind: Kind::RepeatedBlocks(&ADVISORY),
        default: "none",
        doc: "Firmware with a published weakness.",
    }],
    moved: &[],
};

/// The keys of an `advisory` block.
const ADVISORY: Schema = Schema {
    keys: &[
        Key {
            name: "vendor",
            kind: Kind::Text,
            default: "any",
            doc: "The TPM maker, as in `vendors`. A TPM without a verified EK certificate is in advisories about any vendor only.",
        },
        Key {
            name: "from",
            kind: Kind::Text,
            default: "the lowest version",
            doc: "The lowest affected version, one to four numbers: `7.62` is 7.62.0.0. One of `from` and `to` is required.",
        },
        Key {
            name: "to",
            kind: Kind::Text,
            default: "the highest version",
            doc: "The highest affected version: `7.62` is every 7.62.",
        },
        Key {
            name: "source",
            kind: Kind::Text,
            default: "none",
            doc: "Where it is published, for whoever reads the configuration.",
        },
    ],
    moved: &[],
};

/// The keys of an `anchor` block.
const ANCHOR: Schema = Schema {
    keys: &[
        Key {
            name: "vendors",
            kind: Kind::TextList,
            default: "the vendor that `# Owner:` before the certificate names, else all",
            doc: "The TPM makers for which this certificate may vouch; an EK certificate of another one is refused with `vendor_anchor_mismatch`.",
        },
        Key {
            name: "waive",
            kind: Kind::TextList,
            default: "none",
            doc: "Rules that EK certificates below this anchor may break: `extended_key_usage`, `alternative_name`, `basic_constraints` (each may be absent), `sha1` (signatures with SHA-1 below the anchor), `expired`, `rsaes_oaep` (the key is given under that identifier). Each makes the anchor vouch for more than EKs of TPMs; see the threat model.",
        },
    ],
    moved: &[],
};
