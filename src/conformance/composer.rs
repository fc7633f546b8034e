//! The call of SPIRE Server's credential composer that is made before an agent's SVID is signed.

use crate::transcript::Transcript;
use plugin::proto::credential_composer::{
    ComposeAgentX509svidRequest, X509svidAttributes,
    credential_composer_client::CredentialComposerClient,
};
use tonic::{Code, Status, transport::Channel};

/// A loaded credential composer.
#[derive(Clone, Debug)]
pub struct LoadedComposer(
    pub(crate) CredentialComposerClient<Channel>,
    pub(crate) Transcript,
);

impl LoadedComposer {
    /// The attributes that the SVID gets by SPIRE's rules: those that the plugin answers with; those given, if it
    /// answers with none or with UNIMPLEMENTED.
    ///
    /// # Errors
    /// The SVID is refused.
    pub async fn compose_agent_x509_svid(
        &self,
        spiffe_id: &str,
        public_key: &[u8],
        attributes: &X509svidAttributes,
    ) -> Result<X509svidAttributes, Status> {
        let request = ComposeAgentX509svidRequest {
            attributes: Some(attributes.clone()),
            spiffe_id: spiffe_id.to_owned(),
            public_key: public_key.to_vec(),
        };
        let text = format!("{request:?}");
        self.1.sent("ComposeAgentX509SVID", text.as_bytes());
        let answer = self.0.clone().compose_agent_x509svid(request).await;
        self.1.answered("ComposeAgentX509SVID", &answer);
        let composed = match answer {
            Ok(answer) => answer.into_inner().attributes,
            Err(status) if status.code() == Code::Unimplemented => None,
            Err(status) => return Err(status),
        };
        match composed {
            None => Ok(attributes.clone()),
            Some(composed) if composed.subject.is_none() => {
                Err(Status::internal("plugin returned invalid attributes"))
            }
            Some(composed) => Ok(composed),
        }
    }
}
