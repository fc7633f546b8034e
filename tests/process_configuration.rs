//! Configure and Validate: what is taken, and what an operator reads of what is not.

use conformance::{Loaded, Side};
use plugin::Code;
use tempfile::TempDir;

use crate::process_grants::{machine, old_machine};
use crate::process_plugin::{Records, TRUST_DOMAIN, attest, configure, load, unload};

const DOMAIN: Option<&str> = Some(TRUST_DOMAIN);

/// Both calls refuse the text, with these problems.
async fn refused(plugin: &Loaded, text: &str, problems: &[&str]) {
    let answer = plugin.validate(DOMAIN, text).await.unwrap();
    assert!(!answer.valid, "{text}");
    assert_eq!(answer.notes, problems, "{text}");
    let status = plugin.configure(DOMAIN, text).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{text}");
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    assert_eq!(status.message(), format!("{}{more}", problems[0]), "{text}");
}

async fn accepted(plugin: &Loaded, text: &str) {
    let answer = plugin.validate(DOMAIN, text).await.unwrap();
    assert!(
        answer.valid && answer.notes.is_empty(),
        "{text}: {answer:?}"
    );
    configure(plugin, text).await;
}

#[tokio::test]
async fn a_server_says_where_its_configuration_is_wrong() {
    let server = load(Side::Server).await;
    let table: [(&str, &[&str]); 7] = [
        (
            "",
            &["1:1: ca_path or hash_path is required: without either no machine can be trusted"],
        ),
        (
            "hash_path = \"/\"\n  ca_pth = \"/x\"",
            &["2:3: unknown key \"ca_pth\"; did you mean \"ca_path\"?"],
        ),
        (
            "hash_path = \"/\"\nlegacy_agents = \"no\"\npcrs = [0, 24]",
            &[
                "2:17: \"legacy_agents\" must be one of \"allow\", \"deny\", not \"no\"",
                "3:12: \"pcrs\" is 24; it must be from 0 to 23",
            ],
        ),
        (
            "hash_path = \"/\"\nchallenge_timeout = \"1ms\"",
            &["2:21: challenge_timeout must be between 100ms and 10m"],
        ),
        (
            "hash_path = \"/\"\nek_trust = \"both\"",
            &["2:12: ek_trust = \"both\" needs ca_path and hash_path"],
        ),
        (
            "hash_path = \"/does/not/exist\"",
            &[
                "1:13: unable to read hash_path: /does/not/exist: No such file or directory (os error 2)",
            ],
        ),
        (
            "hash_path = \"/\"\nhash_path = \"/\"",
            &["2:1: \"hash_path\" is set twice; first at 1:1"],
        ),
    ];
    for (text, problems) in table {
        refused(&server, text, problems).await;
    }
    unload(server).await;
}

#[tokio::test]
async fn an_agent_says_where_its_configuration_is_wrong() {
    let agent = load(Side::Agent).await;
    let table: [(&str, &[&str]); 4] = [
        (
            "dvice = \"/dev/tpm0\"",
            &["1:1: unknown key \"dvice\"; did you mean \"device\"?"],
        ),
        (
            "\n ak = \"dsa\"",
            &["2:7: \"ak\" must be one of \"ecc\", \"rsa\", not \"dsa\"; did you mean \"rsa\"?"],
        ),
        (
            "tpm_path = \"/dev/tpm0\"",
            &["1:1: unknown key \"tpm_path\"; write `device`"],
        ),
        (
            "tpm_timeout = \"11m\"",
            &["1:15: tpm_timeout must be between 100ms and 10m"],
        ),
    ];
    for (text, problems) in table {
        refused(&agent, text, problems).await;
    }
    unload(agent).await;
}

