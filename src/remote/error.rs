//! What can go wrong with what lies elsewhere.

use std::io;

use super::Service;
use crate::error::ErrorKind;

/// Why something elsewhere cannot be used, and what to do about it; whoever asked knows where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    #[error(
        "it lies elsewhere, and this build reads only what lies on disks; build it with the feature `remote`, or fetch the files"
    )]
    NotBuilt,

    #[error("{0}")]
    Address(&'static str),

    #[error("the settings for {service} cannot be used ({reason}); {}", service.settings())]
    Settings { service: Service, reason: String },

    #[error("{service} has nothing there ({reason})")]
    Missing { service: Service, reason: String },

    #[error("there is nothing; check the spelling")]
    NothingThere,

    #[error("{service} refuses it ({reason}); {}", service.settings())]
    Refused { service: Service, reason: String },

    #[error("{service} knows nobody to ask as ({reason}); {}", service.settings())]
    NoCredentials { service: Service, reason: String },

    #[error(
        "{service} cannot be asked ({reason}); check the network{}, and repeat the command",
        if matches!(service, Service::Web { .. }) { "" } else { " and the endpoint and region that are set" }
    )]
    Failed { service: Service, reason: String },

    #[error("it has changed while it was read; repeat the command once nobody writes there")]
    Changed,

    #[error("the web server sends whole files only, of which no part can be read by itself; fetch the file")]
    NoParts,

    #[error(
        "a web server does not tell what files it has; give a single image, tar or list, or a bucket as s3://, gs:// or az://"
    )]
    NoListing,

    #[error(
        "results can lie on a disk, or in a bucket as s3://, gs:// or az://, but not on a web server; give another place"
    )]
    NoWriting,

    #[error("{0}; check the free space for temporary files, or set TMPDIR to a folder that has some")]
    Disk(String),

    #[error("the name {name:?} cannot be asked for; rename it or leave it out")]
    Name { name: String },
}

impl RemoteError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed { .. } | Self::Changed | Self::Disk(_) => ErrorKind::InputOutput,
            _ => ErrorKind::Usage,
        }
    }

    /// Of what is kept on a disk meanwhile.
    pub fn of_disk(error: io::Error) -> RemoteError {
        RemoteError::Disk(error.to_string())
    }

    /// The error of this kind in another one, if that was made of it.
    pub fn within(error: &io::Error) -> Option<&RemoteError> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<RemoteError> for io::Error {
    fn from(error: RemoteError) -> io::Error {
        let kind = match &error {
            RemoteError::Missing { .. } => io::ErrorKind::NotFound,
            RemoteError::Refused { .. } | RemoteError::NoCredentials { .. } => io::ErrorKind::PermissionDenied,
            RemoteError::NotBuilt | RemoteError::NoListing | RemoteError::NoParts => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
