//! Credential composers, held to the contract with a real process.
#![expect(clippy::unwrap_used, reason = "tests")]

use conformance::{Host, Loaded, LogLine, Subject};
use plugin::{
    Code, Status,
    proto::credential_composer::{
        ComposeAgentX509svidRequest, ComposeAgentX509svidResponse, DistinguishedName,
        X509Extension, X509svidAttributes, credential_composer_client::CredentialComposerClient,
    },
};
use tonic::{client::Grpc, transport::Channel};

const BINARY: &str = env!("CARGO_BIN_EXE_echo-credentials");
const TD: Option<&str> = Some("example.org");

async fn composer() -> Loaded {
    let subject = Subject::credential_composer(BINARY);
    let loaded = Host::new().load(&subject).await.unwrap();
    loaded.configure(TD, "").await.unwrap();
    loaded
}

fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

/// Attributes with something in them.
fn attributes() -> X509svidAttributes {
    X509svidAttributes {
        subject: Some(DistinguishedName {
            country: vec!["US".into()],
            organization: vec!["SPIRE".into()],
            ..DistinguishedName::default()
        }),
        dns_sans: vec!["agent.example.org".into()],
        extra_extensions: vec![X509Extension {
            oid: "1.2.3.4".into(),
            value: vec![5, 0],
            critical: true,
        }],
    }
}

async fn compose(
    loaded: &Loaded,
    name: &str,
    public_key: &[u8],
) -> Result<X509svidAttributes, Status> {
    let id = format!("spiffe://example.org/spire/agent/echo/{name}");
    let composer = loaded.composer();
    composer
        .compose_agent_x509_svid(&id, public_key, &attributes())
        .await
}

#[tokio::test]
async fn a_composer_consents_or_refuses() {
    let loaded = composer().await;
    assert_eq!(
        compose(&loaded, "any", b"known").await.unwrap(),
        attributes()
    );
    for (name, public_key, code, sentence) in [
        ("any", "other", Code::NotFound, "no such key"),
        ("deny", "known", Code::PermissionDenied, "denied"),
        // What SPIRE would take for consent.
        ("unimplemented", "known", Code::Internal, "internal error"),
        ("panic", "known", Code::Internal, "internal error"),
    ] {
        let refused = told(compose(&loaded, name, public_key.as_bytes()).await);
        assert_eq!(refused, (code, sentence.to_owned()), "{name}");
    }
    assert!(compose(&loaded, "any", b"known").await.is_ok());
    let log = loaded.unload().await.log;
    let entries = log.iter().filter_map(LogLine::entry);
    let errors = entries.filter(|entry| entry.level == "error");
    assert_eq!(errors.count(), 2, "the hidden one and the panic: {log:?}");
}

/// Without attributes in the answer a host keeps all of its own, also those that this version knows nothing of.
#[tokio::test]
async fn consent_carries_no_attributes() {
    let loaded = composer().await;
    let mut client = CredentialComposerClient::new(loaded.channel());
    let request = ComposeAgentX509svidRequest {
        attributes: Some(attributes()),
        spiffe_id: "spiffe://example.org/spire/agent/echo/any".into(),
        public_key: b"known".to_vec(),
    };
    let answer = client.compose_agent_x509svid(request.clone()).await;
    let empty = ComposeAgentX509svidResponse { attributes: None };
    assert_eq!(answer.unwrap().into_inner(), empty);

    let nobody = ComposeAgentX509svidRequest {
        spiffe_id: String::new(),
        ..request.clone()
    };
    let keyless = ComposeAgentX509svidRequest {
        public_key: Vec::new(),
        ..request
    };
    for (request, sentence) in [
        (nobody, "SPIFFE ID is required"),
        (keyless, "public key is required"),
    ] {
        let refused = told(client.compose_agent_x509svid(request).await);
        assert_eq!(refused, (Code::InvalidArgument, sentence.to_owned()));
    }
}

const OTHER_CALLS: [&str; 4] = [
    "ComposeServerX509CA",
    "ComposeServerX509SVID",
    "ComposeWorkloadX509SVID",
    "ComposeWorkloadJWTSVID",
];

async fn other_call(channel: Channel, name: &str, size: usize) -> Code {
    let path = format!("/spire.plugin.server.credentialcomposer.v1.CredentialComposer/{name}");
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let request = ComposeAgentX509svidRequest {
        attributes: Some(attributes()),
        spiffe_id: "spiffe://example.org/workload".into(),
        public_key: vec![b'k'; size],
    };
    let codec =
        tonic_prost::ProstCodec::<ComposeAgentX509svidRequest, ComposeAgentX509svidResponse>::new();
    let answer = client
        .unary(tonic::Request::new(request), path.parse().unwrap(), codec)
        .await;
    answer.unwrap_err().code()
}

#[tokio::test]
async fn the_composer_leaves_all_else_alone() {
    let subject = Subject::credential_composer(BINARY);
    let loaded = Host::new().load(&subject).await.unwrap();
    let before = told(compose(&loaded, "any", b"known").await);
    assert_eq!(
        before,
        (Code::FailedPrecondition, "not configured".to_owned())
    );
    for configured in [false, true] {
        if configured {
            loaded.configure(TD, "").await.unwrap();
        }
        for name in OTHER_CALLS {
            let code = other_call(loaded.channel(), name, 91).await;
            assert_eq!(code, Code::Unimplemented, "{name}");
        }
    }
    // More together than may be on the way unread: what nobody reads takes no room for good.
    for _ in 0..16 {
        let code = other_call(loaded.channel(), OTHER_CALLS[2], 1 << 20).await;
        assert_eq!(code, Code::Unimplemented);
    }
    assert!(compose(&loaded, "any", b"known").await.is_ok());
}
