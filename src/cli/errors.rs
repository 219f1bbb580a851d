//! What an error of the library is called on the command line: the library names settings, the program its flags.

use deepcut::config::ConfigError;
use deepcut::pipeline::PipelineError;

/// Parts of the configuration that are named in brackets, as in a configuration file.
const IN_BRACKETS: [&str; 6] = ["cluster", "superpixel", "pixel", "parts", "objects", "refine.bilateral"];

/// The error as the program says it.
pub fn message(error: &PipelineError) -> String {
    match error {
        PipelineError::Config(ConfigError::Override(text)) => {
            format!("--set {text}: write it as key=value, for example --set train.epochs=20")
        }
        PipelineError::Config(ConfigError::Setting { room, invalid }) if IN_BRACKETS.contains(room) => {
            format!("[{room}] {invalid}")
        }
        _ => error.to_string(),
    }
}
