//! Which gRPC service answers which path.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};
use tower::util::BoxCloneSyncService;

/// A set of gRPC services behind one listener.
#[derive(Clone, Debug, Default)]
pub struct Routes(Arc<HashMap<&'static str, Route>>);

type Route = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

/// A generated gRPC server.
pub trait Servable:
    NamedService
    + Clone
    + Send
    + Sync
    + 'static
    + Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future = BoxFuture<http::Response<Body>, Infallible>,
    >
{
}

impl<S> Servable for S where
    S: NamedService
        + Clone
        + Send
        + Sync
        + 'static
        + Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future = BoxFuture<http::Response<Body>, Infallible>,
        >
{
}

impl Routes {
    /// Adds a generated server.
    #[must_use]
    pub fn with<S: Servable>(mut self, service: S) -> Self {
        Arc::make_mut(&mut self.0).insert(S::NAME, BoxCloneSyncService::new(service));
        self
    }

    fn find(&self, path: &str) -> Option<Route> {
        let (service, _method) = path.strip_prefix('/')?.split_once('/')?;
        self.0.get(service).cloned()
    }
}

impl Service<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The generated servers are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.find(request.uri().path()) {
            Some(mut route) => route.call(request),
            None => Box::pin(async { Ok(Status::unimplemented("unknown service").into_http()) }),
        }
    }
}
