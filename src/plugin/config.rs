//! Configure and Validate: one builder for both, an atomic swap, and the last good settings kept.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hcl::Problem;
use tokio::{sync::Mutex, task};
use tonic::{Request, Response, Status};

use crate::{
    panics,
    proto::config::{
        ConfigureRequest, ConfigureResponse, CoreConfiguration, ValidateRequest, ValidateResponse,
        config_server::Config,
    },
};

/// What every plugin has: settings made from the operator's text.
pub trait Plugin: Send + Sync + 'static {
    /// The settings; immutable once built.
    type Settings: Send + Sync + 'static;

    /// Builds settings from the operator's text, or lists everything wrong with it. Runs where blocking is allowed.
    ///
    /// With [`Purpose::Validate`] it must open no device and read no secret.
    fn build(
        &self,
        core: &Core,
        text: &str,
        purpose: Purpose,
    ) -> Result<Self::Settings, Vec<Problem>>;

    /// Called with new settings just before they replace the old. An error keeps the old ones.
    fn apply(
        &self,
        settings: &Arc<Self::Settings>,
    ) -> impl Future<Output = Result<(), Status>> + Send {
        let _ = settings;
        async { Ok(()) }
    }

    /// Called once when the plugin is unloaded; a crash skips it.
    fn retire(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What the settings are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be used.
    Configure,
    /// To be checked and thrown away.
    Validate,
}

/// What SPIRE tells every plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Core {
    /// The bare name of the trust domain; never empty.
    pub trust_domain: String,
}

impl Core {
    /// Checks a trust domain's name: lower-case letters, digits, `-`, `.`, `_`, at most 255 of them (SPIFFE-ID §2.1).
    ///
    /// # Errors
    /// One sentence.
    pub fn new(trust_domain: &str) -> Result<Self, &'static str> {
        if trust_domain.is_empty() {
            return Err("server core configuration must contain trust_domain");
        }
        if trust_domain.len() > 255 {
            return Err(
                "server core configuration trust_domain is malformed: longer than 255 bytes",
            );
        }
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        if !trust_domain.bytes().all(allowed) {
            return Err(
                "server core configuration trust_domain is malformed: only lower-case letters, digits, dots, dashes and underscores are allowed",
            );
        }
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
        })
    }

    fn from_host(core: Option<CoreConfiguration>) -> Result<Self, &'static str> {
        Self::new(
            &core
                .ok_or("server core configuration is required")?
                .trust_domain,
        )
    }
}

/// A plugin and its current settings.
pub(crate) struct Live<P: Plugin> {
    pub(crate) plugin: P,
    current: ArcSwapOption<P::Settings>,
    /// Held during Configure: two of them must not apply out of order.
    turn: Mutex<()>,
}

impl<P: Plugin> Live<P> {
    pub(crate) fn new(plugin: P) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            current: ArcSwapOption::empty(),
            turn: Mutex::new(()),
        })
    }

    /// A snapshot of the settings.
    pub(crate) fn settings(&self) -> Result<Arc<P::Settings>, Status> {
        self.current
            .load_full()
            .ok_or_else(|| Status::failed_precondition("not configured"))
    }

    async fn build(
        self: &Arc<Self>,
        core: Option<CoreConfiguration>,
        text: String,
        purpose: Purpose,
    ) -> Result<Result<P::Settings, Vec<String>>, Status> {
        let core = match Core::from_host(core) {
            Ok(core) => core,
            Err(sentence) => return Ok(Err(vec![sentence.to_owned()])),
        };
        let live = Arc::clone(self);
        let built = task::spawn_blocking(move || live.plugin.build(&core, &text, purpose)).await;
        // The join fails only if the builder panicked.
        let built = built.map_err(|_panic| panics::internal())?;
        Ok(built.map_err(|problems| problems.iter().map(ToString::to_string).collect()))
    }
}

pub(crate) struct ConfigService<P: Plugin>(pub(crate) Arc<Live<P>>);

#[tonic::async_trait]
impl<P: Plugin> Config for ConfigService<P> {
    async fn configure(
        &self,
        request: Request<ConfigureRequest>,
    ) -> Result<Response<ConfigureResponse>, Status> {
        let request = request.into_inner();
        let live = &self.0;
        let _turn = live.turn.lock().await;
        let built = live
            .build(
                request.core_configuration,
                request.hcl_configuration,
                Purpose::Configure,
            )
            .await?;
        let settings = Arc::new(built.map_err(|problems| first_of(&problems))?);
        panics::caught(live.plugin.apply(&settings)).await?;
        live.current.store(Some(settings));
        tracing::info!("configured");
        Ok(Response::new(ConfigureResponse {}))
    }

    async fn validate(
        &self,
        request: Request<ValidateRequest>,
    ) -> Result<Response<ValidateResponse>, Status> {
        let request = request.into_inner();
        let built = self
            .0
            .build(
                request.core_configuration,
                request.hcl_configuration,
                Purpose::Validate,
            )
            .await?;
        // The host ignores `valid` and takes any note, even a friendly one, for a refusal.
        let notes = match built {
            Ok(_) => Vec::new(),
            Err(problems) if problems.is_empty() => vec![REFUSED.to_owned()],
            Err(problems) => problems,
        };
        Ok(Response::new(ValidateResponse {
            valid: notes.is_empty(),
            notes,
        }))
    }
}

const REFUSED: &str = "configuration is refused";

fn first_of(problems: &[String]) -> Status {
    let text = match problems {
        [] => REFUSED.to_owned(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    };
    Status::invalid_argument(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_domains() {
        assert_eq!(
            Core::new("example.org").unwrap().trust_domain,
            "example.org"
        );
        assert!(Core::new(&"a".repeat(255)).is_ok());
        let long = "a".repeat(256);
        for bad in [
            "",
            "Example.org",
            "spiffe://example.org",
            "a b",
            "exämple",
            "example.org/..",
            "example.org%2fx",
            long.as_str(),
        ] {
            let sentence = Core::new(bad).unwrap_err();
            assert!(sentence.contains("trust_domain"), "{bad}: {sentence}");
        }
        assert_eq!(
            Core::from_host(None).unwrap_err(),
            "server core configuration is required"
        );
    }

    #[test]
    fn the_first_problem_and_how_many_more() {
        let text = |problems: &[&str]| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            first_of(&problems).message().to_owned()
        };
        assert_eq!(text(&["1:1: a"]), "1:1: a");
        assert_eq!(text(&["1:1: a", "2:1: b", "3:1: c"]), "1:1: a (and 2 more)");
        assert_eq!(text(&[]), REFUSED);
    }
}
