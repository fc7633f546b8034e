//! The life of an agent whose key is in a TPM: rotations, restarts, reboots, and a workload that is served meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tests::{Agent, Spire, WorkloadApi, until, until_some};

use crate::keys_machine::Machine;
use crate::{LIMIT, Site, WORKLOAD, attested_again, only_agent, register_workload};

/// Three rotations, each with a new key in the other of SPIRE's two slots.
fn life(version: &str) {
    let site = Site::new(version);
    let machine = site.machine();
    let server = site.server("30s", "");
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    let mut known = only_agent(&server);
    let certified = "tpm:svid_key:certified".to_owned();
    assert!(known.selectors.contains(&certified), "{known:?}");
    register_workload(&server);
    assert_eq!(agent.fetch_x509(LIMIT), [WORKLOAD]);
    let served = Served::from(agent.workload_api());

    let mut svid = agent.svid().unwrap();
    let mut slots = vec![machine.slot(&agent).unwrap()];
    for _ in 0..3 {
        known = attested_again(&server, &known);
        assert!(known.selectors.contains(&certified), "{known:?}");
        svid = until_some("the new SVID", LIMIT, || {
            agent.svid().filter(|now| *now != svid)
        });
        slots.push(machine.slot(&agent).unwrap());
    }
    let (a, b) = ("agent-svid-A", "agent-svid-B");
    assert_eq!(slots, [a, b, a, b]);
    served.always();
}

#[test]
fn the_current_spire_rotates_keys_in_the_tpm() {
    life(Spire::CURRENT);
}

#[test]
fn the_older_spire_rotates_keys_in_the_tpm() {
    life(Spire::OLDER);
}

#[test]
fn a_restart_keeps_the_key_and_a_reboot_makes_a_new_one() {
    let site = Site::new(Spire::CURRENT);
    let mut machine = site.machine();
    let server = site.server("1h", "");
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    let first = only_agent(&server);
    let svid = agent.svid();
    agent.restart();
    agent.ready(LIMIT);
    assert_eq!((only_agent(&server), agent.svid()), (first.clone(), svid));

    reboot(&mut agent, &mut machine);
    agent.process.log_contains("key_before_reboot", LIMIT);
    attested_again(&server, &first);
    until("an SVID for the new key", LIMIT, || {
        machine.slot(&agent).is_some()
    });
}

#[test]
fn a_reboot_keeps_the_key_if_it_is_told_to() {
    let site = Site::new(Spire::CURRENT);
    let mut machine = site.machine();
    let server = site.server("1h", "");
    let options = machine.options("after_reboot = \"keep\"\n");
    let mut agent = Agent::start(&site.spire, &server, &options);
    agent.ready(LIMIT);
    let first = only_agent(&server);
    let svid = agent.svid();
    reboot(&mut agent, &mut machine);
    assert_eq!((only_agent(&server), agent.svid()), (first, svid));
}

fn reboot(agent: &mut Agent, machine: &mut Machine) {
    agent.stop();
    machine.reboot();
    agent.restart();
    agent.ready(LIMIT);
}

/// Asks for the workload's SVID again and again.
struct Served {
    is_over: Arc<AtomicBool>,
    asking: JoinHandle<(usize, usize)>,
}

impl Served {
    fn from(api: WorkloadApi) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let asking = thread::spawn(move || {
            let (mut asked, mut answered) = (0, 0);
            while !over.load(Ordering::SeqCst) {
                asked += 1;
                answered += usize::from(api.try_fetch_x509().is_some());
                thread::sleep(Duration::from_millis(500));
            }
            (asked, answered)
        });
        Self { is_over, asking }
    }

    /// It was there each time.
    fn always(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let (asked, answered) = self.asking.join().unwrap();
        assert!(asked > 10, "{asked}");
        assert_eq!(asked, answered);
    }
}
