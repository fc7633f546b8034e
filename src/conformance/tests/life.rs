//! The life of a plugin process: handshake, signals, output, end, and what it leaves behind.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use conformance::{
    Broker, Handshake, Host, Loaded, LogLine, NotLoaded, Process, START_LIMIT, Side, Subject,
};
use plugin::{
    Code,
    proto::config::{ConfigureRequest, CoreConfiguration, config_client::ConfigClient},
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
    time::{sleep, timeout},
};

const BINARY: &str = env!("CARGO_BIN_EXE_echo-attestor");

fn echo(side: Side) -> Subject {
    let name = match side {
        Side::Agent => "agent",
        Side::Server => "server",
    };
    Subject::node_attestor(BINARY, side).argument(name)
}

fn request(text: &str) -> ConfigureRequest {
    let core = CoreConfiguration {
        trust_domain: "example.org".into(),
    };
    ConfigureRequest {
        core_configuration: Some(core),
        hcl_configuration: text.into(),
    }
}

async fn server() -> Loaded {
    Host::new().load(&echo(Side::Server)).await.unwrap()
}

#[tokio::test]
async fn loads_configures_and_unloads() {
    for (side, service) in [(Side::Agent, "agent"), (Side::Server, "server")] {
        let loaded = Host::new().load(&echo(side)).await.unwrap();
        let attestor = format!("spire.plugin.{service}.nodeattestor.v1.NodeAttestor");
        assert_eq!(
            loaded.services(),
            [attestor.as_str(), "spire.service.common.config.v1.Config"]
        );
        assert_eq!(loaded.health().await.unwrap(), 1);
        loaded
            .configure(Some("example.org"), "hello")
            .await
            .unwrap();

        let unloaded = loaded.unload().await;
        unloaded.deinit.unwrap();
        assert!(unloaded.exit.unwrap().success());
        assert!(
            unloaded.took < Duration::from_millis(1500),
            "{:?}",
            unloaded.took
        );
        assert_eq!(unloaded.stdout_noise, b"");
        let messages: Vec<_> = unloaded
            .log
            .iter()
            .map(|line| &line.entry().unwrap().message)
            .collect();
        assert_eq!(
            messages
                .iter()
                .filter(|message| **message == "retired")
                .count(),
            1
        );
        assert!(messages.iter().any(|message| *message == "configured"));
    }
}

#[tokio::test]
async fn refuses_to_start_without_its_cookie() {
    let mut subject = echo(Side::Server);
    for plugin_type in ["KeyManager", "UpstreamAuthority"] {
        subject.plugin_type = plugin_type.to_owned();
        let error = Host::new().load(&subject).await.unwrap_err();
        let NotLoaded::Exited { status, log } = error else {
            panic!("{error}")
        };
        assert_eq!(status.unwrap().code(), Some(1));
        let [LogLine::Text(sentence)] = log.as_slice() else {
            panic!("{log:?}")
        };
        assert!(sentence.contains("NodeAttestor"), "{sentence}");
    }
}

#[tokio::test]
async fn refuses_to_start_on_what_it_does_not_speak() {
    let long = format!("/tmp/{}", "a".repeat(100));
    for (name, value, expect) in [
        (
            "PLUGIN_CLIENT_CERT",
            "-----BEGIN CERTIFICATE-----",
            "PLUGIN_CLIENT_CERT",
        ),
        ("PLUGIN_PROTOCOL_VERSIONS", "2", "PLUGIN_PROTOCOL_VERSIONS"),
        ("PLUGIN_UNIX_SOCKET_DIR", &long, "TMPDIR"),
        ("TMPDIR", "/nonexistent", "TMPDIR"),
        (
            "PLUGIN_UNIX_SOCKET_GROUP",
            "no such group",
            "PLUGIN_UNIX_SOCKET_GROUP",
        ),
    ] {
        let error = Host::new()
            .load(&echo(Side::Server).variable(name, value))
            .await
            .unwrap_err();
        let NotLoaded::Exited { status, log } = error else {
            panic!("{name}: {error}")
        };
        assert_eq!(status.unwrap().code(), Some(1), "{name}");
        let entry = log.iter().find_map(LogLine::entry).unwrap();
        assert_eq!(entry.level, "error");
        assert!(entry.message.contains(expect), "{name}: {}", entry.message);
        assert!(
            log.iter().all(|line| line.entry().is_some()),
            "{name}: {log:?}"
        );
    }
}

