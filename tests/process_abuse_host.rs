//! Trouble with the host itself: it stands still, dies, says SIGTERM, or does not read what the plugin logs.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{Entry, Host, LogLine, Reply};
use plugin::Code;
use plugin::proto::config::{ConfigureRequest, CoreConfiguration, config_client::ConfigClient};
use plugin::proto::server_attestor::{
    AttestRequest, attest_request::Request, node_attestor_client::NodeAttestorClient,
};
use rustix::fs::OFlags;
use tempfile::TempDir;
use tests::{Process, Signal, binary, run, until};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt as _;
use verify::Reason;

use crate::process_abuse::{Scene, scripted};
use crate::process_grants::machine;
use crate::process_plugin::{
    LIMIT, Records, TRUST_DOMAIN, challenge, configure, decisions, verdict,
};

/// What was begun before the process stood still goes on after it; what was dropped meanwhile does not disturb it.
#[tokio::test]
async fn a_process_that_stood_still_goes_on() {
    let mut scene = Scene::new("challenge_timeout = \"30s\"").await;
    let mut prover = machine();
    scene.records.enrol(prover.tpm.ek_hash());
    let payload = prover.payload().unwrap();
    let mut begun = scene.server.attest(&[]).await.unwrap();
    begun.payload(&payload).await;
    let asked = challenge(&mut begun).await.unwrap();
    scene.stop();
    let mut dropped = Vec::new();
    for _ in 0..300 {
        let mut exchange = scene.server.attest(&[]).await.unwrap();
        exchange.payload(&payload).await;
        dropped.push(exchange);
    }
    sleep(Duration::from_millis(300)).await;
    drop(dropped);
    begun
        .respond(&prover.answer(&payload, &asked).unwrap())
        .await;
    sleep(Duration::from_millis(300)).await;
    scene.signal(Signal::CONT);
    verdict(&mut begun).await.unwrap();
    scene.unharmed("a stand-still").await;
}

/// A deadline that passed while the process stood still has passed.
#[tokio::test]
async fn a_deadline_counts_while_the_process_stands_still() {
    let mut scene = Scene::new("").await;
    let short = scene.records.enrolment("challenge_timeout = \"1s\"");
    configure(&scene.server, &short).await;
    let mut exchange = scene.server.attest(&[]).await.unwrap();
    exchange.payload(&machine().payload().unwrap()).await;
    challenge(&mut exchange).await.unwrap();
    configure(&scene.server, &scene.records.enrolment("")).await;
    scene.stop();
    sleep(Duration::from_millis(1500)).await;
    scene.signal(Signal::CONT);
    let begin = Instant::now();
    let status = exchange.reply().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), Reason::Timeout.to_string());
    assert!(
        begin.elapsed() < Duration::from_millis(900),
        "{:?}",
        begin.elapsed()
    );
    scene.unharmed("a deadline that passed").await;
}

/// The host gets SIGTERM as its plugins do, and still finishes what it has begun (tpm/J11).
#[tokio::test]
async fn an_attestation_under_way_survives_sigterm() {
    let scene = Scene::new("").await;
    let mut prover = machine();
    scene.records.enrol(prover.tpm.ek_hash());
    let payload = prover.payload().unwrap();
    let mut exchange = scene.server.attest(&[]).await.unwrap();
    exchange.payload(&payload).await;
    let asked = challenge(&mut exchange).await.unwrap();
    scene.signal(Signal::TERM);
    sleep(Duration::from_millis(200)).await;
    exchange
        .respond(&prover.answer(&payload, &asked).unwrap())
        .await;
    verdict(&mut exchange).await.expect("tpm/J11");
    // One that is never finished is closed within the host's two seconds.
    let mut unfinished = scene.server.attest(&[]).await.unwrap();
    unfinished.payload(&payload).await;
    challenge(&mut unfinished).await.unwrap();
    scene.unload().await;
    assert!(
        !matches!(unfinished.reply().await, Ok(Reply::Attributes(_))),
        "tpm/J11"
    );
}

