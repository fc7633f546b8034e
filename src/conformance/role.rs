//! What a subject is, and what it and the machine can do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::subject::Side;

/// One of the plugins that a subject may have.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum Role {
    /// SPIRE Server's node attestor.
    Server,
    /// SPIRE Agent's node attestor.
    Agent,
    /// SPIRE Agent's key manager.
    KeyManager,
    /// SPIRE Server's credential composer.
    CredentialComposer,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Server,
        Self::Agent,
        Self::KeyManager,
        Self::CredentialComposer,
    ];

    /// SPIRE's plugin type, which is the magic cookie's name and value.
    pub fn plugin_type(self) -> &'static str {
        match self {
            Self::Server | Self::Agent => "NodeAttestor",
            Self::KeyManager => "KeyManager",
            Self::CredentialComposer => "CredentialComposer",
        }
    }

    /// Which of SPIRE's processes loads it.
    pub fn side(self) -> Side {
        match self {
            Self::Server | Self::CredentialComposer => Side::Server,
            Self::Agent | Self::KeyManager => Side::Agent,
        }
    }

    /// The full name of the service that it must name at Init.
    pub fn service(self) -> &'static str {
        match self {
            Self::Server => "spire.plugin.server.nodeattestor.v1.NodeAttestor",
            Self::Agent => "spire.plugin.agent.nodeattestor.v1.NodeAttestor",
            Self::KeyManager => "spire.plugin.agent.keymanager.v1.KeyManager",
            Self::CredentialComposer => {
                "spire.plugin.server.credentialcomposer.v1.CredentialComposer"
            }
        }
    }

    /// As in data and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::KeyManager => "key-manager",
            Self::CredentialComposer => "credential-composer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What a case may need beyond a plugin of its role.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
#[non_exhaustive]
pub enum Capability {
    /// A peer is at hand: who makes good payloads for a server, or judges those of an agent.
    Peer,
    /// A good attestation has a challenge in it.
    Challenge,
    /// The plugin names the Config service at Init.
    Configuration,
    /// The subject file has a configuration that must be refused.
    BadConfiguration,
    /// Configurations are HCL, as SPIRE's own are.
    Hcl,
    /// The subject file has payloads that must be refused.
    BadPayload,
    /// The plugin implements Validate.
    Validate,
    /// The plugin measures through the host's Metrics service.
    Metrics,
    /// Attesting twice is expected to work.
    Reattest,
    /// The pair speaks the wire format of the TPM attestors.
    TpmWire,
    /// swtpm and its tools are installed.
    Swtpm,
    /// This process may become another user and mount: it is root.
    Root,
    /// Both node attestors are given.
    Pair,
}

impl Capability {
    /// Why a case that needs it is skipped without it.
    pub fn absence(self) -> &'static str {
        match self {
            Self::Peer => "the subject file names no peer",
            Self::Challenge => "a good attestation has no challenge",
            Self::Configuration => "the plugin takes no configuration",
            Self::BadConfiguration => "the subject file has no bad configuration for it",
            Self::Hcl => "the subject file says that configurations are not HCL",
            Self::BadPayload => "the subject file has no bad payload",
            Self::Validate => "the plugin does not implement Validate",
            Self::Metrics => "the subject file says that nothing is measured",
            Self::Reattest => "the subject file says that an agent attests once only",
            Self::TpmWire => {
                "the subject file does not say that it speaks the TPM attestors' wire format"
            }
            Self::Swtpm => "swtpm and swtpm_setup are not installed",
            Self::Root => "only root can try this",
            Self::Pair => "it takes both node attestors",
        }
    }
}
