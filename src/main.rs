//! Parses arguments, calls the library, and turns an error into a message and an exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use lastgood::cli::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            // Other exit codes say what became of a command that was understood.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match cli.run(&mut io::stdout().lock()) {
        Ok(code) => code,
        // A reader such as `head` that has seen enough is no error.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            // With standard error gone too, the exit code has to say it all.
            writeln!(io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
