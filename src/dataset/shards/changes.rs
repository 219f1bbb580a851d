//! Whether the images of a shard are as its plan has them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{Entry, PlanError, PlannedShard, bytes_at};
use crate::dataset::{Record, Stored};
use crate::event::Observer;
use crate::parallel::{lock, parallel_map};
use crate::remote::RemoteError;

/// Most of looking at files is waiting for them.
const THREADS: usize = 16;

/// What was found otherwise than planned.
#[derive(Default)]
struct Changes {
    missing: u64,
    resized: u64,
    appeared: u64,
    first: Option<String>,
}

/// Those of a file, if there is one; an error where that is not known.
type Bytes = Result<Option<u64>, RemoteError>;

/// Looks at files, at every tar once.
#[derive(Default)]
struct Looks {
    tars: Mutex<HashMap<Arc<Path>, Bytes>>,
}

impl Looks {
    /// Bytes of an image's file now; none if there is none, or if the tar that it lies in has become too short for it.
    fn bytes_of(&self, record: &Record) -> Bytes {
        match &record.stored {
            Stored::Member { tar, offset, length } => {
                let of_tar = lock(&self.tars).entry(Arc::clone(tar)).or_insert_with(|| bytes_at(tar)).clone()?;
                Ok(of_tar.filter(|&of_tar| offset.saturating_add(*length) <= of_tar).map(|_| *length))
            }
            #[cfg(feature = "parquet")]
            Stored::Cell(cell) => Ok(Some(cell.mean_bytes())),
            Stored::Lost(_) => Ok(None),
            Stored::Object { .. } | Stored::File => bytes_at(&record.path),
        }
    }
}

impl PlannedShard {
    /// Refuses a shard of which a file is missing, has another size, or was missing and is there, unless such changes are to be
    /// accepted. Contents are not read: whoever reads an image knows it by them.
    ///
    /// # Errors
    /// [`PlanError::Changed`]; [`PlanError::Unreadable`] and [`PlanError::OtherList`] of the list.
    pub fn check(&self, observer: &dyn Observer) -> Result<(), PlanError> {
        if self.accept_changes {
            return Ok(());
        }
        let (mut changes, looks) = (Changes::default(), Looks::default());
        let look = |entry: Result<Entry, PlanError>| {
            if observer.interrupted() {
                return Err(PlanError::Interrupted);
            }
            entry.map(|entry| match entry {
                // What cannot be told now is told by whoever reads the image.
                Entry::Image { record, bytes } => Some((bytes, looks.bytes_of(&record).unwrap_or(bytes), record)),
                Entry::Fault { .. } => None,
            })
        };
        parallel_map(self.entries(), THREADS, look, |found| {
            let Some((planned, now, record)) = found? else { return Ok(()) };
            let counter = match (planned, now) {
                (planned, now) if planned == now => return Ok(()),
                (Some(_), None) => &mut changes.missing,
                (None, Some(_)) => &mut changes.appeared,
                _ => &mut changes.resized,
            };
            *counter += 1;
            changes.first.get_or_insert_with(|| record.path.display().to_string());
            Ok::<(), PlanError>(())
        })?;
        match changes.sentence() {
            None => Ok(()),
            Some(what) => Err(PlanError::Changed { plan: self.path.clone(), shard: self.index, what }),
        }
    }
}

impl Changes {
    /// 2 files are missing and 1 has another size, the first being a.jpg; none where nothing has changed.
    fn sentence(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let files = |count: u64| if count == 1 { "1 file".to_string() } else { format!("{count} files") };
        let verb = |count: u64, one: &'static str, more: &'static str| if count == 1 { one } else { more };
        let parts = [
            (self.missing, verb(self.missing, "is missing", "are missing")),
            (self.resized, verb(self.resized, "has another size", "have another size")),
            (self.appeared, verb(self.appeared, "was missing and is there", "were missing and are there")),
        ];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, verb)| format!("{} {verb}", files(count))).collect();
        Some(format!("{} (the first: {first})", parts.join(", ")))
    }
}
