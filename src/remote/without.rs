//! Builds without the feature `remote` have nothing from elsewhere.

use std::fs::File;
use std::ops::Range;

use super::{Address, Listing, Part, RemoteError};

pub(super) fn part(_: &Address, _: Range<u64>, _: Option<&str>) -> Result<Part, RemoteError> {
    Err(RemoteError::NotBuilt)
}

pub(super) fn whole(_: &Address, _: u64) -> Result<Part, RemoteError> {
    Err(RemoteError::NotBuilt)
}

pub(super) fn size(_: &Address) -> Result<u64, RemoteError> {
    Err(RemoteError::NotBuilt)
}

pub(super) fn list(_: &Address) -> Result<Listing, RemoteError> {
    Err(RemoteError::NotBuilt)
}

pub(super) fn is_folder(_: &Address) -> Result<bool, RemoteError> {
    Err(RemoteError::NotBuilt)
}

pub(super) fn put(_: &Address, _: File, _: u64) -> Result<(), RemoteError> {
    Err(RemoteError::NotBuilt)
}

pub(super) fn remove(_: &Address) -> Result<(), RemoteError> {
    Err(RemoteError::NotBuilt)
}
