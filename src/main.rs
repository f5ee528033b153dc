//! The binary: reads settings, runs one command, turns its outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pfa_vanguard::cli::main()
}
