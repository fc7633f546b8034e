//! What each state of the machine gets: from a server that enforces the recorded policy, and from one that monitors it.

use serde_json::Value;

use crate::boot_machine::{APPROVED, Boot, Outcome, WORKLOAD, boots, has};

/// The server's log line with this message.
fn said<'a>(outcome: &'a Outcome, message: &str) -> Option<&'a Value> {
    outcome
        .server_log
        .iter()
        .find(|record| record["msg"] == message)
}

#[test]
fn approved_states_get_svids_with_their_selectors() {
    let boots = boots();
    for (name, boot) in [("good", &boots.good), ("updated", &boots.updated)] {
        for outcome in [&boot.enforced, &boot.monitored] {
            let agent = outcome.agent.as_ref();
            let agent = agent.unwrap_or_else(|| unreachable!("{name}: {}", outcome.agent_log));
            assert!(has(agent, &APPROVED), "{name}: {agent:?}");
            let proved = ["tpm:attestation:quote", "tpm:ek_cert:verified"];
            assert!(has(agent, &proved), "{name}: {agent:?}");
            let granted = said(outcome, "attestation granted").unwrap();
            assert_eq!(granted["measured"], "production", "{name}: {granted}");
            assert_eq!(granted["secure_boot"], "on", "{name}: {granted}");
            assert_eq!(
                said(outcome, "attestation would be refused"),
                None,
                "{name}"
            );
            assert_eq!(outcome.workload, [WORKLOAD], "{name}");
        }
    }
}

/// Refused for `reason` where the policy is enforced; accepted, and the reason said, where it is monitored.
fn check_refusal(boot: &Boot, reason: &str, sentence: &str, secure_boot: &str) {
    let told = format!("{reason}: {sentence}");
    let enforced = &boot.enforced;
    assert_eq!(enforced.agent, None, "{reason}");
    assert!(enforced.agent_log.contains(&told), "{}", enforced.agent_log);
    let refused = said(enforced, "attestation refused").unwrap();
    assert_eq!(refused["reason"], reason, "{refused}");
    assert_eq!(refused["secure_boot"], secure_boot, "{refused}");

    let monitored = &boot.monitored;
    let agent = monitored.agent.as_ref();
    let agent = agent.unwrap_or_else(|| unreachable!("{reason}: {}", monitored.agent_log));
    assert!(!has(agent, &["tpm:measured:production"]), "{agent:?}");
    assert!(
        has(agent, &[&format!("tpm:secure_boot:{secure_boot}")]),
        "{agent:?}"
    );
    let would = said(monitored, "attestation would be refused").unwrap();
    assert_eq!(would["reason"], reason, "{would}");
    let granted = said(monitored, "attestation granted").unwrap();
    assert_eq!(granted["measured"], "", "{granted}");
    // The machine has an identity; what asks for an approved state has none on it.
    assert_eq!(monitored.workload, Vec::<String>::new(), "{reason}");
}

#[test]
fn a_changed_command_line_and_initramfs_are_refused() {
    let sentence = "the kernel command line is not an approved one";
    check_refusal(&boots().changed, "command_line_policy", sentence, "on");
}

#[test]
fn secure_boot_off_is_refused() {
    check_refusal(
        &boots().insecure,
        "secure_boot_disabled",
        "Secure Boot is off",
        "off",
    );
}

#[test]
fn one_machine_was_in_all_states() {
    let boots = boots();
    let all = [&boots.good, &boots.updated, &boots.changed, &boots.insecure];
    let id = |boot: &Boot| boot.monitored.agent.as_ref().map(|agent| agent.id.clone());
    let ids = all.map(id);
    assert!(ids[0].is_some());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let logs = all.map(|boot| &boot.log);
    assert!(logs[1..].iter().all(|log| *log != logs[0]));
}
