//! Why weights could not be fetched.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error::ErrorKind;

/// Published weights could not be fetched; the message says what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {name}: {fault}; {}", self.remedy())]
pub struct PullError {
    /// Of the published weights.
    pub name: String,
    pub fault: Fault,
    pub by_hand: Box<ByHand>,
}

/// How to do without a connection from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// Where the file is published.
    pub address: String,
    /// Where deepcut finds it; none on a system without a home folder.
    pub place: Option<PathBuf>,
    /// Where access is asked for, if it must be.
    pub access: Option<String>,
}

impl fmt::Display for ByHand {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "fetch {} by other means and ", self.address)?;
        match &self.place {
            Some(place) => write!(formatter, "put it at {}, or give it as `weights`", place.display()),
            None => formatter.write_str("give it as `weights`"),
        }
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    #[error("this deepcut was built without its feature hub and opens no connections")]
    WithoutHub,
    #[error("{variable} is set, which forbids connections")]
    Offline { variable: &'static str },
    #[error("there is no folder for it; set HF_HOME or DEEPCUT_HOME to one")]
    NoFolder,
    #[error("{host} cannot be reached ({reason})")]
    Unreachable { host: String, reason: String },
    #[error("{host} broke off after {received} of {total} bytes ({reason})")]
    Broken { host: String, received: u64, total: u64, reason: String },
    #[error("{host} sent almost nothing for {seconds} seconds, and {received} bytes in all")]
    Slow { host: String, seconds: u64, received: u64 },
    #[error("{host} gives it only to those who have asked for access (status {status})")]
    Gated { host: String, status: u16 },
    #[error("{host} does not have it (status {status}{})", code.as_ref().map_or(String::new(), |code| format!(", {code}")))]
    Absent { host: String, status: u16, code: Option<String> },
    #[error("{host} answered with status {status}")]
    Failed { host: String, status: u16 },
    #[error("{host} leads from one address to the next without end")]
    RedirectLoop { host: String },
    #[error("{host} leads to {to}, which is no address to follow")]
    Redirect { host: String, to: String },
    #[error("{host} sends {found} bytes instead of {expected}")]
    Length { host: String, expected: u64, found: u64 },
    #[error("{host} has a file with the SHA-256 {found}, not {expected}, {basis}")]
    Hash { host: String, expected: String, found: String, basis: Basis },
    #[error("{host} answered with {what}")]
    Answer { host: String, what: String },
    #[error("{host} sent no weights: {reason}")]
    NoWeights { host: String, reason: String },
    #[error("{} cannot be used: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("interrupted")]
    Interrupted,
}

/// Why a hash is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    Published,
    Announced,
    Recorded,
}

impl fmt::Display for Basis {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Basis::Published => "which the list of backbones says",
            Basis::Announced => "which it announced",
            Basis::Recorded => "which was recorded when it was first used",
        })
    }
}

impl PullError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self.fault {
            Fault::WithoutHub | Fault::Offline { .. } | Fault::NoFolder | Fault::Gated { .. } => ErrorKind::Usage,
            Fault::RedirectLoop { .. }
            | Fault::Redirect { .. }
            | Fault::Length { .. }
            | Fault::Hash { .. }
            | Fault::Answer { .. }
            | Fault::NoWeights { .. } => ErrorKind::Untrusted,
            Fault::Unreachable { .. }
            | Fault::Broken { .. }
            | Fault::Slow { .. }
            | Fault::Absent { .. }
            | Fault::Failed { .. }
            | Fault::File { .. } => ErrorKind::InputOutput,
            Fault::Interrupted => ErrorKind::Interrupted,
        }
    }

    fn remedy(&self) -> String {
        let by_hand = &self.by_hand;
        match &self.fault {
            Fault::WithoutHub => format!("build it with `--features hub`, or {by_hand}"),
            Fault::NoFolder | Fault::Interrupted => "repeat the command".into(),
            Fault::Broken { .. } | Fault::Slow { .. } => {
                format!("repeat the command, which goes on from there, or {by_hand}")
            }
            Fault::Gated { .. } => {
                let access = by_hand.access.as_deref().unwrap_or(&by_hand.address);
                format!(
                    "ask for access at {access}, set HF_TOKEN to a token of yours and repeat the command, or {by_hand}"
                )
            }
            Fault::Failed { .. } => format!("repeat the command later, or {by_hand}"),
            Fault::Hash { basis: Basis::Recorded, .. } => format!(
                "the published file has changed: to take it as it is now, remove {} first and repeat the command",
                self.name
            ),
            Fault::Length { .. } | Fault::Hash { .. } | Fault::NoWeights { .. } => {
                format!("nothing of it was kept: repeat the command, or {by_hand}")
            }
            Fault::File { .. } => "make room, or allow to read and write there, then repeat the command".into(),
            _ => by_hand.to_string(),
        }
    }
}
