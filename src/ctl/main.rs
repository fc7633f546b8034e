//! The binary `tpm-attestor`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let exit = ctl::run(&arguments, &mut stdout().lock(), &mut stderr().lock());
    ExitCode::from(exit.code())
}
