//! Documents that are made from the code: each must say what the code says now; `UPDATE_DOCS=1` writes them.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;

use verify::{Fault, Reason};

use crate::{read, root};

/// A code that the agent's own plugin gives: no server is asked, or its answer is not understood.
struct AgentCode {
    code: &'static str,
    status: &'static str,
    cause: &'static str,
    remedy: &'static str,
}

const AGENT_CODES: [AgentCode; 15] = [
    AgentCode {
        code: "tpm_failed",
        status: "FAILED_PRECONDITION where the TPM cannot be opened, DEADLINE_EXCEEDED where it did not answer in time, else INTERNAL",
        cause: "The TPM cannot be opened, refused a command, or did not answer within `tpm_timeout`.",
        remedy: "The message says what to do where that is known; `tpm-attestor doctor` looks for the rest.",
    },
    AgentCode {
        code: "event_log_failed",
        status: "FAILED_PRECONDITION",
        cause: "The boot event log that `event_log_path` names, or that the server asks for, cannot be read, is empty, or is longer than 704 KiB.",
        remedy: "The message says what to do. The kernel's file is for root alone: run SPIRE Agent as root, or give its user read access to it at each boot.",
    },
    AgentCode {
        code: "log_not_offered",
        status: "INVALID_ARGUMENT",
        cause: "The server asks for a boot event log, and the agent has not offered one.",
        remedy: "No correct server does this; look for what sent it.",
    },
    AgentCode {
        code: "keys_not_offered",
        status: "INVALID_ARGUMENT",
        cause: "The server asks for certifications of SVID keys, and the agent has offered no key.",
        remedy: "No correct server does this; look for what sent it.",
    },
    AgentCode {
        code: "svid_keys_failed",
        status: "FAILED_PRECONDITION",
        cause: "The attestor cannot read the directory that `keys_path` names, or a key in it, or others may write to it.",
        remedy: "The message names the path and says what is wrong with it. Attestor and KeyManager run as the same user, who owns the directory.",
    },
    AgentCode {
        code: "key_directory_failed",
        status: "FAILED_PRECONDITION",
        cause: "The KeyManager cannot make, read or write the directory that `keys_path` names, others may write to it, or another KeyManager uses it.",
        remedy: "The message names the path and says what is wrong with it. Only the last part of the path is made.",
    },
    AgentCode {
        code: "key_not_kept",
        status: "INTERNAL",
        cause: "The KeyManager made a key and could not write it down. The key that was there under that id stays in use, and on disk.",
        remedy: "The message names the file and says why: most often the file system is full or read-only.",
    },
    AgentCode {
        code: "key_id_unsuitable",
        status: "INVALID_ARGUMENT",
        cause: "The id of a key is too long for the name of a file.",
        remedy: "SPIRE Agent's own ids are short; look for what sent this one.",
    },
    AgentCode {
        code: "too_many_keys",
        status: "RESOURCE_EXHAUSTED",
        cause: "The KeyManager has 64 keys; SPIRE Agent has two.",
        remedy: "Look for what made them. A key is removed by removing its file while the agent is stopped.",
    },
    AgentCode {
        code: "key_type_unsupported",
        status: "INVALID_ARGUMENT",
        cause: "The TPM makes no key of that type. SPIRE Agent asks for P-256 alone.",
        remedy: "`tpm-attestor doctor` says which types this TPM has.",
    },
    AgentCode {
        code: "signature_unsupported",
        status: "INVALID_ARGUMENT",
        cause: "The key is of another type than the signature, or the TPM lacks the hash, or makes RSASSA-PSS with another salt: as long as the digest is what it makes.",
        remedy: "SPIRE Agent asks for ECDSA with SHA-256 alone; look for what asked for another.",
    },
    AgentCode {
        code: "tpm_busy",
        status: "RESOURCE_EXHAUSTED",
        cause: "More requests wait for the TPM than may: 64 of attestations, 1,024 of the KeyManager.",
        remedy: "It passes. Where it does not, the TPM is slower than what is asked of it.",
    },
    AgentCode {
        code: "malformed_challenge",
        status: "INVALID_ARGUMENT",
        cause: "The server's challenge is none.",
        remedy: "Check that the server runs this plugin (or the community TPM plugin) under the same plugin name.",
    },
    AgentCode {
        code: "unsupported_version",
        status: "INVALID_ARGUMENT",
        cause: "The server chose a protocol version that the agent did not offer.",
        remedy: "No correct server does this; look for what sent it.",
    },
    AgentCode {
        code: "legacy_server",
        status: "FAILED_PRECONDITION",
        cause: "The challenge lacks this project's extension and `legacy_servers` forbids the plain answer.",
        remedy: "Upgrade the server, or set `legacy_servers = \"allow\"` while migrating; if the server is up to date, something between the two has changed the challenge.",
    },
];

#[test]
fn configuration_is_documented() {
    let document = format!(
        "{GENERATED}# Configuration\n\n{CONFIGURATION}## Server\n\n{}\n## CredentialComposer\n\n{COMPOSER}{}\n## Agent\n\n{}\n## KeyManager\n\n{KEY_MANAGER}{}",
        server::config::SCHEMA.markdown(),
        server::composer_config::SCHEMA.markdown(),
        agent::config::SCHEMA.markdown(),
        agent::config::KEY_MANAGER_SCHEMA.markdown()
    );
    same("docs/configuration.md", &document);
}

