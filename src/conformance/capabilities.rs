//! Finds out what subject and machine can do, once for each plugin, before the first case.

use std::collections::{BTreeMap, BTreeSet};

use tonic::Code;

use crate::{
    candidate::{Candidate, Peer},
    case::{Stop, failed},
    host::{Host, NotLoaded},
    role::{Capability, Role},
    subject::Subject,
    trial::CONFIG,
};

/// What can be done with each plugin.
#[derive(Clone, Debug, Default)]
pub struct Capabilities(BTreeMap<Role, BTreeSet<Capability>>);

impl Capabilities {
    /// Loads each plugin of the subject once. One that does not load can do what is declared only: its cases tell why.
    ///
    /// # Errors
    /// One cannot be started at all.
    pub async fn of(candidate: &Candidate) -> Result<Self, Stop> {
        let mut all = BTreeMap::new();
        for role in Role::ALL {
            if candidate.plugin(role).is_some() {
                let mut of = declared(candidate, role);
                of.extend(shown(candidate, role).await?);
                all.insert(role, of);
            }
        }
        Ok(Self(all))
    }

    /// The first that is needed and not there.
    pub fn lacks(&self, role: Role, needs: &[Capability]) -> Option<Capability> {
        let has = self.0.get(&role);
        let lacking = |need: &&Capability| !has.is_some_and(|has| has.contains(need));
        needs.iter().find(lacking).copied()
    }
}

/// What the subject file and the machine say.
fn declared(candidate: &Candidate, role: Role) -> BTreeSet<Capability> {
    let is_pair =
        candidate.plugin(Role::Server).is_some() && candidate.plugin(Role::Agent).is_some();
    let plugin = candidate.plugin(role);
    let has_peer = match &candidate.peer {
        // Nobody is at their other end but the host.
        _ if matches!(role, Role::KeyManager | Role::CredentialComposer) => true,
        None | Some(Peer::Plugin) => is_pair,
        Some(Peer::Recorded { payload, .. }) => role != Role::Server || !payload.is_empty(),
        Some(Peer::Command { agent, server }) => match role {
            Role::Server => !agent.is_empty(),
            _ => !server.is_empty(),
        },
        Some(Peer::SoftTpm) => true,
    };
    let table = [
        (Capability::Peer, has_peer),
        (Capability::Pair, is_pair),
        (
            Capability::Challenge,
            candidate.expect.challenges.is_some_and(|count| count > 0),
        ),
        (Capability::Hcl, !candidate.not_hcl),
        (
            Capability::BadConfiguration,
            plugin.is_some_and(|plugin| !plugin.bad.is_empty()),
        ),
        (Capability::BadPayload, !candidate.bad_payloads.is_empty()),
        (
            Capability::Metrics,
            plugin.is_some_and(|plugin| plugin.metrics),
        ),
        (Capability::Reattest, candidate.expect.reattest),
        (Capability::TpmWire, candidate.tpm_wire),
        (
            Capability::Swtpm,
            is_installed("swtpm") && is_installed("swtpm_setup"),
        ),
        (Capability::Root, rustix::process::geteuid().is_root()),
    ];
    table
        .into_iter()
        .filter(|(_, is)| *is)
        .map(|(which, _)| which)
        .collect()
}

/// What the plugin says itself.
async fn shown(candidate: &Candidate, role: Role) -> Result<BTreeSet<Capability>, Stop> {
    let Some(plugin) = candidate.plugin(role) else {
        return Ok(BTreeSet::new());
    };
    let mut subject = Subject::of_role(role, plugin.path.clone().unwrap_or_default());
    for argument in &plugin.arguments {
        subject = subject.argument(argument);
    }
    for (name, value) in &plugin.environment {
        subject = subject.variable(name, value);
    }
    let loaded = match Host::new().load(&subject).await {
        Ok(loaded) => loaded,
        Err(NotLoaded::Spawn(error)) => {
            return Err(failed(format!("the {role} plugin: {error}"), "it starts"));
        }
        Err(_) => return Ok(BTreeSet::new()),
    };
    let mut shown = BTreeSet::new();
    if loaded.services().iter().any(|name| name == CONFIG) {
        shown.insert(Capability::Configuration);
        let answer = loaded.validate(Some(candidate.trust_domain()), "").await;
        if !answer.is_err_and(|status| status.code() == Code::Unimplemented) {
            shown.insert(Capability::Validate);
        }
    }
    loaded.unload().await;
    Ok(shown)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
