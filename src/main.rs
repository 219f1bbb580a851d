//! The `deepcut` program: parse, run, report, exit code. All work is done by the library.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
