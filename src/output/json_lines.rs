//! Tables for machines: one JSON value per line.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::OutputError;
use super::atomic::create_parent;
use super::folder::{OutputFolder, PendingFile};

/// A file of JSON lines that appears under its name when it is finished; dropped before, it leaves nothing behind.
#[derive(Debug)]
pub struct JsonLines<'a> {
    pending: PendingFile<'a>,
}

impl<'a> JsonLines<'a> {
    /// Begins the file `path` in `folder`; a temporary file holds the lines until [`JsonLines::finish`].
    pub fn create(folder: &'a OutputFolder, path: &Path) -> Result<Self, OutputError> {
        Ok(Self { pending: folder.begin(path)? })
    }

    /// Adds `value` as one line. JSON knows no infinity and no NaN: both become `null`.
    pub fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), OutputError> {
        serde_json::to_writer(self.pending.writer(), value)
            .map_err(Into::into)
            .and_then(|()| self.pending.writer().write_all(b"\n"))
            .map_err(|source| OutputError::write(self.pending.target(), source))
    }

    /// Syncs the lines to the disk and gives the file its name, replacing an older one.
    pub fn finish(self) -> Result<(), OutputError> {
        self.pending.commit()
    }
}

/// A growing log of JSON lines, kept from run to run; each line is in the file as soon as it is appended.
#[derive(Debug)]
pub struct JsonLog {
    file: File,
    path: PathBuf,
}

impl JsonLog {
    /// Opens the log `path` for more lines, creating it and its folders where they are missing.
    ///
    /// A last line that a crash left without its end is closed, so that it cannot swallow the next one.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        create_parent(path)?;
        let open = || {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            if file.metadata()?.len() > 0 {
                let mut last = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                }
            }
            Ok(file)
        };
        let file = open().map_err(|source| OutputError::write(path, source))?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Appends `value` as one line, in a single write.
    pub fn append<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), OutputError> {
        serde_json::to_vec(value)
            .map_err(Into::into)
            .and_then(|mut line| {
                line.push(b'\n');
                self.file.write_all(&line)
            })
            .map_err(|source| OutputError::write(&self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::event::Silent;
    use crate::output::Claim;

    fn open(root: &Path) -> OutputFolder {
        OutputFolder::open(root, "test", &[Claim::folder("deep")], None, &Silent).unwrap()
    }

    #[test]
    fn lines_appear_when_finished_and_only_then() {
        let root = tempfile::tempdir().unwrap();
        let (folder, path) = (open(root.path()), root.path().join("deep/records.jsonl"));
        let mut lines = JsonLines::create(&folder, &path).unwrap();
        lines.push(&("a\nb", 1)).unwrap();
        lines.push(&[f32::NAN, 0.5]).unwrap();
        assert!(!path.exists());
        lines.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\"a\\nb\",1]\n[null,0.5]\n");

        let mut abandoned = JsonLines::create(&folder, &path).unwrap();
        abandoned.push("half").unwrap();
        drop(abandoned);
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\"a\\nb\",1]\n[null,0.5]\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(folder.temporary()).unwrap().count(), 0);
    }

    #[test]
    fn a_value_that_is_no_json_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = open(root.path());
        let mut lines = JsonLines::create(&folder, &root.path().join("deep/records.jsonl")).unwrap();
        let unsupported = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(lines.push(&unsupported).unwrap_err().to_string().contains("records.jsonl"));
    }

    #[test]
    fn a_log_grows_over_runs_and_closes_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/log.jsonl");
        JsonLog::open(&path).unwrap().append(&1).unwrap();
        JsonLog::open(&path).unwrap().append(&2).unwrap();
        fs::write(&path, [&fs::read(&path).unwrap(), b"{\"los".as_slice()].concat()).unwrap();
        let mut log = JsonLog::open(&path).unwrap();
        log.append(&3).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n{\"los\n3\n");
    }
}
