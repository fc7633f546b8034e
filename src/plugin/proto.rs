//! The bindings of the services of go-plugin and SPIRE, compiled from the files under `proto/`.

#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::clone_on_ref_ptr,
    clippy::pedantic,
    reason = "generated; the test `bindings` compares it with its source"
)]
mod generated {
    pub mod go_plugin {
        include!("generated/plugin.rs");
    }
    pub mod agent_attestor {
        include!("generated/spire.plugin.agent.nodeattestor.v1.rs");
    }
    pub mod server_attestor {
        include!("generated/spire.plugin.server.nodeattestor.v1.rs");
    }
    pub mod key_manager {
        include!("generated/spire.plugin.agent.keymanager.v1.rs");
    }
    pub mod credential_composer {
        include!("generated/spire.plugin.server.credentialcomposer.v1.rs");
    }
    pub mod config {
        include!("generated/spire.service.common.config.v1.rs");
    }
    pub mod init {
        include!("generated/spire.service.private.init.v1.rs");
    }
    pub mod metrics {
        include!("generated/spire.hostservice.common.metrics.v1.rs");
    }
    pub mod agent_store {
        include!("generated/spire.hostservice.server.agentstore.v1.rs");
    }
    pub mod identity_provider {
        include!("generated/spire.hostservice.server.identityprovider.v1.rs");
    }
}

pub use generated::{
    agent_attestor, agent_store, config, credential_composer, go_plugin, identity_provider, init,
    key_manager, metrics, server_attestor,
};
