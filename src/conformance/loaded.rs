//! A loaded plugin: configuration, exchanges, and the way out.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use plugin::proto::{
    agent_attestor::node_attestor_client::NodeAttestorClient as AgentClient,
    config::{
        ConfigureRequest, CoreConfiguration, ValidateRequest, ValidateResponse,
        config_client::ConfigClient,
    },
    credential_composer::credential_composer_client::CredentialComposerClient as ComposerClient,
    go_plugin::{Empty, grpc_controller_client::GrpcControllerClient},
    init::{DeinitRequest, init_client::InitClient},
    key_manager::key_manager_client::KeyManagerClient,
    server_attestor::node_attestor_client::NodeAttestorClient as ServerClient,
};
use tokio::time::timeout;
use tonic::{Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    agent::AidExchange,
    composer::LoadedComposer,
    handshake::Handshake,
    host::Connection,
    host_services::{HostServices, Recorded},
    key_manager::LoadedKeyManager,
    log::LogLine,
    process::Process,
    server::AttestExchange,
};

/// A plugin after Init.
#[derive(Debug)]
pub struct Loaded {
    process: Process,
    handshake: Handshake,
    connection: Connection,
    services: Vec<String>,
}

/// What an unloaded plugin left.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unloaded {
    /// Deinit's answer.
    pub deinit: Result<(), Status>,
    /// How it ended within the two seconds a host gives it; `None` if it had to be killed.
    pub exit: Option<ExitStatus>,
    /// From Shutdown to exit.
    pub took: Duration,
    /// All it wrote on stderr.
    pub log: Vec<LogLine>,
    /// What it wrote on stdout after the handshake.
    pub stdout_noise: Vec<u8>,
}

impl Loaded {
    pub(crate) fn new(
        process: Process,
        handshake: Handshake,
        connection: Connection,
        services: Vec<String>,
    ) -> Self {
        Self {
            process,
            handshake,
            connection,
            services,
        }
    }

    /// Full names of the services the plugin named at Init.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// Where the plugin serves.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The channel, for calls that have no method here.
    pub fn channel(&self) -> Channel {
        self.connection.channel.clone()
    }

    /// The measurements received so far.
    pub fn measurements(&self) -> Vec<Recorded> {
        self.connection
            .services
            .as_ref()
            .map(HostServices::recorded)
            .unwrap_or_default()
    }

    /// The calls of the host's other services so far, in order, as in `AgentStore.GetAgentInfo`.
    pub fn host_calls(&self) -> Vec<String> {
        self.connection
            .services
            .as_ref()
            .map(HostServices::calls)
            .unwrap_or_default()
    }

    /// Configures the plugin; `None` sends no core configuration at all.
    pub async fn configure(&self, trust_domain: Option<&str>, text: &str) -> Result<(), Status> {
        let request = ConfigureRequest {
            core_configuration: core(trust_domain),
            hcl_configuration: text.to_owned(),
        };
        let transcript = self.process.transcript();
        transcript.sent(format!("Configure({trust_domain:?})"), text.as_bytes());
        let answer = ConfigClient::new(self.channel()).configure(request).await;
        transcript.answered("Configure", &answer);
        answer.map(drop)
    }

    /// Asks whether a configuration is good.
    pub async fn validate(
        &self,
        trust_domain: Option<&str>,
        text: &str,
    ) -> Result<ValidateResponse, Status> {
        let request = ValidateRequest {
            core_configuration: core(trust_domain),
            hcl_configuration: text.to_owned(),
        };
        let transcript = self.process.transcript();
        transcript.sent(format!("Validate({trust_domain:?})"), text.as_bytes());
        let answer = ConfigClient::new(self.channel()).validate(request).await;
        transcript.answered("Validate", &answer);
        Ok(answer?.into_inner())
    }

    /// Begins an attestation with an agent's plugin.
    pub async fn aid(&self) -> Result<AidExchange, Status> {
        AidExchange::open(
            AgentClient::new(self.channel()),
            self.process.transcript().clone(),
        )
        .await
    }

    /// Begins an attestation with a server's plugin, with the given request headers.
    #[expect(clippy::unused_async, reason = "as with an agent's plugin")]
    pub async fn attest(&self, headers: &[(&'static str, &str)]) -> Result<AttestExchange, Status> {
        AttestExchange::open(
            ServerClient::new(self.channel()),
            headers,
            self.process.transcript().clone(),
        )
    }

    /// The calls of a key manager.
    pub fn key_manager(&self) -> LoadedKeyManager {
        LoadedKeyManager(
            KeyManagerClient::new(self.channel()),
            self.process.transcript().clone(),
        )
    }

    /// The calls of a credential composer.
    pub fn composer(&self) -> LoadedComposer {
        LoadedComposer(
            ComposerClient::new(self.channel()),
            self.process.transcript().clone(),
        )
    }

    /// The health service's word on the service `plugin`: 1 is SERVING.
    pub async fn health(&self) -> Result<i32, Status> {
        let request = HealthCheckRequest {
            service: "plugin".to_owned(),
        };
        Ok(HealthClient::new(self.channel())
            .check(request)
            .await?
            .into_inner()
            .status)
    }

    /// Deinit, Shutdown, and two seconds to exit; then SIGKILL.
    pub async fn unload(mut self) -> Unloaded {
        let mut init = InitClient::new(self.channel());
        self.process.transcript().sent("Deinit, Shutdown", b"");
        let deinit = match timeout(DEINIT, init.deinit(DeinitRequest {})).await {
            Ok(answer) => answer.map(drop),
            Err(_elapsed) => Err(Status::deadline_exceeded(
                "Deinit takes more than ten seconds",
            )),
        };
        let asked = Instant::now();
        // The host ignores the answer: the plugin may be gone before it is out.
        let mut controller = GrpcControllerClient::new(self.channel());
        timeout(EXIT, controller.shutdown(Empty {})).await.ok();
        drop(self.connection);
        let exit = self
            .process
            .exit_within(EXIT.saturating_sub(asked.elapsed()))
            .await;
        let took = asked.elapsed();
        if exit.is_none() {
            self.process.kill().await.ok();
        }
        Unloaded {
            deinit,
            exit,
            took,
            log: self.process.log(),
            stdout_noise: self.process.stdout_noise(),
        }
    }

    /// Closes the connection without a word, and leaves the process.
    pub fn hang_up(self) -> Process {
        self.process
    }
}

const DEINIT: Duration = Duration::from_secs(10);
const EXIT: Duration = Duration::from_secs(2);

fn core(trust_domain: Option<&str>) -> Option<CoreConfiguration> {
    trust_domain.map(|name| CoreConfiguration {
        trust_domain: name.to_owned(),
    })
}
