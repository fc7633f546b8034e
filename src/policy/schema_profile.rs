//! The keys of a `profile` block: one source for reader and documentation.

use hcl::{Key, Kind, Moved, Schema};

/// The keys of a `profile` block.
pub(crate) const PROFILE: Schema = Schema {
    keys: &[
        Key {
            name: "ek_cert",
            kind: Kind::Flag,
            default: "`false`",
            doc: "An EK certificate that leads to one of the CAs is required, also of machines that are enrolled by hash.",
        },
        Key {
            name: "vendors",
            kind: Kind::TextList,
            default: "all",
            doc: "The TPM makers that the verified EK certificate may name, as in `vendors` of the server.",
        },
        Key {
            name: "tpm_kinds",
            kind: Kind::TextList,
            default: "all",
            doc: "The kinds of TPM: `discrete` (a chip), `firmware` (part of the processor or platform), `virtual` (of a hypervisor). The kind follows from the certified maker; a TPM of a maker of several kinds has none and is refused.",
        },
        Key {
            name: "firmware",
            kind: Kind::RepeatedBlocks(&FIRMWARE),
            default: "all versions",
            doc: "Good firmware of a TPM maker: `firmware \"IFX\" { from = \"7.85\" }`. The label is a maker as in `vendors`, or `any`. One block must hold, so that TPMs of makers without a block are refused. It is what runs, as the quote shows it.",
        },
        Key {
            name: "clock_safe",
            kind: Kind::Flag,
            default: "`false`",
            doc: "The TPM must vouch that its clock never went back, which it does not for up to 70 minutes after it lost power without notice.",
        },
        Key {
            name: "pcr",
            kind: Kind::Blocks(&PCR),
            default: "all values",
            doc: "Good values of a PCR: `pcr \"7\" { values = [\"...\"] }`. The label is the number, 0 to 23, once each; the PCR is quoted as well, and PCR 0 with it. 10, 16 and 23 are refused, since anybody on the machine can change them.",
        },
        Key {
            name: "legacy_agents",
            kind: Kind::Choice(&["allow", "deny"]),
            default: "`\"deny\"`",
            doc: "Whether agents without a quote can match. `allow` goes only with `ek_cert`, `vendors` and `tpm_kinds`: all else is in the quote. `deny` by itself makes a profile of every machine with a quote.",
        },
        Key {
            name: "event_log",
            kind: Kind::Flag,
            default: "`false`",
            doc: "A boot event log that leads to the quoted PCRs is required. Each key below requires it by itself.",
        },
        Key {
            name: "secure_boot",
            kind: Kind::Flag,
            default: "`false`",
            doc: "UEFI Secure Boot must be on.",
        },
        Key {
            name: "db",
            kind: Kind::TextList,
            default: "any",
            doc: "All that may be in the variable db, the keys that may sign what is booted: SHA-256 of each certificate in DER, or the hash that the entry is, in 64 hex digits.",
        },
        Key {
            name: "dbx",
            kind: Kind::TextList,
            default: "none",
            doc: "What must be in the variable dbx, the list of what is forbidden, named as in `db`; more may be in it.",
        },
        Key {
            name: "authorities",
            kind: Kind::TextList,
            default: "any",
            doc: "All that may have vouched for a program of the boot, named as in `db`. Secure Boot must be on.",
        },
        Key {
            name: "boot_images",
            kind: Kind::TextList,
            default: "any",
            doc: "All programs that may have been started by the firmware or a loader: their Authenticode digests in the bank `pcr_bank`, in hex.",
        },
        Key {
            name: "command_line",
            kind: Kind::Block(&COMMAND_LINE),
            default: "any",
            doc: "What every kernel command line that was measured must look like; one must have been. Needs `pcr \"4\"` or `pcr \"9\"` in the same profile: else a kernel that was started without its loader shows no line.",
        },
        Key {
            name: "option_roms",
            kind: Kind::Choice(&["allow", "deny"]),
            default: "`\"allow\"`",
            doc: "Whether code that came with devices may have been loaded before the boot loader.",
        },
        Key {
            name: "dma_protection",
            kind: Kind::Flag,
            default: "`false`",
            doc: "The firmware must not say that its protection against DMA by devices is off.",
        },
    ],
    moved: &[
        Moved {
            name: "pcrs",
            hint: "write a block for each: `pcr \"7\" { values = [\"...\"] }`",
        },
        Moved {
            name: "mode",
            hint: "it stands outside of profiles, for all of them",
        },
    ],
};

/// The keys of a `firmware` block.
const FIRMWARE: Schema = Schema {
    keys: &[
        Key {
            name: "from",
            kind: Kind::Text,
            default: "the lowest version",
            doc: "The lowest good version, one to four numbers: `7.85` is 7.85.0.0. One of `from` and `to` is required.",
        },
        Key {
            name: "to",
            kind: Kind::Text,
            default: "the highest version",
            doc: "The highest good version: `7.85` is every 7.85.",
        },
    ],
    moved: &[],
};

/// The keys of a `pcr` block.
const PCR: Schema = Schema {
    keys: &[Key {
        name: "values",
        kind: Kind::TextList,
        default: "required",
        doc: "The good values in the bank `pcr_bank`, in hex: several, so that a machine is accepted before and after an update.",
    }],
    moved: &[Moved {
        name: "value",
        hint: "write `values`, a list",
    }],
};

/// The keys of a `command_line` block.
const COMMAND_LINE: Schema = Schema {
    keys: &[
        Key {
            name: "allow",
            kind: Kind::TextList,
            default: "any line",
            doc: "Whole lines that are good, letter for letter, without the spaces around them; as they are, or as reports show them.",
        },
        Key {
            name: "require",
            kind: Kind::TextList,
            default: "none",
            doc: "Words that must be in the line, such as `lockdown=integrity`.",
        },
        Key {
            name: "forbid",
            kind: Kind::TextList,
            default: "none",
            doc: "Words that must not be in the line. One that ends in `*` forbids every word that begins so: `init=*`.",
        },
    ],
    moved: &[],
};
