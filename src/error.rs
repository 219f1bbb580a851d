//! What kind of failure an error is: all errors of the library sort themselves into these.

/// One kind of failure; each is one exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for cannot be done: a wrong path, setting, value or device.
    Usage,
    /// A model or an input that cannot be trusted.
    Untrusted,
    /// Reading or writing failed; the same call continues.
    InputOutput,
    /// The observer stopped the run; the same call continues.
    Interrupted,
}
