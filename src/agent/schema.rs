//! The keys of the configurations of attestor and KeyManager: one source for reader and documentation.

use hcl::{Key, Kind, Moved, Schema};

/// The keys of the attestor's `plugin_data`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        DEVICE,
        Key {
            name: "ek",
            kind: Kind::Choice(&[
                "auto", "rsa", "ecc", "L-1", "L-2", "H-1", "H-2", "H-3", "H-4", "H-6", "H-7",
            ]),
            default: "`\"auto\"`",
            doc: "Which endorsement key identifies the machine. `auto`: RSA-2048 with a certificate, else ECC with a certificate, else RSA-2048 by the default template. The other names are those of the EK Credential Profile.",
        },
        Key {
            name: "ek_cert_path",
            kind: Kind::Text,
            default: "none",
            doc: "File with the EK certificate (PEM or DER), for a TPM that holds none.",
        },
        Key {
            name: "ak",
            kind: Kind::Choice(&["ecc", "rsa"]),
            default: "`\"ecc\"`",
            doc: "The attestation key: ECDSA P-256, or RSA-2048 for servers of the community TPM plugin up to 1.9.",
        },
        Key {
            name: "endorsement_auth_path",
            kind: Kind::Text,
            default: "none: the authorisation is empty",
            doc: "File with the endorsement hierarchy's authorisation; one newline at its end is cut. A file that everybody may read is refused.",
        },
        Key {
            name: "owner_auth_path",
            kind: Kind::Text,
            default: "none: the authorisation is empty",
            doc: "File with the owner hierarchy's authorisation, which some TPMs want for reading the EK certificate. As above.",
        },
        Key {
            name: "event_log_path",
            kind: Kind::Text,
            default: "`/sys/kernel/security/tpm0/binary_bios_measurements` where `device` is `/dev/tpmrm0` or `/dev/tpm0`, and so for other numbers; else none",
            doc: "The boot event log as the firmware wrote it, at most 704 KiB. It is offered where it can be read, and sent when the server asks for it. The kernel's file is for root alone. Without this key a log that cannot be read is not offered, and the plugin's log says why; a file that is named here and cannot be read is an error.",
        },
        Key {
            name: "keys_path",
            kind: Kind::Text,
            default: "none: no key is offered",
            doc: "The directory in which this project's KeyManager keeps the keys of the agent's SVID, an absolute path, as in the KeyManager's block. The attestor reads it at each attestation, offers the keys that were made in this TPM, four at most and the newest first, and has the TPM certify them when the server asks. A directory that is not there yet has no keys; one that cannot be read, or that others may write to, is an error.",
        },
        Key {
            name: "legacy_servers",
            kind: Kind::Choice(&["allow", "until_seen", "deny"]),
            default: "`\"allow\"`",
            doc: "What to do when a server asks as the community TPM plugin does: answer, answer until a server of this project has been met, or refuse. See the threat model for what the plain answer gives away.",
        },
        TPM_TIMEOUT,
    ],
    moved: &[
        Moved {
            name: "tpm_path",
            hint: "write `device`",
        },
        Moved {
            name: "aws",
            hint: "this plugin sends no instance identity; enrol the machine by its EK",
        },
        Moved {
            name: "pve",
            hint: "this plugin sends no instance identity; enrol the machine by its EK",
        },
        Moved {
            name: "pcr",
            hint: "the server asks for the PCRs to quote; nothing is set here",
        },
    ],
};

/// The keys of the KeyManager's `plugin_data`.
pub const KEY_MANAGER_SCHEMA: Schema = Schema {
    keys: &[
        Key {
            name: "keys_path",
            kind: Kind::Text,
            default: "required",
            doc: "The directory of the keys, an absolute path; name the same one in the attestor's block. It is made for its owner alone where only its last part is missing; one that others may write to is refused. Each key is one file, wrapped by the TPM: no other TPM can use it. A file that holds no key any more is renamed to end with `.damaged`, which the log tells, and counts as absent. Two KeyManagers cannot share a directory.",
        },
        DEVICE,
        Key {
            name: "owner_auth_path",
            kind: Kind::Text,
            default: "none: the authorisation is empty",
            doc: "File with the owner hierarchy's authorisation, which is needed where the storage root key is not at its persistent handle, 0x81000001, and so has to be made; one newline at its end is cut. A file that everybody may read is refused.",
        },
        Key {
            name: "after_reboot",
            kind: Kind::Choice(&["reattest", "keep"]),
            default: "`\"reattest\"`",
            doc: "What becomes of the keys when the machine has been reset since they were made. `reattest`: SPIRE Agent is shown none of them, and so attests again, with the machine as it is now. `keep`: it goes on with them until its SVID is due.",
        },
        TPM_TIMEOUT,
    ],
    moved: &[Moved {
        name: "directory",
        hint: "write `keys_path`",
    }],
};

const DEVICE: Key = Key {
    name: "device",
    kind: Kind::Text,
    default: "`\"/dev/tpmrm0\"`",
    doc: "Where the TPM is: a device path, `unix:PATH` or `tcp:IP:PORT` (a software TPM). `/dev/tpm0` has no resource manager and is used only when named here. A build with libtss2 (feature `tss`) also takes `tss:` and a TCTI, and needs `TSS2_LOG=all+NONE` in SPIRE Agent's environment, since the library logs to stderr otherwise.",
};

const TPM_TIMEOUT: Key = Key {
    name: "tpm_timeout",
    kind: Kind::Duration,
    default: "`\"25s\"`",
    doc: "How long the TPM may take for one message, with all retries; a discrete TPM needs seconds to make an RSA key.",
};
