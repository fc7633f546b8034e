//! A unary call of any method, with a message without fields.

use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

/// Calls the method at `path`, as in `/package.Service/Method`; a message in the answer is not read.
pub(crate) async fn call_empty(channel: Channel, path: &str) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path: PathAndQuery = path.parse().map_err(|_no_path| Status::internal("path"))?;
    let codec = ProstCodec::<(), ()>::default();
    client.unary(Request::new(()), path, codec).await.map(drop)
}
