//! Fetching published weights. Nothing else in the library opens a connection, and without the feature `hub` nothing does.

#[cfg(feature = "hub")]
mod bytes;
mod cache;
#[cfg(feature = "hub")]
mod client;
mod error;
#[cfg(feature = "hub")]
mod transfer;

pub use cache::HubCache;
pub use error::{Basis, ByHand, Fault, PullError};

use std::path::PathBuf;

use super::registry::{Published, Source};
use super::store::{self, Record};
use crate::event::Observer;

/// Published weights that are on this machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub path: PathBuf,
    /// Bytes that were transferred; 0 if the weights were there.
    pub transferred: u64,
    pub record: Record,
}

/// How published weights come here without this program.
pub fn by_hand(published: &Published) -> ByHand {
    ByHand { address: address(published), place: store::own_place(published), access: published.access.clone() }
}

/// Where published weights can be fetched.
pub fn address(published: &Published) -> String {
    match published.source() {
        Source::Hub { repository, revision, file } => {
            format!("{}/{repository}/resolve/{revision}/{file}", cache::endpoint())
        }
        Source::Address(address) => address.to_string(),
    }
}

/// Fetches published weights, unless they are on this machine: those of the Hub into its cache, others into deepcut's folder.
///
/// What an earlier call has begun is gone on with. The bytes must have the hash that the list of backbones, the server or an
/// earlier use says, and be weights; only then they get their name. Two calls for one file, also of two processes, wait for
/// each other.
///
/// # Errors
/// If the weights are neither here nor to be had, with what to do.
pub fn pull(published: &Published, observer: &dyn Observer) -> Result<Pulled, PullError> {
    let failed = |fault| PullError { name: published.name.clone(), fault, by_hand: Box::new(by_hand(published)) };
    if let Some(pulled) = already_here(published).map_err(failed)? {
        return Ok(pulled);
    }
    fetch(published, observer).map_err(failed)
}

/// The weights if they are on this machine; they are recorded if this is their first use.
fn already_here(published: &Published) -> Result<Option<Pulled>, Fault> {
    let Some(stored) = store::stored(published) else { return Ok(None) };
    let unreadable = |source| Fault::File { path: stored.path.clone(), source };
    let record = match store::record(published) {
        Some(record) => {
            let found = store::Hashes::of(&stored.path).map_err(unreadable)?.sha256;
            if found != record.sha256 {
                let host = stored.path.display().to_string();
                return Err(Fault::Hash { host, expected: record.sha256, found, basis: Basis::Recorded });
            }
            record
        }
        None => store::record_first_use(published, &stored.path).map_err(unreadable)?,
    };
    Ok(Some(Pulled { path: stored.path, transferred: 0, record }))
}

#[cfg(feature = "hub")]
fn fetch(published: &Published, observer: &dyn Observer) -> Result<Pulled, Fault> {
    if let Some(variable) = cache::offline() {
        return Err(Fault::Offline { variable });
    }
    transfer::fetch(published, observer)
}

#[cfg(not(feature = "hub"))]
fn fetch(_published: &Published, _observer: &dyn Observer) -> Result<Pulled, Fault> {
    Err(Fault::WithoutHub)
}