/// The parent dies by SIGKILL with an attestation open, and somebody else keeps the connection.
#[tokio::test]
async fn it_ends_when_its_host_is_killed_mid_attestation() {
    let records = Records::new();
    let base = TempDir::new().unwrap();
    let script = "NodeAttestor=NodeAttestor TMPDIR=$1 \"$0\" & wait";
    let log = base.path().join("log");
    let plugin = binary("tpm-attestor-server").display().to_string();
    let place = base.path().display().to_string();
    let mut host = Process::start("sh", &["-c", script, &plugin, &place], &log);
    host.log_contains("|grpc|", LIMIT);
    let line = host
        .log()
        .lines()
        .find(|line| line.ends_with("|grpc|"))
        .unwrap()
        .to_owned();
    let socket = line.split('|').nth(3).unwrap().to_owned();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix://{socket}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let core = CoreConfiguration {
        trust_domain: TRUST_DOMAIN.to_owned(),
    };
    let request = ConfigureRequest {
        core_configuration: Some(core),
        hcl_configuration: records.enrolment(""),
    };
    ConfigClient::new(channel.clone())
        .configure(request)
        .await
        .unwrap();
    let payload = AttestRequest {
        request: Some(Request::Payload(machine().payload().unwrap())),
    };
    let requests = tokio_stream::once(payload).chain(tokio_stream::pending());
    let mut replies = NodeAttestorClient::new(channel)
        .attest(requests)
        .await
        .unwrap()
        .into_inner();
    replies.message().await.unwrap().unwrap();

    host.kill();
    let last = timeout(LIMIT, replies.message())
        .await
        .expect("the plugin outlives its host");
    assert!(!matches!(last, Ok(Some(_))), "{last:?}");
    until("the socket is gone", LIMIT, || {
        !Path::new(&socket).parent().unwrap().exists()
    });
}

/// Lines in the pipe, which must all be whole.
fn drained(pipe: &mut impl std::io::Read) -> Vec<Entry> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while let Ok(read) = pipe.read(&mut piece) {
        bytes.extend(&piece[..read]);
    }
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| match LogLine::parse(line) {
            LogLine::Entry(entry) => entry,
            LogLine::Text(text) => panic!("not a log line: {text:?}"),
        })
        .collect()
}

/// The pipe takes 64 KiB, and then a line would be waited for until the host reads.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let records = Records::new();
    let directory = TempDir::new().unwrap();
    let fifo = directory.path().join("log");
    run("mkfifo", &[&fifo], &[]);
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let mut options = OpenOptions::new();
    let mut pipe = options
        .read(true)
        .write(true)
        .custom_flags(nonblocking)
        .open(&fifo)
        .unwrap();
    let subject = scripted("exec \"$0\" 2>\"$1\"").argument(&fifo);
    let server = Host::new().load(&subject).await.unwrap();
    configure(&server, &records.enrolment("")).await;
    let mut scene = Scene::of(records, server).await;
    let mut decided = 1;
    for _ in 0..500 {
        refused(&scene).await;
        decided += 1;
    }
    scene.unharmed("a log that nobody reads").await;
    let mut log = drained(&mut pipe);
    refused(&scene).await;
    log.extend(drained(&mut pipe));
    let lost = |entry: &Entry| entry.message == "log lines were lost";
    let lost: u64 = log
        .iter()
        .filter(|entry| lost(entry))
        .map(|entry| entry.fields["lines"].as_u64().unwrap())
        .sum();
    let told = u64::try_from(decisions(&log).len()).unwrap();
    assert!(lost > 100, "the pipe was never full");
    assert_eq!(told + lost, decided + 2, "each line was written or counted");
    for _ in 0..500 {
        refused(&scene).await;
    }
    scene.unload().await;
}

async fn refused(scene: &Scene) {
    let mut exchange = scene.server.attest(&[]).await.unwrap();
    exchange.payload(b"{}").await;
    let reply = timeout(LIMIT, exchange.reply()).await;
    let status = reply.expect("the plugin stands still").unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