#[tokio::test]
async fn an_agent_needs_no_configuration_and_validates_without_files() {
    let agent = load(Side::Agent).await;
    for text in [
        "",
        "{}",
        "ek_cert_path = \"/does/not/exist\"\nendorsement_auth_path = \"/nor/this\"",
    ] {
        let answer = agent.validate(DOMAIN, text).await.unwrap();
        assert!(
            answer.valid && answer.notes.is_empty(),
            "{text}: {answer:?}"
        );
    }
    configure(&agent, "").await;
    let missing = "ek_cert_path = \"/does/not/exist\"";
    let status = agent.configure(DOMAIN, missing).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status
            .message()
            .starts_with("1:16: unable to read ek_cert_path: "),
        "{status}"
    );
    unload(agent).await;
}

#[tokio::test]
async fn the_host_must_name_the_trust_domain() {
    for side in [Side::Agent, Side::Server] {
        let plugin = load(side).await;
        let malformed = "server core configuration trust_domain is malformed: only lower-case letters, digits, dots, dashes and underscores are allowed";
        for (case, domain, sentence) in [
            ("tpm/I13", None, "server core configuration is required"),
            (
                "tpm/I13",
                Some(""),
                "server core configuration must contain trust_domain",
            ),
            ("tpm/I13", Some("spiffe://example.org"), malformed),
            ("tpm/I07", Some("example.org/.."), malformed),
            ("tpm/I07", Some("example.org%2fx"), malformed),
        ] {
            let answer = plugin.validate(domain, "").await.unwrap();
            assert!(
                !answer.valid && answer.notes == [sentence],
                "{case}: {answer:?}"
            );
            let status = plugin.configure(domain, "").await.unwrap_err();
            assert_eq!(
                (status.code(), status.message()),
                (Code::InvalidArgument, sentence)
            );
        }
        unload(plugin).await;
    }
}

#[tokio::test]
async fn every_form_that_spire_passes_on_means_the_same() {
    let records = Records::new();
    let path = records.hashes().display().to_string();
    let server = load(Side::Server).await;
    let forms = [
        format!("hash_path = \"{path}\"\nlegacy_agents = \"deny\"\npcrs = [7]"),
        format!("# a comment\nhash_path = \"{path}\" legacy_agents = \"deny\"\npcrs = [7,]"),
        // What is left of a main configuration in JSON.
        format!("\"hash_path\" = \"{path}\"\n\n\"legacy_agents\" = \"deny\"\n\n\"pcrs\" = [7]"),
        // What a plugin_data_file may hold.
        format!("{{\"hash_path\": \"{path}\", \"legacy_agents\": \"deny\", \"pcrs\": [7]}}"),
    ];
    let (mut current, mut old) = (machine(), old_machine());
    records.enrol(current.tpm.ek_hash());
    records.enrol(old.tpm.ek_hash());
    for form in forms {
        configure(&server, &records.enrolment("")).await;
        attest(&server, &mut old).await.unwrap();
        accepted(&server, &form).await;
        attest(&server, &mut current).await.unwrap();
        let refused = attest(&server, &mut old).await.unwrap_err();
        assert_eq!(
            refused.message(),
            "policy_requires_quote: a quote is required"
        );
    }
    unload(server).await;
}

#[tokio::test]
async fn a_bad_configuration_leaves_the_good_one_in_force() {
    let records = Records::new();
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    let server = load(Side::Server).await;
    configure(&server, &records.enrolment("")).await;
    for bad in [
        "hash_path = ",
        "nonsense",
        "hash_path = \"/does/not/exist\"",
    ] {
        server.configure(DOMAIN, bad).await.unwrap_err();
        attest(&server, &mut prover).await.unwrap();
    }
    // Neither does asking about another.
    let elsewhere = TempDir::new().unwrap();
    let other = format!("hash_path = \"{}\"", elsewhere.path().display());
    assert!(server.validate(DOMAIN, &other).await.unwrap().valid);
    attest(&server, &mut prover).await.unwrap();
    configure(&server, &other).await;
    let refused = attest(&server, &mut prover).await.unwrap_err();
    assert_eq!(refused.message(), "ek_not_allowed: could not validate EK");
    unload(server).await;
}