#[test]
fn reason_codes_are_documented() {
    let mut document = format!("{GENERATED}# Reason codes\n\n{REASONS}## From the server\n\n");
    document.push_str("| Code | Fault | Status | The agent | Sentence |\n|---|---|---|---|---|\n");
    for reason in Reason::ALL {
        let (code, status) = (reason.code(), status(reason.fault()));
        let fault = format!("{:?}", reason.fault()).to_lowercase();
        let then = if status == "PERMISSION_DENIED" {
            "stops"
        } else {
            "tries again"
        };
        writeln!(
            document,
            "| [`{code}`](#{code}) | {fault} | {status} | {then} | {} |",
            reason.sentence()
        )
        .unwrap();
    }
    document.push_str("\n## Cause and remedy\n");
    for reason in Reason::ALL {
        write!(
            document,
            "\n### {}\n\n{}\n\n{}\n",
            reason.code(),
            reason.cause(),
            reason.remedy()
        )
        .unwrap();
    }
    document.push_str("\n## From the agent's own plugin\n\nThe server hears nothing of these. The agent tries again.\n");
    for own in AGENT_CODES {
        write!(
            document,
            "\n### {} (agent)\n\nStatus: {}.\n\n{}\n\n{}\n",
            own.code, own.status, own.cause, own.remedy
        )
        .unwrap();
    }
    same("docs/reason-codes.md", &document);
}

#[test]
fn selectors_are_documented() {
    let mut document = format!("{GENERATED}# Selectors\n\n{SELECTORS_INTRODUCTION}");
    document.push_str("| Selector | When it is there | What it says |\n|---|---|---|\n");
    for selector in verify::SELECTORS {
        let form = selector.form.replace('|', "\\|");
        writeln!(
            document,
            "| `{form}` | {} | {} |",
            selector.when, selector.doc
        )
        .unwrap();
    }
    document.push_str(SELECTORS_USE);
    same("docs/selectors.md", &document);
}

#[test]
fn the_agents_own_codes_are_all_there() {
    let source = read("src/agent/failure.rs");
    let mut given = BTreeSet::new();
    for literal in source.split('"').skip(1).step_by(2) {
        let code = literal.split(": ").next().unwrap_or_default();
        if code.contains('_') && code.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            given.insert(code);
        }
    }
    assert_eq!(given, AGENT_CODES.iter().map(|own| own.code).collect());
}

#[test]
fn the_command_line_is_documented() {
    same("docs/cli.md", &format!("{GENERATED}{}", ctl::markdown()));
}

/// The status code of a fault, by SPIRE's name.
fn status(fault: Fault) -> String {
    let name = format!("{:?}", server::status::code(fault));
    let mut out = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// Compares a document with what the code says, or writes it.
fn same(path: &str, now: &str) {
    if env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::write(root().join(path), now).unwrap();
        return;
    }
    let written = fs::read_to_string(root().join(path)).unwrap_or_default();
    let differing = written
        .lines()
        .zip(now.lines())
        .position(|(one, other)| one != other);
    assert!(
        written == now,
        "{path} is not what the code says (line {:?}): UPDATE_DOCS=1 cargo test -p tests --test house",
        differing.map(|index| index + 1)
    );
}

const GENERATED: &str =
    "<!-- Made from the code: UPDATE_DOCS=1 cargo test -p tests --test house. Do not edit. -->\n\n";

const CONFIGURATION: &str = "\
These are the keys of `plugin_data`, in HCL or JSON, or of the file that `plugin_data_file` names. A key that
is not in these tables is an error that names the nearest one. `spire-server validate` and `spire-agent validate`
check a configuration and list all that is wrong with it, with line and column. SPIRE reads a `plugin_data_file`
again on SIGUSR1; a configuration that is refused leaves the last good one in force.

The plugin blocks around these keys, and values for Helm, are in [plugin-manifest](../plugin-manifest/README.md).

";

const COMPOSER: &str = "\
The same file as the server's plugin, in a `CredentialComposer` block of SPIRE Server beside the `NodeAttestor`.

";

const KEY_MANAGER: &str = "\
The same file as the agent's plugin, in a `KeyManager` block of SPIRE Agent in place of its own `disk` or `memory`.

";

const SELECTORS_INTRODUCTION: &str = "\
What a machine proved, for registration entries. SPIRE puts `tpm:` (the plugin's name) before each, and replaces them all at
each attestation. They come in this order, each once, at most 200 characters long. No text of a machine becomes one: what is
not computed here comes from a certificate that an operator trusts, or from the operator's own policy.

";

const SELECTORS_USE: &str = "
An entry for all machines with a verified certificate that are in the state that the profile `production` describes:

```sh
spire-server entry create -node -spiffeID spiffe://example.org/fleet \\
    -selector tpm:ek_cert:verified -selector tpm:measured:production
```

Selectors are what SPIRE decides by; a profile in `enforce` mode already refused the others. In `monitor` mode they are the only
difference between a machine that matches and one that does not. See [measured boot](measured-boot.md).
";

const REASONS: &str = "\
Each refusal has one code. The codes are stable: alert on them. The code and the sentence reach the agent's log
through SPIRE; the server's log line has the code in `reason` and often a `detail` (see
[operations](operations.md)). `tpm-attestor reasons CODE` prints cause and remedy.

The fault says whose it is: the message is malformed; the peer misbehaved, is not trusted, or is denied by the
operator's rules; a limit or deadline has passed; something the server needs is unavailable; or the server has a bug.

At PERMISSION_DENIED SPIRE Agent stops, and its supervisor starts it anew. After anything else it tries again by
itself.

";
