//! A node attestor that proves nothing: it echoes, and misbehaves on request. The suite's own test subject.
//!
//! `echo-attestor agent` or `echo-attestor server`; the words that make it misbehave are in [`misbehave`].

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use plugin::{
    AgentAttestor, AgentAttributes, AgentExchange, Core, Launch, Limits, Metrics, Plugin, Position,
    Problem, Purpose, Role, ServerAttestor, ServerExchange, Service, Status, Unexpected,
};

fn main() -> ExitCode {
    plugin::log::install();
    let launch = match Launch::from_environment(&[Role::NodeAttestor]) {
        Ok(launch) => launch,
        Err(refusal) => return refusal.report(),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    let agent = std::env::args().nth(1).is_some_and(|side| side == "agent");
    let service = Service::new(Echo {
        metrics: launch.metrics(),
    })
    .limits(Limits {
        message_bytes: 64 << 10,
        peer_wait: Duration::from_secs(2),
        exchanges: 32,
    });
    runtime.block_on(async {
        if agent {
            service.serve_agent(launch).await
        } else {
            service.serve_server(launch).await
        }
    })
}

struct Echo {
    metrics: Metrics,
}

struct Settings {
    trust_domain: String,
    text: String,
}

impl Plugin for Echo {
    type Settings = Settings;

    /// Every line that begins with `bad` is a problem.
    fn build(&self, core: &Core, text: &str, purpose: Purpose) -> Result<Settings, Vec<Problem>> {
        misbehave(text.trim());
        let problems: Vec<_> = (1..)
            .zip(text.lines())
            .filter(|(_, line)| line.starts_with("bad"))
            .map(|(line, text)| Problem::new(Position { line, column: 1 }, text))
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        tracing::debug!(?purpose, "built");
        Ok(Settings {
            trust_domain: core.trust_domain.clone(),
            text: text.trim().to_owned(),
        })
    }

    async fn apply(&self, settings: &Arc<Settings>) -> Result<(), Status> {
        if settings.text == "inapplicable" {
            return Err(Status::internal("not applied"));
        }
        Ok(())
    }

    async fn retire(&self) {
        tracing::info!("retired");
    }
}

impl AgentAttestor for Echo {
    async fn attest(
        &self,
        settings: Arc<Settings>,
        exchange: &mut AgentExchange,
    ) -> Result<(), Status> {
        exchange.payload(settings.text.clone().into_bytes()).await?;
        loop {
            let challenge = match exchange.challenge().await {
                Ok(challenge) => challenge,
                Err(Unexpected::Closed) => return Ok(()),
                Err(other) => return Err(other.into()),
            };
            if challenge == b"slow" {
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            misbehave(&String::from_utf8_lossy(&challenge));
            exchange.respond(challenge).await?;
        }
    }
}

impl ServerAttestor for Echo {
    async fn attest(
        &self,
        settings: Arc<Settings>,
        exchange: &mut ServerExchange,
    ) -> Result<AgentAttributes, Status> {
        let start = std::time::Instant::now();
        let payload = exchange.payload().await?;
        misbehave(&String::from_utf8_lossy(&payload));
        let spiffe_id = match payload.as_slice() {
            b"deny" => return Err(Status::permission_denied("denied")),
            b"nameless" => String::new(),
            _ => format!("spiffe://{}/spire/agent/echo/1", settings.trust_domain),
        };
        if exchange.challenge(payload.clone()).await? != payload {
            return Err(Status::permission_denied("not an echo"));
        }
        self.metrics
            .increment(&["echo", "attest"], 1.0, &[("status", "OK")]);
        self.metrics
            .elapsed(&["echo", "attest_elapsed_time"], start, &[]);
        let ip = exchange.client_ip().map(|ip| format!("ip:{ip}"));
        let selector_values = ip
            .into_iter()
            .chain([format!("text:{}", settings.text)])
            .collect();
        Ok(AgentAttributes {
            spiffe_id,
            selector_values,
            can_reattest: true,
        })
    }
}

/// What the suite must notice, and the runtime survive.
#[expect(clippy::panic, reason = "to be caught")]
fn misbehave(word: &str) {
    match word {
        "panic" => panic!("on request\n{{\"@level\":\"info\"}}"),
        "log" => {
            let hostile = "a\n[ERROR] b\u{202e}\u{1b}[31m";
            tracing::warn!(peer = hostile, level = 1, size = 7_u64, "hostile {hostile}");
            tracing::info!(long = "x".repeat(200_000), "{}", "y".repeat(200_000));
            tracing::trace!("never seen");
        }
        "hang" => std::thread::sleep(Duration::from_mins(1)),
        "print" => {
            io::stdout().write_all(&vec![b'x'; 1 << 20]).ok();
        }
        _ => {}
    }
}
