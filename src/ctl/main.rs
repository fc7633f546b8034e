//! The binary `tpm-attestor`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;

/// The server's allocator: what is measured in this process costs as much there.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let exit = ctl::run(&arguments, &mut stdout().lock(), &mut stderr().lock());
    ExitCode::from(exit.code())
}
