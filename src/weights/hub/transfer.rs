//! Published weights on their way here: one process fetches them, they are checked, and only then they get their name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::super::WeightsFile;
use super::super::installed::variable;
use super::super::registry::{Published, Source};
use super::super::store::{self, Hashes, Record};
use super::cache::{HubCache, is_plain_name};
use super::client::{Ask, Client};
use super::error::{Basis, Fault};
use super::{Pulled, address, already_here};
use crate::event::{Event, Observer};
use crate::files;

/// How long a server may say nothing, unless `DEEPCUT_HUB_PATIENCE` says so (in seconds).
const PATIENCE: Duration = Duration::from_secs(30);

/// No published file is larger.
const MOST_BYTES: u64 = 32 << 30;

/// How often a connection that broke off is made anew, as long as each brought something.
const MOST_CONNECTIONS: usize = 5;

/// How often it is looked whether another process has finished.
const PAUSE: Duration = Duration::from_millis(50);

/// What a server says of a file before it sends it.
struct Announced {
    host: String,
    commit: String,
    tag: String,
    size: u64,
}

/// What is to be fetched, and where it grows.
pub(super) struct Wanted<'a> {
    pub(super) incomplete: &'a Path,
    /// In bytes, if it is known before the bytes come.
    pub(super) size: Option<u64>,
}

/// A file that has come whole.
struct Whole {
    host: String,
    transferred: u64,
    hashes: Hashes,
}

/// Fetches published weights that are not on this machine.
pub(super) fn fetch(published: &Published, observer: &dyn Observer) -> Result<Pulled, Fault> {
    let patience = variable("DEEPCUT_HUB_PATIENCE").and_then(|seconds| seconds.parse().ok());
    let patience = patience.filter(|seconds| *seconds > 0).map_or(PATIENCE, Duration::from_secs);
    let fetch = Fetch { published, observer, patience, client: Client::new(patience)?, address: address(published) };
    match published.source() {
        Source::Hub { repository, revision, file } => fetch.hub_file(repository, revision, file),
        Source::Address(_) => fetch.plain_file(),
    }
}

pub(super) struct Fetch<'a> {
    pub(super) published: &'a Published,
    pub(super) observer: &'a dyn Observer,
    pub(super) patience: Duration,
    pub(super) client: Client,
    pub(super) address: String,
}

