//! Configuration and attestation, held with a real process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::{Duration, Instant};

use conformance::{AttestExchange, Broker, Host, Loaded, Measured, Reply, Side, Subject};
use plugin::{Code, Status};
use tokio::time::{sleep, timeout};

const TD: Option<&str> = Some("example.org");

async fn load(side: Side, host: Host) -> Loaded {
    let name = match side {
        Side::Agent => "agent",
        Side::Server => "server",
    };
    let subject = Subject::node_attestor(env!("CARGO_BIN_EXE_echo-attestor"), side).argument(name);
    host.load(&subject).await.unwrap()
}

async fn configured(side: Side, text: &str) -> Loaded {
    let loaded = load(side, Host::new()).await;
    loaded.configure(TD, text).await.unwrap();
    loaded
}

/// The whole exchange with an honest echo.
async fn attest(loaded: &Loaded, payload: &str) -> Result<plugin::AgentAttributes, Status> {
    let mut exchange = loaded.attest(&[]).await?;
    exchange.payload(payload.as_bytes()).await;
    loop {
        match exchange.reply().await? {
            Reply::Challenge(challenge) => exchange.respond(&challenge).await,
            Reply::Attributes(attributes) => {
                assert_eq!(exchange.reply().await.unwrap(), Reply::End);
                return Ok(attributes);
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn refused(mut exchange: AttestExchange) -> Code {
    loop {
        match exchange.reply().await {
            Ok(Reply::Challenge(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(status) => return status.code(),
        }
    }
}

#[tokio::test]
async fn validate_lists_every_problem_and_changes_nothing() {
    let loaded = configured(Side::Server, "live").await;
    let good = loaded.validate(TD, "fine").await.unwrap();
    assert!(good.valid && good.notes.is_empty(), "{good:?}");
    let bad = loaded.validate(TD, "bad one\nfine\nbad two").await.unwrap();
    assert!(!bad.valid);
    assert_eq!(bad.notes, ["1:1: bad one", "3:1: bad two"]);
    for (core, note) in [
        (None, "server core configuration is required"),
        (
            Some(""),
            "server core configuration must contain trust_domain",
        ),
        (
            Some("Example"),
            "server core configuration trust_domain is malformed",
        ),
    ] {
        let answer = loaded.validate(core, "fine").await.unwrap();
        assert!(!answer.valid);
        assert!(answer.notes[0].starts_with(note), "{answer:?}");
        let status = loaded.configure(core, "fine").await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(note), "{status}");
    }
    assert_eq!(
        attest(&loaded, "p").await.unwrap().selector_values,
        ["text:live"]
    );
}

#[tokio::test]
async fn configure_keeps_the_last_good_settings() {
    let loaded = configured(Side::Server, "first").await;
    for (text, code, message) in [
        (
            "bad one\nbad two\nbad three",
            Code::InvalidArgument,
            "1:1: bad one (and 2 more)",
        ),
        ("inapplicable", Code::Internal, "not applied"),
        ("panic", Code::Internal, "internal error"),
    ] {
        let status = loaded.configure(TD, text).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
        assert_eq!(
            attest(&loaded, "p").await.unwrap().selector_values,
            ["text:first"]
        );
    }
    loaded.configure(TD, "second").await.unwrap();
    assert_eq!(
        attest(&loaded, "p").await.unwrap().selector_values,
        ["text:second"]
    );
}

#[tokio::test]
async fn a_stream_keeps_the_settings_it_began_with() {
    let loaded = configured(Side::Server, "first").await;
    let mut exchange = loaded.attest(&[]).await.unwrap();
    exchange.payload(b"p").await;
    assert_eq!(
        exchange.reply().await.unwrap(),
        Reply::Challenge(b"p".to_vec())
    );
    loaded.configure(TD, "second").await.unwrap();
    exchange.respond(b"p").await;
    let Reply::Attributes(attributes) = exchange.reply().await.unwrap() else {
        panic!()
    };
    assert_eq!(attributes.selector_values, ["text:first"]);
}

#[tokio::test]
async fn nothing_is_attested_before_configure() {
    let loaded = load(Side::Server, Host::new()).await;
    let status = attest(&loaded, "p").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "not configured")
    );
    let loaded = load(Side::Agent, Host::new()).await;
    let status = loaded.aid().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "not configured")
    );
}

/// An answer that overtakes the host's sending of the payload makes that fail with an arbitrary error.
#[tokio::test]
async fn server_reads_before_it_answers() {
    let loaded = load(Side::Server, Host::new()).await;
    let mut exchange = loaded.attest(&[]).await.unwrap();
    let early = timeout(Duration::from_millis(300), exchange.reply()).await;
    assert!(early.is_err(), "{early:?}");
    exchange.payload(b"p").await;
    assert_eq!(
        exchange.reply().await.unwrap_err().code(),
        Code::FailedPrecondition
    );
}

#[tokio::test]
async fn agent_speaks_first_and_answers_every_challenge() {
    let loaded = configured(Side::Agent, "hello").await;
    let mut exchange = loaded.aid().await.unwrap();
    assert_eq!(exchange.payload().await.unwrap(), b"hello");
    for challenge in [b"one".as_slice(), b"two", b"three"] {
        assert_eq!(exchange.challenge(challenge).await.unwrap(), challenge);
    }
    exchange.close();
    assert_eq!(exchange.answer().await.unwrap(), None);
}

#[tokio::test]
async fn agent_sends_nothing_empty() {
    let loaded = configured(Side::Agent, "").await;
    let status = loaded.aid().await.unwrap().payload().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let loaded = configured(Side::Agent, "x").await;
    let mut exchange = loaded.aid().await.unwrap();
    exchange.payload().await.unwrap();
    assert_eq!(
        exchange.challenge(b"").await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_panic_ends_one_exchange_only() {
    let loaded = configured(Side::Agent, "hello").await;
    let mut exchange = loaded.aid().await.unwrap();
    exchange.payload().await.unwrap();
    let status = exchange.challenge(b"panic").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "internal error"),
        "tpm/J10"
    );
    assert_eq!(
        loaded.aid().await.unwrap().payload().await.unwrap(),
        b"hello"
    );
    let log = loaded.unload().await.log;
    let entry = log
        .iter()
        .filter_map(|line| line.entry())
        .find(|entry| entry.message == "panic");
    let entry = entry.unwrap();
    assert_eq!(entry.level, "error");
    assert_eq!(entry.fields["reason"], "on request\\n{\"@level\":\"info\"}");
    assert!(
        entry.fields["location"]
            .as_str()
            .unwrap()
            .contains("echo.rs:")
    );
    assert!(log.iter().all(|line| line.entry().is_some()), "{log:?}");

    let loaded = configured(Side::Server, "hello").await;
    assert_eq!(
        attest(&loaded, "panic").await.unwrap_err().code(),
        Code::Internal
    );
    assert!(attest(&loaded, "p").await.is_ok());
}

#[tokio::test]
async fn server_names_the_agent_and_knows_its_address() {
    let loaded = configured(Side::Server, "t").await;
    let table = [
        ("x-forwarded-client-ip", "192.0.2.7", Some("ip:192.0.2.7")),
        ("x-forwarded-client-ip", "", None),
        ("x-untrusted-forwarded-host", "192.0.2.7", None),
    ];
    for (header, value, expect) in table {
        let mut exchange = loaded.attest(&[(header, value)]).await.unwrap();
        exchange.payload(b"p").await;
        exchange.reply().await.unwrap();
        exchange.respond(b"p").await;
        let Reply::Attributes(attributes) = exchange.reply().await.unwrap() else {
            panic!()
        };
        assert_eq!(
            attributes.spiffe_id,
            "spiffe://example.org/spire/agent/echo/1"
        );
        assert!(attributes.can_reattest);
        let expect: Vec<_> = expect.into_iter().chain(["text:t"]).collect();
        assert_eq!(attributes.selector_values, expect);
    }
}

/// A name, what the host sends, and the code it gets.
type Case<'a> = (&'a str, &'a [(&'a str, &'a [u8])], Code);

#[tokio::test]
async fn server_refuses_what_is_out_of_turn() {
    let loaded = configured(Side::Server, "t").await;
    let large = vec![b'x'; 100 << 10];
    let table: [Case<'_>; 12] = [
        ("empty payload", &[("payload", b"")], Code::InvalidArgument),
        (
            "response first",
            &[("respond", b"x")],
            Code::InvalidArgument,
        ),
        ("neither first", &[("neither", b"")], Code::InvalidArgument),
        ("closed at once", &[("close", b"")], Code::Cancelled),
        (
            "large payload",
            &[("payload", &large)],
            Code::ResourceExhausted,
        ),
        (
            "two payloads",
            &[("payload", b"x"), ("payload", b"x")],
            Code::InvalidArgument,
        ),
        (
            "empty response",
            &[("payload", b"x"), ("respond", b"")],
            Code::InvalidArgument,
        ),
        (
            "neither then",
            &[("payload", b"x"), ("neither", b"")],
            Code::InvalidArgument,
        ),
        (
            "closed then",
            &[("payload", b"x"), ("close", b"")],
            Code::Cancelled,
        ),
        (
            "large response",
            &[("payload", b"x"), ("respond", &large)],
            Code::ResourceExhausted,
        ),
        (
            "wrong response",
            &[("payload", b"x"), ("respond", b"y")],
            Code::PermissionDenied,
        ),
        (
            "no agent ID",
            &[("payload", b"nameless"), ("respond", b"nameless")],
            Code::Internal,
        ),
    ];
    for (name, steps, code) in table {
        let mut exchange = loaded.attest(&[]).await.unwrap();
        for (step, bytes) in steps {
            match *step {
                "payload" => exchange.payload(bytes).await,
                "respond" => exchange.respond(bytes).await,
                "neither" => exchange.neither().await,
                _ => exchange.close(),
            }
        }
        assert_eq!(refused(exchange).await, code, "{name}");
    }
    assert_eq!(
        attest(&loaded, "deny").await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_silent_peer_is_not_awaited_for_ever() {
    let loaded = configured(Side::Server, "t").await;
    let began = Instant::now();
    let mut silent = loaded.attest(&[]).await.unwrap();
    let mut stalled = loaded.attest(&[]).await.unwrap();
    stalled.payload(b"p").await;
    assert!(matches!(stalled.reply().await, Ok(Reply::Challenge(_))));
    for exchange in [&mut silent, &mut stalled] {
        assert_eq!(
            exchange.reply().await.unwrap_err().code(),
            Code::DeadlineExceeded
        );
    }
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn exchanges_are_concurrent_and_counted() {
    let loaded = configured(Side::Server, "t").await;
    let mut open = Vec::new();
    for number in 0..32_u32 {
        let mut exchange = loaded.attest(&[]).await.unwrap();
        exchange.payload(number.to_string().as_bytes()).await;
        assert!(matches!(exchange.reply().await, Ok(Reply::Challenge(_))));
        open.push((number, exchange));
    }
    let status = attest(&loaded, "one too many").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    loaded.configure(TD, "still answered").await.unwrap();

    // The last first; and one that is cancelled gives its seat back too.
    drop(open.pop());
    for (number, mut exchange) in open.into_iter().rev() {
        exchange.respond(number.to_string().as_bytes()).await;
        assert!(
            matches!(exchange.reply().await, Ok(Reply::Attributes(_))),
            "{number}"
        );
    }
    let mut again = Vec::new();
    for _ in 0..32 {
        let mut exchange = loaded.attest(&[]).await.unwrap();
        exchange.payload(b"p").await;
        assert!(matches!(exchange.reply().await, Ok(Reply::Challenge(_))));
        again.push(exchange);
    }
}

#[tokio::test]
async fn work_ends_with_its_stream() {
    let loaded = configured(Side::Agent, "x").await;
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut exchange = loaded.aid().await.unwrap();
        exchange.payload().await.unwrap();
        exchange.send(b"slow").await;
        open.push(exchange);
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        loaded.aid().await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    drop(open);
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(status) = loaded.aid().await {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(
            Instant::now() < deadline,
            "cancelled exchanges keep their seats"
        );
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn measurements_reach_the_host() {
    let loaded = configured(Side::Server, "t").await;
    attest(&loaded, "p").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while loaded.measurements().len() < 2 && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
    let measurements = loaded.measurements();
    let [count, time] = measurements.as_slice() else {
        panic!("{measurements:?}")
    };
    assert_eq!(count.measured, Measured::Counter(1.0));
    assert_eq!(count.key, ["echo", "attest"]);
    assert_eq!(count.labels, [("status".to_owned(), "OK".to_owned())]);
    assert!(matches!(time.measured, Measured::Since(start) if start > 1_700_000_000_000_000_000));
}

#[tokio::test]
async fn a_silent_broker_slows_nothing() {
    for broker in [Broker::Silent, Broker::Absent] {
        let loaded = load(Side::Server, Host::new().broker(broker)).await;
        loaded.configure(TD, "t").await.unwrap();
        let began = Instant::now();
        for _ in 0..300 {
            attest(&loaded, "p").await.unwrap();
        }
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
        assert!(loaded.unload().await.exit.unwrap().success());
    }
}
