//! The binary: reads settings, runs one command, turns its outcome into an exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A row of an export asks for memory twice: a tenth of its time less than with the allocator of the C library.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    pfa_vanguard::cli::main()
}