impl Fetch<'_> {
    fn hub_file(&self, repository: &str, revision: &str, file: &str) -> Result<Pulled, Fault> {
        let cache = HubCache::find().ok_or(Fault::NoFolder)?.repository(repository);
        let announced = self.announced()?;
        let Announced { host, commit, tag, size } = &announced;
        let expected = self.expected(Some(tag));
        // Known to be another file: nothing of it needs to come.
        if let (Some((expected, basis)), true) = (&expected, is_sha256(tag))
            && expected != tag
        {
            let (host, expected, found, basis) = (host.clone(), expected.clone(), tag.clone(), *basis);
            return Err(Fault::Hash { host, expected, found, basis });
        }
        let _lock = self.lock(&cache.lock(tag))?;
        if let Some(pulled) = already_here(self.published)? {
            return Ok(pulled);
        }
        let blob = cache.blob(tag);
        let mut transferred = 0;
        // Bytes that nothing leads to yet are as good as if they had just come, if they are the right ones.
        let here = blob.is_file().then(|| Hashes::of(&blob)).transpose();
        let here = here.map_err(|source| Fault::File { path: blob.clone(), source })?.filter(|here| {
            let is_expected = expected.as_ref().is_none_or(|(expected, _)| *expected == here.sha256);
            here.size == *size && is_expected && WeightsFile::read(&blob).and_then(|file| file.state_dict()).is_ok()
        });
        let hashes = match here {
            Some(hashes) => hashes,
            None => {
                let incomplete = with_end(&blob, ".incomplete");
                let wanted = Wanted { incomplete: &incomplete, size: Some(*size) };
                let whole = self.whole(&wanted, expected)?;
                rename(&incomplete, &blob)?;
                transferred = whole.transferred;
                whole.hashes
            }
        };
        let link = cache.link(tag, commit, revision, file);
        let path = link.map_err(|source| Fault::File { path: blob, source })?;
        Ok(self.pulled(path, transferred, hashes))
    }

    fn plain_file(&self) -> Result<Pulled, Fault> {
        let place = store::own_place(self.published).ok_or(Fault::NoFolder)?;
        let _lock = self.lock(&with_end(&place, ".lock"))?;
        if let Some(pulled) = already_here(self.published)? {
            return Ok(pulled);
        }
        let Whole { transferred, hashes, .. } = self.to_place(&place)?;
        Ok(self.pulled(place, transferred, hashes))
    }

    /// Brings the file of a plain address to where it is to be.
    fn to_place(&self, place: &Path) -> Result<Whole, Fault> {
        let incomplete = with_end(place, ".incomplete");
        let wanted = Wanted { incomplete: &incomplete, size: self.published.size };
        let whole = self.whole(&wanted, self.expected(None))?;
        rename(&incomplete, place)?;
        let _ = fs::remove_file(with_end(&incomplete, ".tag"));
        Ok(whole)
    }

    fn pulled(&self, path: PathBuf, transferred: u64, hashes: Hashes) -> Pulled {
        let Hashes { size, sha256, blake3 } = hashes;
        let record = Record { name: self.published.name.clone(), size, sha256, blake3, fetched: true };
        if let Err(error) = store::write_record(self.published, &record) {
            let warning = format!("the hash of {} could not be recorded: {error}", path.display());
            self.observer.observe(Event::Warning(warning));
        }
        Pulled { path, transferred, record }
    }

    /// The SHA-256 that the file must have, and why.
    fn expected(&self, tag: Option<&str>) -> Option<(String, Basis)> {
        let published = self.published.sha256.clone().map(|hash| (hash, Basis::Published));
        let recorded = || store::record(self.published).map(|record| (record.sha256, Basis::Recorded));
        let announced = || tag.filter(|tag| is_sha256(tag)).map(|tag| (tag.to_string(), Basis::Announced));
        published.or_else(recorded).or_else(announced)
    }

    /// What the Hub says of the file.
    fn announced(&self) -> Result<Announced, Fault> {
        let answer = self.client.ask(&self.address, Ask::Head)?;
        let answer = if (300..400).contains(&answer.status) { answer } else { answer.success()? };
        let host = answer.host.clone();
        let unusual = |what: &str| Fault::Answer { host: host.clone(), what: what.to_string() };
        let tag = answer.header("x-linked-etag").or(answer.header("etag"));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_string());
        let tag =
            tag.filter(|tag| is_plain_name(tag)).ok_or_else(|| unusual("no tag of the file, as the Hub would"))?;
        let commit = answer.header("x-repo-commit").filter(|commit| is_plain_name(commit)).map(String::from);
        let commit = commit.ok_or_else(|| unusual("no commit of the file, as the Hub would"))?;
        let size = answer.number("x-linked-size").or(answer.number("content-length"));
        let size = size.ok_or_else(|| unusual("no size of the file"))?;
        self.check_size(&host, size)?;
        Ok(Announced { host, commit, tag, size })
    }

    pub(super) fn check_size(&self, host: &str, size: u64) -> Result<(), Fault> {
        if let Some(expected) = self.published.size.filter(|expected| *expected != size) {
            return Err(Fault::Length { host: host.to_string(), expected, found: size });
        }
        if size > MOST_BYTES {
            let what = format!("a file of {size} bytes, more than any published weights have");
            return Err(Fault::Answer { host: host.to_string(), what });
        }
        Ok(())
    }

    /// Waits until no other process fetches the same file.
    fn lock(&self, path: &Path) -> Result<Option<File>, Fault> {
        let unwritable = |source| Fault::File { path: path.to_path_buf(), source };
        create_parent(path)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(unwritable)?;
        let mut is_said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {}
                // Where a file system knows no locks, nobody takes any.
                Err(TryLockError::Error(_)) => return Ok(None),
            }
            if self.observer.interrupted() {
                return Err(Fault::Interrupted);
            }
            if !is_said {
                let name = &self.published.name;
                self.observer.observe(Event::Note(format!("waiting for another program that fetches {name}")));
                is_said = true;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Brings the whole file to its place for incomplete ones, or nothing that is not what it should be.
    fn whole(&self, wanted: &Wanted, expected: Option<(String, Basis)>) -> Result<Whole, Fault> {
        create_parent(wanted.incomplete)?;
        let mut transferred = 0;
        let mut connections = 0;
        let host = loop {
            connections += 1;
            let before = transferred;
            match self.bytes(wanted, &mut transferred) {
                Ok(host) => break host,
                Err(Fault::Broken { .. }) if transferred > before && connections < MOST_CONNECTIONS => {}
                Err(fault) => return Err(fault),
            }
        };
        let unreadable = |source| Fault::File { path: wanted.incomplete.to_path_buf(), source };
        let hashes = Hashes::of(wanted.incomplete).map_err(unreadable)?;
        let refused = match expected.filter(|(expected, _)| *expected != hashes.sha256) {
            Some((expected, basis)) => {
                Some(Fault::Hash { host: host.clone(), expected, found: hashes.sha256.clone(), basis })
            }
            // A page of a network that wants a password first also comes as the file that was asked for.
            None => WeightsFile::read(wanted.incomplete)
                .and_then(|file| file.state_dict())
                .err()
                .map(|error| Fault::NoWeights { host: host.clone(), reason: error.to_string() }),
        };
        match refused {
            Some(fault) => {
                fs::remove_file(wanted.incomplete).map_err(unreadable)?;
                Err(fault)
            }
            None => Ok(Whole { host, transferred, hashes }),
        }
        .inspect(|whole| tracing::debug!(host = whole.host, transferred, "fetched"))
    }
}

