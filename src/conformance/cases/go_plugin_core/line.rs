//! The first line on stdout.

use std::time::Duration;

use tokio::{
    net::{TcpStream, UnixStream},
    time::sleep,
};

use crate::{
    case::{Stop, failed, hold},
    handshake::Handshake,
    trial::Trial,
};

/// `Trial::start` reads it by the host's rules.
pub(super) async fn is_a_handshake(trial: &mut Trial) -> Result<(), Stop> {
    let (process, _handshake) = trial.start().await?;
    hold(
        process.line().ends_with('\n'),
        || format!("{:?}", process.line()),
        "a line with its end",
    )
}

pub(super) async fn leads_to_a_local_socket(trial: &mut Trial) -> Result<(), Stop> {
    match trial.start().await?.1 {
        Handshake::Unix(path) => hold(
            path.is_absolute() && path.as_os_str().len() < 108,
            || path.display().to_string(),
            "an absolute path of less than 108 bytes",
        ),
        Handshake::Tcp(address) => hold(
            address.ip().is_loopback(),
            || address.to_string(),
            "an address on loopback",
        ),
    }
}

pub(super) async fn has_no_certificate(trial: &mut Trial) -> Result<(), Stop> {
    let (process, _handshake) = trial.start().await?;
    let certificate = process.line().trim().split('|').nth(5).unwrap_or_default();
    hold(
        certificate.is_empty(),
        || format!("a sixth field {certificate:?}"),
        "an empty sixth field: SPIRE speaks plaintext",
    )
}

pub(super) async fn is_short_and_printable(trial: &mut Trial) -> Result<(), Stop> {
    let (process, _handshake) = trial.start().await?;
    let line = process.line().trim_end();
    hold(
        line.len() < 1024 && line.bytes().all(|byte| byte.is_ascii_graphic()),
        || format!("{line:?}"),
        "less than 1,024 printable ASCII characters without spaces",
    )
}

pub(super) async fn comes_when_the_socket_accepts(trial: &mut Trial) -> Result<(), Stop> {
    let (_process, handshake) = trial.start().await?;
    let connected = match &handshake {
        Handshake::Unix(path) => UnixStream::connect(path).await.map(drop),
        Handshake::Tcp(address) => TcpStream::connect(address).await.map(drop),
    };
    connected.map_err(|error| failed(error.to_string(), "a connection at once"))
}

pub(super) async fn comes_soon(trial: &mut Trial) -> Result<(), Stop> {
    let (process, _handshake) = trial.start().await?;
    let after = process.handshake_after();
    hold(
        after < Duration::from_secs(5),
        || format!("the line after {after:?}"),
        "the line within 5 s",
    )
}

pub(super) async fn is_all_that_stdout_gets(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.configured().await?;
    sleep(Duration::from_millis(100)).await;
    let unloaded = loaded.unload().await;
    let noise = String::from_utf8_lossy(&unloaded.stdout_noise).into_owned();
    hold(
        noise.is_empty(),
        || format!("{noise:?}"),
        "nothing after the line",
    )
}
