//! The services that go-plugin itself has.

use std::time::Duration;

use plugin::proto::go_plugin::{
    grpc_broker_client::GrpcBrokerClient, grpc_stdio_client::GrpcStdioClient,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::UnixStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    case::{Stop, environment, failed, hold},
    empty_call::call_empty,
    handshake::Handshake,
    status::{code_name, told},
    trial::{PATIENCE, Trial},
};

pub(super) async fn holds_the_broker_stream(trial: &mut Trial) -> Result<(), Stop> {
    const RIGHT: &str = "a stream that stays open";
    let (_process, handshake) = trial.start().await?;
    let channel = dial(&handshake).await?;
    let (_outbound, requests) = tokio::sync::mpsc::channel(1);
    let mut broker = GrpcBrokerClient::new(channel);
    let opening = broker.start_stream(ReceiverStream::new(requests));
    // A server may send its head with its first message only.
    let opened = match timeout(Duration::from_millis(300), opening).await {
        Err(_elapsed) => return Ok(()),
        Ok(opened) => opened.map_err(|status| failed(told(&status), RIGHT))?,
    };
    let mut inbound = opened.into_inner();
    match timeout(Duration::from_millis(300), inbound.message()).await {
        Err(_elapsed) => Ok(()),
        Ok(Ok(message)) => Err(failed(format!("{message:?}"), RIGHT)),
        Ok(Err(status)) => Err(failed(told(&status), RIGHT)),
    }
}

pub(super) async fn serves_standard_output_or_says_not(trial: &mut Trial) -> Result<(), Stop> {
    let (_process, handshake) = trial.start().await?;
    let channel = dial(&handshake).await?;
    let mut client = GrpcStdioClient::new(channel);
    match timeout(Duration::from_millis(300), client.stream_stdio(())).await {
        Err(_) | Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => hold(
            matches!(status.code(), Code::Unimplemented | Code::Unavailable),
            || told(&status),
            "a stream, UNIMPLEMENTED or UNAVAILABLE",
        ),
    }
}

pub(super) async fn is_healthy(trial: &mut Trial) -> Result<(), Stop> {
    const SERVING: i32 = 1;
    let loaded = trial.load().await?;
    let health = loaded.health().await;
    let right = "SERVING (1) for the service `plugin`";
    let status = health.map_err(|status| failed(told(&status), right))?;
    hold(status == SERVING, || format!("{status}"), right)
}

pub(super) async fn knows_no_other_health(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    let request = HealthCheckRequest {
        service: "no.such.Service".to_owned(),
    };
    match HealthClient::new(loaded.channel()).check(request).await {
        Ok(answer) => Err(failed(format!("{answer:?}"), "NOT_FOUND")),
        Err(status) => hold(
            status.code() == Code::NotFound,
            || told(&status),
            "NOT_FOUND",
        ),
    }
}

pub(super) async fn does_not_know_unknown_services(trial: &mut Trial) -> Result<(), Stop> {
    unknown(trial, "/no.such.v1.Service/Method").await
}

pub(super) async fn does_not_know_unknown_methods(trial: &mut Trial) -> Result<(), Stop> {
    let path = format!("/{}/NoSuchMethod", trial.role().service());
    unknown(trial, &path).await
}

pub(super) async fn shows_no_reflection(trial: &mut Trial) -> Result<(), Stop> {
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        unknown(trial, &path).await?;
    }
    Ok(())
}

async fn unknown(trial: &Trial, path: &str) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    let answer = timeout(PATIENCE, call_empty(loaded.channel(), path)).await;
    let code = match &answer {
        Err(_elapsed) => "no answer",
        Ok(Ok(())) => "OK",
        Ok(Err(status)) => code_name(status.code()),
    };
    hold(
        code == "UNIMPLEMENTED",
        || format!("{path}: {code}"),
        "UNIMPLEMENTED",
    )
}

pub(super) async fn takes_a_second_connection(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    let second = dial(loaded.handshake()).await?;
    answers(&second).await?;
    drop(second);
    answers(&loaded.channel()).await
}

pub(super) async fn answers_many_calls_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    let mut calls = JoinSet::new();
    for _call in 0..100 {
        let channel = loaded.channel();
        calls.spawn(async move { answers(&channel).await });
    }
    while let Some(call) = calls.join_next().await {
        call.map_err(|error| environment("a task", error))??;
    }
    Ok(())
}

pub(super) async fn survives_a_connection_that_breaks(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    if let Handshake::Unix(path) = loaded.handshake() {
        for said in [
            &b""[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
        ] {
            let connected = UnixStream::connect(path).await;
            let mut stream =
                connected.map_err(|error| failed(error.to_string(), "a connection"))?;
            // It may hang up on us first.
            stream.write_all(said).await.ok();
        }
    }
    sleep(Duration::from_millis(20)).await;
    answers(&loaded.channel()).await
}

/// Whatever it answers, it answers.
async fn answers(channel: &Channel) -> Result<(), Stop> {
    let right = "UNIMPLEMENTED for an unknown method";
    match timeout(
        PATIENCE,
        call_empty(channel.clone(), "/no.such.v1.Service/Method"),
    )
    .await
    {
        Err(_elapsed) => Err(failed("no answer", right)),
        Ok(Ok(())) => Err(failed("OK", right)),
        Ok(Err(status)) => hold(
            status.code() == Code::Unimplemented,
            || told(&status),
            right,
        ),
    }
}

async fn dial(handshake: &Handshake) -> Result<Channel, Stop> {
    let right = "a connection";
    let endpoint = Endpoint::from_shared(handshake.target());
    let endpoint = endpoint.map_err(|error| failed(error.to_string(), right))?;
    let origin = tonic::codegen::http::Uri::from_static("http://unused");
    let connected = endpoint.origin(origin).connect().await;
    connected.map_err(|error| failed(error.to_string(), right))
}