fn is_sha256(tag: &str) -> bool {
    tag.len() == 64 && tag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(end);
    name.into()
}

fn create_parent(path: &Path) -> Result<(), Fault> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|source| Fault::File { path: folder.to_path_buf(), source })
}

/// Gives a whole file its name.
fn rename(incomplete: &Path, path: &Path) -> Result<(), Fault> {
    let unwritable = |source| Fault::File { path: path.to_path_buf(), source };
    fs::rename(incomplete, path).map_err(unwritable)?;
    path.parent().map_or(Ok(()), files::sync_folder).map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::event::Silent;

    /// Fetches from a plain address whose server gives these answers, one for each connection; gives what was asked.
    fn fetch_from(place: &Path, answers: Vec<Vec<u8>>) -> (Result<Whole, Fault>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://127.0.0.1:{}/weights.pth", listener.local_addr().unwrap().port());
        let entry = format!(
            "name = \"x\"\nfamily = \"x\"\naddress = \"{address}\"\nlicence = \"MIT\"\nfetched = false\n\
             mean = [0, 0, 0]\nstandard_deviation = [1, 1, 1]\nnative_side = 4\npatch = 4\ninput_side = 4\nstride = 4\n\
             layers = [0]\nfacet = \"key\"\nsettings_source = \"\""
        );
        let published: Published = toml::from_str(&entry).unwrap();
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let answer = |answer: Vec<u8>| {
                    let mut stream = listener.accept().unwrap().0;
                    let lines = io::BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                    let asked: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    stream.write_all(&answer).unwrap();
                    asked.join("\n").to_ascii_lowercase()
                };
                answers.into_iter().map(answer).collect()
            });
            let (patience, observer) = (Duration::from_secs(5), &Silent);
            let client = Client::new(patience).unwrap();
            let fetched = Fetch { published: &published, observer, patience, client, address }.to_place(place);
            (fetched, server.join().unwrap())
        })
    }

    fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n\r\n").as_bytes(), body].concat()
    }

    #[test]
    fn of_a_plain_address_only_the_same_file_is_gone_on_with() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let [old, new] = ["tiny_vit.pth", "tiny_vit_nested.pth"].map(|name| fs::read(golden.join(name)).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let length = |bytes: &[u8]| format!("content-length: {}", bytes.len());
        let begun = |headers: &str| answer("200 OK", &format!("{}{headers}", length(&old)), &old[..3000]);
        let rest = answer(
            "206 Partial Content",
            &format!(
                "content-length: {}\r\ncontent-range: bytes 3000-{}/{}",
                old.len() - 3000,
                old.len() - 1,
                old.len()
            ),
            &old[3000..],
        );
        let place = folder.path().join("same");
        let (fetched, asked) = fetch_from(&place, vec![begun("\r\netag: \"a\""), rest]);
        assert_eq!(fetched.unwrap().transferred, old.len() as u64);
        assert!(asked[1].contains("range: bytes=3000-") && asked[1].contains("if-range: \"a\""), "{asked:?}");
        assert_eq!(fs::read(&place).unwrap(), old);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        // Another file by now, which a server then sends whole.
        let place = folder.path().join("other");
        let whole = answer("200 OK", &length(&new), &new);
        fetch_from(&place, vec![begun("\r\netag: \"a\""), whole.clone()]).0.unwrap();
        assert_eq!(fs::read(&place).unwrap(), new);

        // Without a tag, or with a weak one, nobody knows.
        for tag in ["", "\r\netag: W/\"a\""] {
            let place = folder.path().join(format!("unknown{}", tag.len()));
            let (fetched, asked) = fetch_from(&place, vec![begun(tag), whole.clone()]);
            assert!(fetched.is_ok() && !asked[1].contains("range"), "{asked:?}");
            assert_eq!(fs::read(&place).unwrap(), new);
        }

        // A page instead of the file leaves nothing.
        let place = folder.path().join("page");
        let (fetched, _) = fetch_from(&place, vec![answer("200 OK", "content-length: 6", b"<html>")]);
        assert!(matches!(fetched, Err(Fault::NoWeights { .. })));
        assert!(!place.exists() && !with_end(&place, ".incomplete").exists());
    }
}
