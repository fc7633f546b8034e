//! A say in what SPIRE Server signs for its agents, as a trait: consent or refusal, and no third answer.

use std::sync::Arc;

use tonic::{Code, Request, Response, Status};

use crate::{
    config::{Live, Plugin},
    panics,
    proto::credential_composer::{
        ComposeAgentX509svidRequest as AgentRequest, ComposeAgentX509svidResponse as AgentResponse,
        credential_composer_server::CredentialComposer as Served,
    },
};

/// Judges the certificates of agents. Every one that the server signs waits for it.
///
/// The server's own certificates and what workloads get are no affair of it: those calls are answered with
/// UNIMPLEMENTED, for which SPIRE leaves them as they are.
pub trait CredentialComposer: Plugin {
    /// Whether `spiffe_id` gets an SVID for `public_key`, a SubjectPublicKeyInfo in DER. Neither is empty.
    ///
    /// Ok leaves the SVID's attributes as they are.
    ///
    /// # Errors
    /// The SVID is refused. The agent is told INTERNAL whatever the code, and the message within the server's own.
    fn compose_agent_x509_svid(
        &self,
        settings: Arc<Self::Settings>,
        spiffe_id: String,
        public_key: Vec<u8>,
    ) -> impl Future<Output = Result<(), Status>> + Send;
}

pub(crate) struct ComposerService<P: Plugin>(pub(crate) Arc<Live<P>>);

#[tonic::async_trait]
impl<P: CredentialComposer> Served for ComposerService<P> {
    async fn compose_agent_x509svid(
        &self,
        request: Request<AgentRequest>,
    ) -> Result<Response<AgentResponse>, Status> {
        let settings = self.0.settings()?;
        let AgentRequest {
            attributes: _,
            spiffe_id,
            public_key,
        } = request.into_inner();
        if spiffe_id.is_empty() {
            return Err(Status::invalid_argument("SPIFFE ID is required"));
        }
        if public_key.is_empty() {
            return Err(Status::invalid_argument("public key is required"));
        }
        let plugin = &self.0.plugin;
        panics::caught(plugin.compose_agent_x509_svid(settings, spiffe_id, public_key))
            .await
            .map_err(refusal)?;
        // No attributes: the host keeps its own. Sent back they would lose what a newer host may have among them.
        Ok(Response::new(AgentResponse { attributes: None }))
    }
}

/// An error that the host takes for one.
fn refusal(status: Status) -> Status {
    match status.code() {
        Code::Ok | Code::Unimplemented => {
            tracing::error!("a refusal that the host would take for consent is sent as INTERNAL");
            panics::internal()
        }
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_one() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            let sent = refusal(Status::new(code, "no"));
            let expected = match code {
                Code::Ok | Code::Unimplemented => (Code::Internal, "internal error"),
                other => (other, "no"),
            };
            assert_eq!((sent.code(), sent.message()), expected);
        }
    }
}
