//! Stands between SPIRE and a plugin: starts the plugin, and writes what goes over its socket to two files, one a way.
//!
//! SPIRE starts it in the plugin's place, with the plugin and the files as its arguments.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

fn main() -> ExitCode {
    match tap() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_broken) => ExitCode::FAILURE,
    }
}

fn tap() -> io::Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [plugin, to_plugin, from_plugin] = arguments.as_slice() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let open = |file| OpenOptions::new().create(true).append(true).open(file);
    let files = (open(to_plugin)?, open(from_plugin)?);
    let mut child = Command::new(plugin).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    // core protocol | plugin protocol | network | address | protocol
    let address = line.split('|').nth(3).ok_or(io::ErrorKind::InvalidData)?;
    let tapped = format!("{address}.tap");
    let listener = UnixListener::bind(&tapped)?;
    let address = address.to_owned();
    let line = line.replacen(&address, &tapped, 1);
    io::stdout().write_all(line.as_bytes())?;
    io::stdout().flush()?;
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = UnixStream::connect(&address) else {
                return;
            };
            // One that cannot be tapped is closed, and the test finds nothing.
            drop(join(near, far, &files));
        }
    });
    child.wait()?;
    drop(std::fs::remove_file(&tapped));
    Ok(())
}

fn join(near: UnixStream, far: UnixStream, files: &(File, File)) -> io::Result<()> {
    let (near_out, far_out) = (near.try_clone()?, far.try_clone()?);
    let (one, other) = (files.0.try_clone()?, files.1.try_clone()?);
    thread::spawn(move || carry(near, far_out, one));
    thread::spawn(move || carry(far, near_out, other));
    Ok(())
}

fn carry(mut from: UnixStream, mut to: UnixStream, mut file: File) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes)
        && count > 0
        && let Some(read) = bytes.get(..count)
    {
        if file.write_all(read).is_err() || to.write_all(read).is_err() {
            break;
        }
    }
    // It may be closed already.
    drop(to.shutdown(std::net::Shutdown::Write));
}
