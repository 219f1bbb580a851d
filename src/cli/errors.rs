//! What an error of the library is called on the command line: the library names settings, the program its flags.

use deepcut::pipeline::PipelineError;

/// The error as the program says it.
pub fn message(error: &PipelineError) -> String {
    error.to_string()
}