#[tokio::test]
async fn socket_is_private_and_goes_with_the_process() {
    let base = tempfile::tempdir().unwrap();
    let subject = echo(Side::Server).variable("PLUGIN_UNIX_SOCKET_DIR", base.path());
    let loaded = Host::new().load(&subject).await.unwrap();
    let Handshake::Unix(socket) = loaded.handshake().clone() else {
        panic!()
    };
    assert_eq!(socket.parent().and_then(Path::parent), Some(base.path()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);

    loaded.unload().await;
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_killed_predecessor_is_cleaned_up_after() {
    let base = tempfile::tempdir().unwrap();
    let subject = echo(Side::Server).variable("TMPDIR", base.path());
    let count = || fs::read_dir(base.path()).unwrap().count();
    let mut killed = Host::new().load(&subject).await.unwrap();
    killed.process().kill().await.unwrap();
    assert_eq!(count(), 1);

    let living = Host::new().load(&subject).await.unwrap();
    assert_eq!(count(), 1, "the dead one's directory is still there");
    let other = Host::new().load(&subject).await.unwrap();
    assert_eq!(count(), 2, "the living one's directory is gone");
    assert_eq!(living.health().await.unwrap(), 1);
    other.unload().await;
    living.unload().await;
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn signals_meant_for_the_host_are_ignored() {
    let mut loaded = server().await;
    for signal in [
        Signal::INT,
        Signal::USR1,
        Signal::USR2,
        Signal::HUP,
        Signal::TERM,
    ] {
        loaded.process().signal(signal).unwrap();
    }
    sleep(Duration::from_millis(300)).await;
    assert!(loaded.process().runs());
    loaded.configure(Some("example.org"), "").await.unwrap();
    assert!(loaded.unload().await.exit.unwrap().success());
}

#[tokio::test]
async fn ends_when_the_host_hangs_up() {
    let loaded = server().await;
    let mut process = loaded.hang_up();
    let began = Instant::now();
    assert!(
        process
            .exit_within(Duration::from_secs(10))
            .await
            .unwrap()
            .success()
    );
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "no time for Shutdown"
    );
}

/// A shell stands between: it is the plugin's parent, and is killed without a connection ever having been made.
#[tokio::test]
async fn ends_when_its_parent_is_killed() {
    let base = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", "\"$0\" server & wait", BINARY])
        .env("NodeAttestor", "NodeAttestor")
        .env("TMPDIR", base.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut handshake = String::new();
    let mut stdout = BufReader::new(shell.stdout.take().unwrap());
    stdout.read_line(&mut handshake).await.unwrap();
    assert!(Handshake::parse(&handshake).is_ok(), "{handshake}");

    shell.kill().await.unwrap();
    // The plugin holds the other end of the pipe for as long as it lives.
    let mut stderr = Vec::new();
    let rest = shell.stderr.as_mut().unwrap().read_to_end(&mut stderr);
    timeout(Duration::from_secs(5), rest)
        .await
        .expect("plugin outlives its host")
        .unwrap();
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn shutdown_waits_for_nobody() {
    let loaded = server().await;
    let mut config = ConfigClient::new(loaded.channel());
    let hanging = tokio::spawn(async move { config.configure(request("hang")).await });
    sleep(Duration::from_millis(200)).await;
    let unloaded = loaded.unload().await;
    assert!(unloaded.exit.unwrap().success());
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn a_host_without_a_broker_is_served() {
    let loaded = Host::new()
        .broker(Broker::Absent)
        .load(&echo(Side::Server))
        .await
        .unwrap();
    loaded.configure(Some("example.org"), "").await.unwrap();
    assert!(loaded.unload().await.exit.unwrap().success());
}

#[tokio::test]
async fn stdout_stays_silent() {
    let loaded = Host::new().load(&echo(Side::Agent)).await.unwrap();
    loaded.configure(Some("example.org"), "x").await.unwrap();
    let mut exchange = loaded.aid().await.unwrap();
    exchange.payload().await.unwrap();
    // A megabyte on stdout: more than a pipe takes.
    assert_eq!(exchange.challenge(b"print").await.unwrap(), b"print");
    drop(exchange);
    assert_eq!(loaded.unload().await.stdout_noise, b"");
}

#[tokio::test]
async fn log_lines_are_hclog_whatever_they_hold() {
    let loaded = Host::new().load(&echo(Side::Agent)).await.unwrap();
    loaded.configure(Some("example.org"), "x").await.unwrap();
    let mut exchange = loaded.aid().await.unwrap();
    exchange.payload().await.unwrap();
    exchange.challenge(b"log").await.unwrap();
    drop(exchange);
    let log = loaded.unload().await.log;

    let entries: Vec<_> = log
        .iter()
        .map(|line| line.entry().unwrap_or_else(|| panic!("{line:?}")))
        .collect();
    let hostile = entries.iter().find(|entry| entry.level == "warn").unwrap();
    assert_eq!(hostile.message, "hostile a\\n[ERROR] b\\u{202e}\\u{1b}[31m");
    assert_eq!(hostile.fields["peer"], "a\\n[ERROR] b\\u{202e}\\u{1b}[31m");
    assert_eq!(hostile.fields["level_"], 1);
    assert_eq!(hostile.fields["size"], 7);
    assert_eq!(hostile.module.as_deref(), Some("echo_attestor"));
    assert!(entries.iter().any(|entry| entry.message.starts_with("yyy")));
    assert!(entries.iter().all(|entry| entry.message != "never seen"));
    let ours = |module: &str| module.starts_with("echo_attestor") || module.starts_with("plugin");
    assert!(
        entries
            .iter()
            .all(|entry| entry.module.as_deref().is_some_and(ours)),
        "{entries:?}"
    );
}

#[tokio::test]
async fn a_closed_stderr_ends_nothing() {
    let base = tempfile::tempdir().unwrap();
    let mut child = Command::new(BINARY)
        .arg("server")
        .env("NodeAttestor", "NodeAttestor")
        .env("TMPDIR", base.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .await
        .unwrap();
    let Ok(Handshake::Unix(path)) = Handshake::parse(&line) else {
        panic!("{line}")
    };
    let channel = tonic::transport::Endpoint::from_shared(format!("unix://{}", path.display()));
    let channel = channel.unwrap().connect().await.unwrap();
    let mut config = ConfigClient::new(channel);
    let status = config.configure(request("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(config.configure(request("hello")).await.is_ok());
    assert!(matches!(child.try_wait(), Ok(None)));
}

/// A shell script in place of a plugin.
async fn script(script: &str, limit: Duration) -> Result<(Process, Handshake), NotLoaded> {
    let subject = Subject::node_attestor("/bin/sh", Side::Agent)
        .argument("-c")
        .argument(script);
    Process::start(&subject, limit).await
}

#[tokio::test]
async fn a_program_that_is_no_plugin_is_not_loaded() {
    let ended = script("echo [ERROR] why >&2; exit 3", START_LIMIT)
        .await
        .unwrap_err();
    let NotLoaded::Exited { status, log } = ended else {
        panic!("{ended}")
    };
    assert_eq!(status.unwrap().code(), Some(3));
    assert_eq!(log, [LogLine::Text("[ERROR] why".to_owned())]);
    let hello = script("echo hello", START_LIMIT).await.unwrap_err();
    assert!(matches!(hello, NotLoaded::Handshake(_)), "{hello}");
    let silent = script("exec sleep 60", Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(matches!(silent, NotLoaded::StartTimeout), "{silent}");
    let missing = Subject::node_attestor("/nonexistent", Side::Agent);
    let missing = Process::start(&missing, START_LIMIT).await.unwrap_err();
    assert!(matches!(missing, NotLoaded::Spawn(_)), "{missing}");
}

#[tokio::test]
async fn noise_on_stdout_is_noticed() {
    let noisy = "echo '1|1|unix|/nowhere|grpc|'; echo noise";
    let (mut process, _) = script(noisy, START_LIMIT).await.unwrap();
    assert!(process.exit_within(START_LIMIT).await.unwrap().success());
    assert_eq!(process.stdout_noise(), b"noise\n");
}
