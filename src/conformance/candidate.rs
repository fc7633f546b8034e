//! The subject file: what the kit has to know about an attestor that it knows nothing about.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::role::Role;

/// A subject: its plugins, configurations good and bad, a peer, and what to expect.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Candidate {
    /// Who made what, for the report.
    pub implementation: Implementation,
    /// The name that the node attestor has in SPIRE's configuration; part of agent IDs. `candidate`, if not given.
    pub plugin_name: Option<String>,
    /// The trust domain, by its name. `example.org`, if not given.
    pub trust_domain: Option<String>,
    /// Configurations are not in HCL; cases that alter their syntax are skipped.
    pub not_hcl: bool,
    /// The pair speaks the wire format of the TPM attestors (STP's, with or without our extension).
    pub tpm_wire: bool,
    /// SPIRE Server's node attestor.
    pub server: Option<Plugin>,
    /// SPIRE Agent's node attestor.
    pub agent: Option<Plugin>,
    /// SPIRE Agent's key manager.
    pub key_manager: Option<Plugin>,
    /// SPIRE Server's credential composer.
    pub credential_composer: Option<Plugin>,
    /// Who makes good payloads for the server and judges the agent's; without it the other plugin of the pair is the peer.
    pub peer: Option<Peer>,
    /// What a good attestation gives.
    pub expect: Expected,
    /// Payloads that the server must refuse, by a name.
    pub bad_payloads: BTreeMap<String, BadPayload>,
    /// Texts that are taken out of every transcript and report, by a name.
    pub secrets: BTreeMap<String, String>,
}

/// For the report, in the manner of Gateway API's ConformanceReport.
#[derive(Clone, Debug, Default, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Implementation {
    /// Who makes it.
    pub organization: String,
    /// What it is called.
    pub project: String,
    /// Where it is found.
    pub url: String,
    /// Which version was tried.
    pub version: String,
    /// Whom to ask.
    pub contact: Vec<String>,
}

/// A plugin and what it is configured with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Plugin {
    /// The executable; one on the command line goes before.
    pub path: Option<PathBuf>,
    /// SPIRE's `plugin_args`.
    pub arguments: Vec<String>,
    /// Added to the environment.
    pub environment: BTreeMap<String, String>,
    /// Run by `sh -c` before each trial with this plugin, in the trial's directory, which is in `SCRATCH`; see
    /// [`crate::Trial::filled`] for what else is at hand.
    pub prepare: Option<String>,
    /// Configurations that must be taken; the first is what attestations are held with. `{{scratch}}` and the like are filled.
    pub good: Vec<String>,
    /// Configurations that must be refused.
    pub bad: Vec<BadConfiguration>,
    /// Further good configurations by a name, for cases that need a certain one.
    pub variants: BTreeMap<String, String>,
    /// It measures through the host's Metrics service.
    pub metrics: bool,
}

/// A configuration that must be refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BadConfiguration {
    /// The text.
    pub text: String,
    /// What the refusal must name, such as the key at fault.
    #[serde(default)]
    pub names: Option<String>,
    /// Validate finds nothing wrong: what is bad shows only when files are read.
    #[serde(default)]
    pub only_at_configure: bool,
}

/// A payload that must be refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BadPayload {
    /// As text.
    #[serde(default)]
    pub text: Option<String>,
    /// Or in base64.
    #[serde(default)]
    pub base64: Option<String>,
    /// gRPC's name of the status, as in `PERMISSION_DENIED`; any refusal, if not given.
    #[serde(default)]
    pub status: Option<String>,
}

/// Where good messages come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "from")]
#[non_exhaustive]
pub enum Peer {
    /// The other plugin of the pair.
    Plugin,
    /// A recorded exchange: payload and responses for a server, challenges for an agent, in base64.
    #[serde(rename_all = "kebab-case")]
    Recorded {
        /// The agent's first message.
        payload: String,
        /// Challenges that a server sends, in order.
        #[serde(default)]
        challenges: Vec<String>,
        /// The agent's responses, in order.
        #[serde(default)]
        responses: Vec<String>,
    },
    /// A program for each attestation, which writes and reads lines of base64: as an agent its payload, then for each
    /// challenge read a response; as a server for each line read a challenge, or `ok`, or `refused`.
    #[serde(rename_all = "kebab-case")]
    Command {
        /// Program and arguments of the agent's part.
        #[serde(default)]
        agent: Vec<String>,
        /// Program and arguments of the server's part.
        #[serde(default)]
        server: Vec<String>,
    },
    /// The kit's own software TPM as the agent, and the kit's own verifier as the server.
    SoftTpm,
}

/// What a good attestation gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Expected {
    /// The agent ID, by a glob; anything below `/spire/agent/<plugin name>/`, if not given.
    pub agent_id: Option<String>,
    /// Globs, each of which a selector value must match.
    pub selectors: Vec<String>,
    /// What the server says of attesting again.
    pub can_reattest: Option<bool>,
    /// Challenges in a good attestation; unknown, if not given.
    pub challenges: Option<usize>,
    /// Attesting twice with the same machine must work.
    pub reattest: bool,
    /// Refusals are told by the reason codes of this project, and their gRPC codes.
    pub reason_codes: bool,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            agent_id: None,
            selectors: Vec::new(),
            can_reattest: None,
            challenges: None,
            reattest: true,
            reason_codes: false,
        }
    }
}

impl Candidate {
    /// The plugin of a role, if the subject has one with a path.
    pub fn plugin(&self, role: Role) -> Option<&Plugin> {
        let plugin = match role {
            Role::Server => &self.server,
            Role::Agent => &self.agent,
            Role::KeyManager => &self.key_manager,
            Role::CredentialComposer => &self.credential_composer,
        };
        plugin.as_ref().filter(|plugin| plugin.path.is_some())
    }

    /// The plugin of a role, made if it is not there: for paths from the command line.
    pub fn plugin_mut(&mut self, role: Role) -> &mut Plugin {
        let plugin = match role {
            Role::Server => &mut self.server,
            Role::Agent => &mut self.agent,
            Role::KeyManager => &mut self.key_manager,
            Role::CredentialComposer => &mut self.credential_composer,
        };
        plugin.get_or_insert_default()
    }

    /// The node attestor's configured name.
    pub fn plugin_name(&self) -> &str {
        self.plugin_name.as_deref().unwrap_or("candidate")
    }

    /// The trust domain, by its name.
    pub fn trust_domain(&self) -> &str {
        self.trust_domain.as_deref().unwrap_or("example.org")
    }
}
