//! The process: its environment, its socket, its neighbours.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::process::Signal;

use crate::{
    case::{Stop, environment, failed, hold},
    handshake::Handshake,
    host::NotLoaded,
    listening::listening_sockets,
    log::LogLine,
    process::Process,
    subject::Subject,
    trial::{PATIENCE, Trial},
};

pub(super) async fn refuses_without_the_cookie(trial: &mut Trial) -> Result<(), Stop> {
    let cookie = trial.role().plugin_type();
    refuses(&trial.subject()?.without(cookie)).await.map(drop)
}

pub(super) async fn tells_a_human_what_it_is(trial: &mut Trial) -> Result<(), Stop> {
    let cookie = trial.role().plugin_type();
    let said = refuses(&trial.subject()?.without(cookie)).await?;
    let plugin = |text: &str| text.to_ascii_lowercase().contains("plugin");
    let told = said.iter().any(|line| match line {
        LogLine::Text(text) => plugin(text),
        LogLine::Entry(entry) => plugin(&entry.message),
    });
    hold(
        told,
        || format!("{said:?}"),
        "words on stderr that say that this is a plugin",
    )
}

pub(super) async fn refuses_another_cookie(trial: &mut Trial) -> Result<(), Stop> {
    let cookie = trial.role().plugin_type();
    refuses(&trial.subject()?.variable(cookie, "another"))
        .await
        .map(drop)
}

/// It must end with a bad status and without a line; what it said on stderr.
async fn refuses(subject: &Subject) -> Result<Vec<LogLine>, Stop> {
    const RIGHT: &str = "no line on stdout, and an exit status that is not 0";
    match Process::start(subject, PATIENCE).await {
        Ok((process, _handshake)) => Err(failed(format!("the line {:?}", process.line()), RIGHT)),
        Err(NotLoaded::Exited {
            status: Some(status),
            log,
        }) => {
            hold(!status.success(), || format!("no line and {status}"), RIGHT)?;
            Ok(log)
        }
        Err(error) => Err(failed(error.to_string(), RIGHT)),
    }
}

pub(super) async fn needs_no_ports(trial: &mut Trial) -> Result<(), Stop> {
    let subject = trial
        .subject()?
        .without("PLUGIN_MIN_PORT")
        .without("PLUGIN_MAX_PORT");
    starts(&subject, "it starts without a range of ports")
        .await
        .map(drop)
}

pub(super) async fn minds_no_foreign_variables(trial: &mut Trial) -> Result<(), Stop> {
    let subject = trial
        .subject()?
        .variable("PLUGIN_PROTOCOL_VERSIONS", "1,2,7")
        .variable("PLUGIN_SOMETHING_NEW", "\u{202e}; rm -rf /")
        .variable("HTTP_PROXY", "http://192.0.2.1:9")
        .variable("GODEBUG", "nonsense=1");
    starts(&subject, "it starts whatever else is in the environment")
        .await
        .map(drop)
}

pub(super) async fn puts_its_socket_where_it_is_told(trial: &mut Trial) -> Result<(), Stop> {
    socket_below(trial, "PLUGIN_UNIX_SOCKET_DIR").await
}

pub(super) async fn puts_its_socket_into_tmpdir(trial: &mut Trial) -> Result<(), Stop> {
    socket_below(trial, "TMPDIR").await
}

async fn socket_below(trial: &Trial, variable: &str) -> Result<(), Stop> {
    let directory = trial.scratch().join("sockets");
    fs::create_dir(&directory).map_err(|error| environment("a directory", error))?;
    let subject = trial.subject()?.variable(variable, &directory);
    let (_process, handshake) = starts(&subject, "it starts").await?;
    match handshake {
        // Windows' way: there is no socket to be placed.
        Handshake::Tcp(_) => Ok(()),
        Handshake::Unix(path) => hold(
            path.starts_with(&directory),
            || path.display().to_string(),
            format!("a socket below what {variable} names"),
        ),
    }
}

pub(super) async fn keeps_its_socket_private(trial: &mut Trial) -> Result<(), Stop> {
    let (_process, handshake) = trial.start().await?;
    let Handshake::Unix(path) = handshake else {
        return Ok(());
    };
    let mode = |path: &Path| {
        let found = fs::metadata(path);
        found
            .map(|found| found.permissions().mode() & 0o777)
            .map_err(|error| failed(format!("{}: {error}", path.display()), "a socket"))
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let (socket, directory) = (mode(&path)?, mode(directory)?);
    // Who connects to a socket needs the right to write there and to pass its directory.
    hold(
        socket & 0o022 == 0 || directory & 0o011 == 0,
        || format!("mode {socket:03o} in a directory of mode {directory:03o}"),
        "nobody but its user can connect",
    )
}

pub(super) async fn runs_beside_itself(trial: &mut Trial) -> Result<(), Stop> {
    let (first, second) = (trial.start().await?, trial.start().await?);
    hold(
        first.1 != second.1,
        || format!("{:?} twice", first.1),
        "a socket for each process",
    )?;
    let (one, other) = (trial.load().await?, trial.load().await?);
    one.unload().await;
    let still = other.health().await;
    let answers = !matches!(&still, Err(status) if status.code() == plugin::Code::Unavailable);
    hold(
        answers,
        || format!("{still:?}"),
        "one goes on when the other ends",
    )
}

pub(super) async fn starts_after_a_crash(trial: &mut Trial) -> Result<(), Stop> {
    let directory = trial.scratch().join("tmp");
    fs::create_dir(&directory).map_err(|error| environment("a directory", error))?;
    let subject = trial.subject()?.variable("TMPDIR", &directory);
    for _start in 0..3 {
        let (mut process, _handshake) = starts(&subject, "it starts after a crash").await?;
        let killed = process.signal(Signal::KILL);
        killed.map_err(|error| environment("SIGKILL", error))?;
        process.exit_within(PATIENCE).await;
    }
    starts(&subject, "it starts after crashes").await.map(drop)
}

pub(super) async fn listens_on_loopback_only(trial: &mut Trial) -> Result<(), Stop> {
    let mut loaded = trial.configured().await?;
    let pid = loaded.process().pid().unwrap_or_default();
    let sockets = listening_sockets(pid).map_err(|error| environment("/proc", error))?;
    let open: Vec<_> = sockets
        .iter()
        .filter(|address| !address.ip().is_loopback())
        .collect();
    hold(
        open.is_empty(),
        || format!("{open:?}"),
        "no port that other machines reach",
    )
}

pub(super) async fn serves_no_plaintext_where_a_certificate_is_given(
    trial: &mut Trial,
) -> Result<(), Stop> {
    let subject = trial
        .subject()?
        .variable("PLUGIN_CLIENT_CERT", "-----BEGIN CERTIFICATE-----");
    match Process::start(&subject, PATIENCE).await {
        Err(NotLoaded::Exited { .. }) => Ok(()),
        Err(error) => Err(failed(error.to_string(), "it refuses, or serves TLS")),
        Ok((process, Handshake::Unix(path))) => {
            let told = process.line().trim().split('|').nth(5).unwrap_or_default();
            hold(
                !told.is_empty(),
                || format!("plaintext at {}", path.display()),
                "it refuses, or tells its certificate",
            )
        }
        Ok((process, _)) => Err(failed(
            process.line(),
            "it refuses, or tells its certificate",
        )),
    }
}

async fn starts(subject: &Subject, right: &str) -> Result<(Process, Handshake), Stop> {
    let started = Process::start(subject, PATIENCE).await;
    started.map_err(|error| failed(error.to_string(), right))
}
