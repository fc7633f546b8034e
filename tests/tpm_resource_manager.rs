//! Stands between one TPM and several programs: `tpm-resource-manager TPM SOCKET`, both unix sockets.
//!
//! It does what Linux does behind /dev/tpmrm0, for a software TPM, which serves one connection and has no kernel.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use tests::ResourceManager;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [tpm, socket] = arguments.as_slice() else {
        eprintln!("usage: tpm-resource-manager TPM SOCKET");
        return ExitCode::from(64);
    };
    match ResourceManager::serve(Path::new(tpm), Path::new(socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tpm-resource-manager: {error}");
            ExitCode::FAILURE
        }
    }
}
