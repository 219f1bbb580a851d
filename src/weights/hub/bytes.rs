//! The bytes of a file as they come: asked for from where they ended, held against what was announced, written at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Instant;

use super::super::registry::Source;
use super::client::{self, Answer, Ask};
use super::error::Fault;
use super::transfer::{Fetch, Wanted, with_end};
use crate::event::{Event, Phase};
use crate::files;

/// Fewer bytes per second, over the time of patience, are as good as none.
const LEAST_RATE: u64 = 1024;

impl Fetch<'_> {
    /// Asks for what is missing and writes it as it comes; gives who sent it.
    pub(super) fn bytes(&self, wanted: &Wanted, transferred: &mut u64) -> Result<String, Fault> {
        let unwritable = |source| Fault::File { path: wanted.incomplete.to_path_buf(), source };
        let mut file =
            OpenOptions::new().create(true).truncate(false).write(true).open(wanted.incomplete).map_err(unwritable)?;
        let mut have = file.metadata().map_err(unwritable)?.len();
        if wanted.size.is_some_and(|size| have > size) {
            have = 0;
        }
        if wanted.size == Some(have) {
            return Ok(client::host_of(&self.address));
        }
        // Of a plain address the bytes may have changed since; those of the Hub are named by their content.
        let tag_path = with_end(wanted.incomplete, ".tag");
        let is_plain = matches!(self.published.source(), Source::Address(_));
        let tag = if is_plain { fs::read_to_string(&tag_path).ok() } else { None };
        if is_plain && tag.is_none() {
            have = 0;
        }
        let answer = self.client.ask(&self.address, Ask::From(have, tag.as_deref()))?;
        if answer.status == 416 && have > 0 {
            // There is no more than what is here; whether that is right only the whole file tells.
            fs::remove_file(wanted.incomplete).map_err(unwritable)?;
            return self.bytes(wanted, transferred);
        }
        let mut answer = answer.success()?;
        let host = answer.host.clone();
        let (start, total) = self.range(&answer, have, wanted)?;
        file.set_len(start).map_err(unwritable)?;
        file.seek(SeekFrom::Start(start)).map_err(unwritable)?;
        if is_plain && start == 0 {
            // Weak tags do not stand for the same bytes.
            let tag = answer.header("etag").filter(|tag| !tag.starts_with("W/"));
            let kept = match tag {
                Some(tag) => files::write_whole(&tag_path, |writer| writer.write_all(tag.as_bytes())),
                None => files::absent(fs::remove_file(&tag_path)),
            };
            kept.map_err(unwritable)?;
        }
        self.observer.observe(Event::PhaseStarted { phase: Phase::Transfer, total: Some(total) });
        let result = self.receive(&mut *answer.body, &mut file, start, total, &host, transferred);
        self.observer.observe(Event::PhaseFinished { phase: Phase::Transfer });
        // Also of what broke off: the next call goes on from there.
        file.sync_all().map_err(unwritable)?;
        match result {
            Err(Received::Write(source)) => Err(unwritable(source)),
            Err(Received::Fault(fault @ Fault::Length { .. })) => {
                fs::remove_file(wanted.incomplete).map_err(unwritable)?;
                Err(fault)
            }
            Err(Received::Fault(fault)) => Err(fault),
            Ok(()) => Ok(host),
        }
    }

    /// Where in the file an answer starts, and how long the file is.
    fn range(&self, answer: &Answer, asked: u64, wanted: &Wanted) -> Result<(u64, u64), Fault> {
        let host = answer.host.clone();
        let unusual = |what: &str| Fault::Answer { host: host.clone(), what: what.to_string() };
        let (start, announced) = match answer.status {
            206 => {
                let range = answer.header("content-range").and_then(content_range);
                let (start, total) = range.ok_or_else(|| unusual("a part of the file that it does not name"))?;
                if start != asked {
                    return Err(unusual("another part of the file than it was asked for"));
                }
                (start, Some(total))
            }
            200 => (0, answer.number("content-length")),
            status => return Err(Fault::Failed { host, status }),
        };
        if let (Some(expected), Some(found)) = (wanted.size, announced)
            && expected != found
        {
            return Err(Fault::Length { host, expected, found });
        }
        let total = announced.or(wanted.size).ok_or_else(|| unusual("a file of a length that it does not say"))?;
        self.check_size(&host, total)?;
        Ok((start, total))
    }

    fn receive(
        &self,
        body: &mut dyn Read,
        file: &mut File,
        start: u64,
        total: u64,
        host: &str,
        transferred: &mut u64,
    ) -> Result<(), Received> {
        let mut have = start;
        let mut buffer = vec![0; 1 << 16];
        let (mut since, mut before) = (Instant::now(), have);
        let slow = |received| Fault::Slow { host: host.to_string(), seconds: self.patience.as_secs(), received };
        let broken = |received, reason: String| Fault::Broken { host: host.to_string(), received, total, reason };
        while have < total {
            if self.observer.interrupted() {
                return Err(Fault::Interrupted.into());
            }
            let count = match body.read(&mut buffer) {
                Ok(0) => return Err(broken(have, "the connection was closed".into()).into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => return Err(slow(have).into()),
                Err(error) => return Err(broken(have, error.to_string()).into()),
            };
            have += count as u64;
            if have > total {
                return Err(Fault::Length { host: host.to_string(), expected: total, found: have }.into());
            }
            file.write_all(&buffer[..count]).map_err(Received::Write)?;
            *transferred += count as u64;
            self.observer.observe(Event::PhaseProgress { phase: Phase::Transfer, done: have });
            if since.elapsed() >= self.patience {
                if have - before < LEAST_RATE * self.patience.as_secs() {
                    return Err(slow(have).into());
                }
                (since, before) = (Instant::now(), have);
            }
        }
        // A server that goes on has not sent what it announced.
        match body.read(&mut buffer) {
            Ok(count @ 1..) => {
                let found = have + count as u64;
                Err(Fault::Length { host: host.to_string(), expected: total, found }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Why receiving ended early.
enum Received {
    Fault(Fault),
    Write(io::Error),
}

impl From<Fault> for Received {
    fn from(fault: Fault) -> Self {
        Received::Fault(fault)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(inner, Some(ureq::Error::Timeout(_)))
        || matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Start and whole length of `bytes 100-199/200`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end, total): (u64, u64, u64) = (start.parse().ok()?, end.parse().ok()?, total.parse().ok()?);
    (start <= end && end.checked_add(1) == Some(total)).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_files_are_understood_and_no_others() {
        assert_eq!(content_range("bytes 100-199/200"), Some((100, 200)));
        for text in ["", "bytes 100-199/*", "bytes 100-150/200", "bytes 9-3/4", "100-199/200", "bytes -1-199/200"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
