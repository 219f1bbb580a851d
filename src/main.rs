//! The `deepcut` program: parse, run, report, exit code. All work is done by the library.

mod cli;

/// Training makes and drops tensors of tens of megabytes at every step. The system's allocator gives such memory back to
/// the kernel each time and pays for it with more time than the arithmetic takes; this one keeps it for the next step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
