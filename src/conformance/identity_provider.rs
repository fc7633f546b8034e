//! What SPIRE Server lends to its plugins: an SVID of its own and the trust bundle, here of a trust domain made for the run.

use std::sync::OnceLock;

use plugin::proto::identity_provider::{
    Bundle, FetchX509IdentityRequest, FetchX509IdentityResponse, X509Certificate, X509Identity,
    identity_provider_server::IdentityProvider,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tonic::{Request, Response, Status};

use crate::host_services::Calls;

/// The full name of the service.
pub(crate) const IDENTITY_PROVIDER: &str =
    "spire.hostservice.server.identityprovider.v1.IdentityProvider";

/// Lends one identity to whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Lender(pub(crate) Calls);

#[tonic::async_trait]
impl IdentityProvider for Lender {
    async fn fetch_x509_identity(
        &self,
        _request: Request<FetchX509IdentityRequest>,
    ) -> Result<Response<FetchX509IdentityResponse>, Status> {
        self.0.note("IdentityProvider.FetchX509Identity");
        let made = MADE.get_or_init(|| made().ok());
        let made = made.clone();
        made.map(Response::new)
            .ok_or_else(|| Status::internal("no identity"))
    }
}

static MADE: OnceLock<Option<FetchX509IdentityResponse>> = OnceLock::new();

fn made() -> Result<FetchX509IdentityResponse, rcgen::Error> {
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into()?)];
    let root = authority.self_signed(&authority_key)?.der().to_vec();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(
        "spiffe://example.org/spire/server".try_into()?,
    )];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let leaf = leaf.signed_by(&key, &issuer)?.der().to_vec();
    Ok(FetchX509IdentityResponse {
        identity: Some(X509Identity {
            cert_chain: vec![leaf],
            private_key: key.serialize_der(),
        }),
        bundle: Some(Bundle {
            trust_domain: "example.org".to_owned(),
            x509_authorities: vec![X509Certificate {
                asn1: root,
                tainted: false,
            }],
            refresh_hint: 0,
            sequence_number: 1,
        }),
    })
}
