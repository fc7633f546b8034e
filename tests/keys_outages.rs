//! What breaks on the server: the composer is killed or missing, the database goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tests::{
    Agent, Postgres, Secrets, Server, Spire, Tool, WorkloadApi, plugin_process, run, until,
};

use crate::{
    LIMIT, Site, WORKLOAD, composer, only_agent, refused_for, register_workload, server_options,
};

#[test]
fn without_its_composer_a_server_issues_nothing_and_a_restart_heals() {
    let site = Site::new(Spire::CURRENT);
    let (machine, other) = (site.machine(), site.machine());
    let mut server = site.server("1h", "");
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    register_workload(&server);
    assert_eq!(agent.fetch_x509(LIMIT), [WORKLOAD]);
    let load = Load::on(&agent.workload_api());
    until("issuance under load", LIMIT, || load.issued() > 5);

    let composer = plugin_process(server.process.id(), "CredentialComposer");
    run("kill", &["-9", &composer.to_string()], &[]);
    server.process.log_contains("plugin process exited", LIMIT);
    // Nobody gets a new identity: no workload, no operator at the server's own command line, no agent.
    load.stops();
    let socket = server.socket().display().to_string();
    let minted = ["x509", "jwt"].map(|kind| {
        let id = "spiffe://example.org/minted";
        let arguments = [kind, "mint", "-spiffeID", id, "-socketPath", &socket];
        let audience: &[&str] = if kind == "jwt" {
            &["-audience", "a"]
        } else {
            &[]
        };
        Tool::run(site.spire.server(), &[&arguments, audience].concat(), &[])
    });
    assert!(minted.iter().all(|tool| !tool.success), "{minted:?}");
    let mut waiting = site.agent(&server, &other);
    waiting
        .process
        .log_contains("failed to sign X509 SVID", LIMIT);
    // What was issued is still served, and the server still answers what takes no signature.
    assert_eq!(agent.try_fetch_x509(), Some(vec![WORKLOAD.to_owned()]));
    assert_eq!(server.agents().len(), 1);

    server.restart();
    load.goes_on();
    // It has tried again and again by itself.
    waiting.ready(LIMIT);
    assert_eq!(server.agents().len(), 2);
}

#[test]
fn without_a_composer_no_key_counts_as_certified() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let store = site.store().display().to_string();
    let server = site.server_with("1h", vec![site.attestor(&store, "")]);
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    server.process.log_contains("no CredentialComposer", LIMIT);
    let known = only_agent(&server);
    let is_about_keys = |selector: &String| selector.contains("svid_key");
    assert!(!known.selectors.iter().any(is_about_keys), "{known:?}");
}

#[test]
fn postgresql_serves_two_servers_and_may_go_away_and_come_back() {
    let site = Site::new(Spire::CURRENT);
    let (machine, other) = (site.machine(), site.machine());
    let mut postgres = Postgres::start();
    Secrets::known().learn("a database's password", Postgres::PASSWORD.as_bytes());
    let servers = [(); 2].map(|()| server_on(&site, &postgres));
    // Each has its own composer, and both know the machine by one row.
    let mut agents: Vec<Agent> = Vec::new();
    for server in &servers {
        // One KeyManager after the other has the machine's keys.
        agents.iter_mut().for_each(Agent::stop);
        let mut agent = site.agent(server, &machine);
        agent.ready(LIMIT);
        agents.push(agent);
        let certified = "tpm:svid_key:certified".to_owned();
        assert!(only_agent(server).selectors.contains(&certified));
    }
    let machines = |postgres: &Postgres| postgres.sql("SELECT count(*) FROM tpm_attestor.machines");
    assert_eq!(machines(&postgres).trim(), "1");
    register_workload(&servers[1]);
    agents[1].fetch_jwt("before", LIMIT);

    postgres.stop();
    // Workloads are none of its business.
    assert!(
        agents[1]
            .workload_api()
            .try_fetch_jwt("meanwhile")
            .is_some()
    );
    let mut waiting = site.agent(&servers[0], &other);
    waiting.process.log_contains("database_unavailable", LIMIT);
    refused_for(&servers[0], "database_unavailable");
    assert_eq!(servers[0].agents().len(), 1);
    postgres.start_again();
    // Nobody restarts anything.
    waiting.ready(LIMIT);
    assert_eq!(machines(&postgres).trim(), "2");
}

/// A server whose two plugins know the password by SPIRE Server's environment.
fn server_on(site: &Site, postgres: &Postgres) -> Server {
    let variable = "ATTESTOR_DB_PASSWORD";
    let store = postgres.url(variable);
    let mut options = server_options("1h", vec![site.attestor(&store, ""), composer(&store)]);
    options.environment = vec![(variable.to_owned(), Postgres::PASSWORD.to_owned())];
    Server::start(&site.spire, options)
}

/// Asks for a JWT-SVID for another audience each time, which the agent has signed by the server.
struct Load {
    api: WorkloadApi,
    is_over: Arc<AtomicBool>,
    issued: Arc<AtomicUsize>,
    asking: Option<JoinHandle<()>>,
}

impl Load {
    fn on(api: &WorkloadApi) -> Self {
        let (is_over, issued) = (Arc::default(), Arc::default());
        let asking = {
            let (api, over, count): (_, Arc<AtomicBool>, Arc<AtomicUsize>) =
                (api.clone(), Arc::clone(&is_over), Arc::clone(&issued));
            thread::spawn(move || {
                for number in 0_u32.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    if api.try_fetch_jwt(&format!("load-{number}")).is_some() {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        };
        Self {
            api: api.clone(),
            is_over,
            issued,
            asking: Some(asking),
        }
    }

    fn issued(&self) -> usize {
        self.issued.load(Ordering::SeqCst)
    }

    /// One that was under way may still come; after it none does.
    fn stops(&self) {
        until("no more JWT-SVIDs", LIMIT, || {
            self.api.try_fetch_jwt("stopped").is_none()
        });
        let before = self.issued();
        for number in 0..3 {
            let audience = format!("stopped-{number}");
            assert_eq!(self.api.try_fetch_jwt(&audience), None);
        }
        assert!(
            self.issued() <= before + 1,
            "{} after {before}",
            self.issued()
        );
    }

    fn goes_on(&self) {
        let before = self.issued();
        until("JWT-SVIDs again", LIMIT, || self.issued() > before + 2);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(asking) = self.asking.take() {
            // A failure of it has been seen by who counts.
            drop(asking.join());
        }
    }
}
