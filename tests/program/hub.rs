//! Fetching published weights from servers that break off, lie and refuse; each case is a row of `docs/backbones.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use crate::drive::{path_text, program, project, text, train_demonstration};

const REPOSITORY: &str = "timm/vit_small_patch8_224.dino";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Weights in the place of the published ones: a transformer of three blocks and patches of 8 pixels.
fn payload() -> Vec<u8> {
    static PAYLOAD: OnceLock<Vec<u8>> = OnceLock::new();
    let read = || {
        let golden = fs::read(project("tests/golden/vit_p8_s8_wide.safetensors")).unwrap();
        let golden = SafeTensors::deserialize(&golden).unwrap();
        let weights = golden.iter().filter_map(|(name, view)| Some((name.strip_prefix("weights.")?, view)));
        safetensors::serialize(weights, None).unwrap()
    };
    PAYLOAD.get_or_init(read).clone()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    /// The offset that is asked for.
    fn offset(&self) -> usize {
        let range = self.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        range.map_or(0, |offset| offset.parse().unwrap())
    }
}

/// What a server does with a connection.
#[derive(Clone)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The length it announces.
    length: usize,
    /// Between bytes.
    pause: Option<Duration>,
}

impl Reply {
    fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new(), length: 0, pause: None }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Reply {
        self.headers.push((name, value.to_string()));
        self
    }

    /// A part of the file as a server sends it that knows ranges.
    fn file(bytes: &[u8], offset: usize) -> Reply {
        let rest = bytes[offset.min(bytes.len())..].to_vec();
        let reply = Reply { length: rest.len(), body: rest, ..Reply::status(if offset > 0 { 206 } else { 200 }) };
        match offset {
            0 => reply,
            _ => reply.with("content-range", format!("bytes {offset}-{}/{}", bytes.len() - 1, bytes.len())),
        }
    }

    fn cut(mut self, after: usize) -> Reply {
        self.body.truncate(after);
        self
    }
}

/// A server on this machine.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, reply) = (Arc::new(Mutex::new(Vec::new())), Arc::new(reply));
        let requests = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (reply, requests) = (Arc::clone(&reply), Arc::clone(&requests));
                thread::spawn(move || serve(stream, &*reply, &requests));
            }
        });
        Server { port, seen }
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn requests(&self, method: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|request| request.method == method).count()
    }
}

/// Answers one request, then closes the connection; a client that has gone away is its own matter.
fn serve(mut stream: TcpStream, reply: &dyn Fn(&Request) -> Reply, requests: &Mutex<Vec<Request>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ').map(String::from);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_string()))
    });
    let request = Request { method, path, headers: headers.collect() };
    let Reply { status, headers, body, length, pause } = reply(&request);
    let is_head = request.method == "HEAD";
    requests.lock().unwrap().push(request);
    let mut head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {length}\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if stream.write_all(format!("{head}\r\n").as_bytes()).is_err() || is_head {
        return;
    }
    let Some(pause) = pause else { return drop(stream.write_all(&body)) };
    for byte in body {
        if stream.write_all(&[byte]).is_err() {
            return;
        }
        thread::sleep(pause);
    }
}

/// The Hub as it is, but for what it does when the bytes are asked for.
fn hub(bytes: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    hub_of(payload(), bytes)
}

/// The same, which announces a file of its own.
fn hub_of(file: Vec<u8>, bytes: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        if request.path != format!("/{REPOSITORY}/resolve/main/model.safetensors") {
            return Reply::status(404).with("x-error-code", "EntryNotFound");
        }
        if request.method == "HEAD" {
            let reply = Reply { length: file.len(), ..Reply::status(200) };
            return reply.with("x-repo-commit", COMMIT).with("etag", format!("\"{}\"", sha256(&file)));
        }
        bytes(request)
    })
}

fn good_hub() -> Server {
    hub(|request| Reply::file(&payload(), request.offset()))
}

/// A machine of its own: deepcut's folder and the cache of the Hub.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        Machine { folder: tempfile::tempdir().unwrap() }
    }

    fn deepcut(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("DEEPCUT_HOME", self.home()).env("HF_HOME", self.folder.path().join("hf"));
        // Nobody listens there: whoever opens a connection unasked fails.
        command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("DEEPCUT_HUB_PATIENCE", "1");
        command
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn pull(&self, server: &Server) -> Output {
        self.deepcut(&["backbone", "pull"]).env("HF_ENDPOINT", server.address()).output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        said(&self.deepcut(arguments).output().unwrap())
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("hf/hub").join(format!("models--{}", REPOSITORY.replace('/', "--")))
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT).join("model.safetensors")
    }

    /// The files that have final names, or else those that are incomplete.
    fn blobs(&self, incomplete: bool) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.repository().join("blobs")).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path_text(path).ends_with(".incomplete") == incomplete)
            .collect()
    }
}

fn said(output: &Output) -> (i32, String) {
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

/// A case of the table: what the server does → the exit code and what the message says.
fn check(case: &str, server: &Server, code: i32, expected: &[&str]) -> Machine {
    let machine = Machine::new();
    let (found, said) = said(&machine.pull(server));
    assert_eq!(found, code, "{case}: {said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{case}: {said}");
    for expected in expected {
        assert!(lines[0].contains(expected), "{case}: {said}");
    }
    assert!(!machine.snapshot().exists() && machine.blobs(false).is_empty(), "{case}: something has a final name");
    // The same command completes as soon as the server behaves.
    let (found, said) = self::said(&machine.pull(&good_hub()));
    assert_eq!(found, 0, "{case}: {said}");
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload(), "{case}");
    assert!(machine.blobs(true).is_empty(), "{case}: an incomplete file is left");
    machine
}

#[test]
fn a_backbone_is_pulled_once_used_by_name_checked_and_removed() {
    let machine = Machine::new();
    let server = good_hub();
    let (code, said_first) = said(&machine.pull(&server));
    assert_eq!(code, 0, "{said_first}");
    assert!(said_first.contains("dino-vits8: fetched") && said_first.contains(&sha256(&payload())), "{said_first}");
    assert_eq!((server.requests("HEAD"), server.requests("GET")), (1, 1));
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(machine.snapshot()).unwrap(),
        Path::new("../../blobs").join(sha256(&payload())),
        "links are those that other programs make"
    );
    assert_eq!(fs::read_to_string(machine.repository().join("refs/main")).unwrap(), COMMIT);

    let (code, said_again) = said(&machine.pull(&server));
    assert!(code == 0 && said_again.contains("was here already"), "{said_again}");
    assert_eq!((server.requests("HEAD"), server.requests("GET")), (1, 1), "the second pull asked the server");

    let (code, said) = machine.run(&["backbone", "info", "dino-vits8"]);
    assert!(code == 0 && said.contains("Apache-2.0") && said.contains("8×8 pixels"), "{said}");
    let (code, said) = machine.run(&["backbone", "list", "--json"]);
    assert!(code == 0 && said.contains(path_text(&machine.snapshot())), "{said}");
    let (code, said) = machine.run(&["backbone", "verify"]);
    assert!(code == 0 && said.contains("unchanged"), "{said}");

    let (code, said) = machine.run(&["backbone", "remove", "dino-vits8"]);
    assert!(code == 2 && said.contains("--yes") && machine.snapshot().exists(), "{said}");
    let (code, said) = machine.run(&["backbone", "remove", "dino-vits8", "--yes"]);
    assert!(code == 0 && !machine.repository().exists(), "{said}");
    let (code, said) = machine.run(&["backbone", "info", "dino-vits8"]);
    assert!(code == 2 && said.contains("deepcut backbone pull dino-vits8"), "{said}");
    let place = machine.home().join("backbones/dino-vits8.safetensors");
    assert!(said.contains(path_text(&place)), "{said}");
    // What the message says to do by hand does it.
    fs::write(place, payload()).unwrap();
    let (code, said) = machine.run(&["backbone", "info", "dino-vits8"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn weights_that_change_after_their_first_use_are_refused() {
    let machine = Machine::new();
    let place = machine.home().join("backbones/dino-vits8.safetensors");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, payload()).unwrap();
    let (code, said) = machine.run(&["backbone", "verify"]);
    assert!(code == 0 && said.contains("recorded now"), "{said}");
    let mut changed = payload();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&place, changed).unwrap();
    let (code, said) = machine.run(&["backbone", "verify"]);
    assert!(code == 4 && said.contains("changed since it was first used"), "{said}");
    let image = project("demonstration/images");
    let out = machine.folder.path().join("out");
    let (code, said) =
        machine.run(&["segment", "--data", path_text(&image), "--out", path_text(&out), "--set", "vit.layers=[-1]"]);
    assert!(code == 4 && said.contains("not those that were recorded"), "{said}");
}

#[test]
fn servers_that_refuse_are_told_apart() {
    let refusing = |status: u16, code: &'static str| {
        Server::start(move |_| match code {
            "" => Reply::status(status),
            _ => Reply::status(status).with("x-error-code", code),
        })
    };
    for (status, code, exit, expected) in [
        (401, "GatedRepo", 2, ["ask for access", "HF_TOKEN"]),
        (403, "GatedRepo", 2, ["ask for access", "HF_TOKEN"]),
        (401, "RepoNotFound", 5, ["does not have it", "by other means"]),
        (404, "EntryNotFound", 5, ["does not have it", "EntryNotFound"]),
        (404, "", 5, ["does not have it", "backbones/dino-vits8.safetensors"]),
        (500, "", 5, ["status 500", "later"]),
        (503, "", 5, ["status 503", "later"]),
    ] {
        check(&format!("{status} {code}"), &refusing(status, code), exit, &expected);
    }
    check("404 after it was announced", &hub(|_| Reply::status(404)), 5, &["does not have it"]);
    let silent_on_commit = Server::start(|_| Reply { length: 10, ..Reply::status(200) }.with("etag", "\"tag\""));
    check("no Hub", &silent_on_commit, 4, &["as the Hub would"]);
    let escaping = Server::start(|_| Reply::status(200).with("etag", "\"../../x\"").with("x-repo-commit", COMMIT));
    check("a tag that is a path", &escaping, 4, &["no tag"]);
}

#[test]
fn servers_that_lie_leave_nothing_behind() {
    let longer = || [payload(), vec![7; 100]].concat();
    check(
        "longer than announced",
        &hub(move |_| Reply::file(&longer(), 0)),
        4,
        &["instead of", "nothing of it was kept"],
    );
    check("shorter than announced", &hub(|_| Reply::file(&payload()[..2000], 0)), 4, &["sends 2000 bytes instead of"]);
    let flipped = || {
        let mut bytes = payload();
        bytes[4000] ^= 1;
        bytes
    };
    check(
        "other bytes",
        &hub(move |_| Reply::file(&flipped(), 0)),
        4,
        &["SHA-256", "announced", "nothing of it was kept"],
    );
    let page = b"<!DOCTYPE html><title>Sign in</title>".to_vec();
    let bytes = page.clone();
    check("a page", &hub_of(page, move |_| Reply::file(&bytes, 0)), 4, &["no weights", "nothing of it was kept"]);
    let other_part = hub(|request| match request.offset() {
        0 => Reply::file(&payload(), 0).cut(1000),
        _ => Reply::file(&payload(), 10),
    });
    check("another part", &other_part, 4, &["another part"]);
}

#[test]
fn a_connection_that_breaks_off_is_gone_on_with() {
    // Once within a call, without a word.
    let once = hub(|request| match request.offset() {
        0 => Reply::file(&payload(), 0).cut(1000),
        offset => Reply::file(&payload(), offset),
    });
    let machine = Machine::new();
    let (code, said_once) = said(&machine.pull(&once));
    assert_eq!((code, once.requests("GET")), (0, 2), "{said_once}");
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());

    // For good: the next call goes on.
    let always = hub(|request| match request.offset() {
        0 => Reply::file(&payload(), 0).cut(1000),
        offset => Reply::file(&payload(), offset).cut(0),
    });
    let machine = Machine::new();
    let (code, said_always) = said(&machine.pull(&always));
    let expected = format!("broke off after 1000 of {} bytes", payload().len());
    assert!(
        code == 5 && said_always.contains(&expected) && said_always.contains("goes on from there"),
        "{said_always}"
    );
    let incomplete = machine.blobs(true);
    assert_eq!((incomplete.len(), fs::metadata(&incomplete[0]).unwrap().len()), (1, 1000));
    assert!(!machine.snapshot().exists());
    let server = good_hub();
    assert_eq!(said(&machine.pull(&server)).0, 0);
    let seen = server.seen.lock().unwrap();
    let ranges: Vec<&str> = seen.iter().filter_map(|request| Some(request.headers.get("range")?.as_str())).collect();
    assert_eq!(ranges, ["bytes=1000-"]);
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());

    // A server without ranges sends all of it again.
    let machine = Machine::new();
    said(&machine.pull(&always));
    assert_eq!(said(&machine.pull(&hub(|_| Reply::file(&payload(), 0)))).0, 0);
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());
}

#[test]
fn bytes_that_come_slowly_or_not_at_all_end_a_pull() {
    let trickle = |request: &Request| Reply {
        pause: Some(Duration::from_millis(100)),
        ..Reply::file(&payload(), request.offset())
    };
    let silent = |_: &Request| Reply { pause: Some(Duration::from_secs(3)), ..Reply::file(&payload(), 0).cut(1) };
    for (case, server) in [("trickle", hub(trickle)), ("silence", hub(silent))] {
        let began = Instant::now();
        check(case, &server, 5, &["almost nothing for 1 seconds", "goes on from there"]);
        assert!(began.elapsed() < Duration::from_secs(60), "{case}");
    }
    check("nothing", &hub(|_| Reply::file(&payload(), 0).cut(0)), 5, &["broke off after 0 of"]);
    // A server that takes the connection and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
    check("no answer", &server, 5, &["almost nothing"]);
    drop(listener);
    let nobody = Server { port: 9, seen: Arc::default() };
    check("nobody", &nobody, 5, &["cannot be reached", "by other means", "backbones/dino-vits8.safetensors"]);
}

#[test]
fn redirects_are_followed_without_the_token_and_not_for_ever() {
    let elsewhere = Server::start(|request| Reply::file(&payload(), request.offset()));
    let target = format!("{}/bytes?signed=1", elsewhere.address());
    let renamed = "/renamed/model.safetensors";
    let home = Server::start(move |request| match request.path == renamed {
        // As repositories do that have got another name.
        false => Reply::status(307).with("location", renamed),
        true => Reply::status(302)
            .with("x-repo-commit", COMMIT)
            .with("x-linked-etag", format!("\"{}\"", sha256(&payload())))
            .with("x-linked-size", payload().len())
            .with("location", &target),
    });
    let machine = Machine::new();
    let mut command = machine.deepcut(&["backbone", "pull", "dino-vits8", "--json"]);
    let output = command.env("HF_ENDPOINT", home.address()).env("HF_TOKEN", "hf_secret").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["transferred"], payload().len());
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());
    let authorised = |server: &Server| {
        let seen = server.seen.lock().unwrap();
        seen.iter().map(|request| request.headers.get("authorization").cloned()).collect::<Vec<_>>()
    };
    assert!(authorised(&home).iter().all(|token| token.as_deref() == Some("Bearer hf_secret")));
    assert_eq!(authorised(&elsewhere), [None]);

    let in_circles = Server::start(|request| Reply::status(302).with("location", format!("{}x", request.path)));
    check("redirect loop", &in_circles, 4, &["without end"]);
    assert!(in_circles.requests("HEAD") < 20);
    let to_a_file = hub(|_| Reply::status(302).with("location", "file:///etc/passwd"));
    check("redirect to a file", &to_a_file, 4, &["file:///etc/passwd", "no address to follow"]);
}

#[test]
fn without_a_connection_the_message_says_what_to_do() {
    let machine = Machine::new();
    let server = good_hub();
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let mut command = machine.deepcut(&["backbone", "pull", "dino-vits8"]);
        let output = command.env("HF_ENDPOINT", server.address()).env(variable, "1").output().unwrap();
        let (code, said) = said(&output);
        let place = machine.home().join("backbones/dino-vits8.safetensors");
        assert!(code == 2 && said.contains(variable) && said.contains(path_text(&place)), "{said}");
        assert!(said.contains(&format!("/{REPOSITORY}/resolve/main/model.safetensors")), "{said}");
        assert!(said.contains("--weights FILE"), "{said}");
    }
    assert_eq!(server.requests("HEAD"), 0);
    let (code, said) = machine.run(&["backbone", "pull", "dino-vits9"]);
    assert!(code == 2 && said.contains("dino-vits8, "), "{said}");
}

#[test]
fn bytes_that_no_commit_leads_to_count_only_if_they_are_the_file() {
    for (bytes, fetched) in [(b"no weights".to_vec(), 1), (payload(), 0)] {
        let machine = Machine::new();
        let blob = machine.repository().join("blobs").join(sha256(&payload()));
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, bytes).unwrap();
        let server = good_hub();
        let (code, said) = said(&machine.pull(&server));
        assert_eq!((code, server.requests("GET")), (0, fetched), "{said}");
        assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_changed_is_told_removed_from_every_commit_and_fetched_anew() {
    let (machine, server) = (Machine::new(), good_hub());
    assert_eq!(said(&machine.pull(&server)).0, 0);
    let other = machine.repository().join("snapshots").join("e".repeat(40));
    fs::create_dir_all(&other).unwrap();
    let link = fs::read_link(machine.snapshot()).unwrap();
    std::os::unix::fs::symlink(link, other.join("model.safetensors")).unwrap();
    fs::write(machine.snapshot().canonicalize().unwrap(), [payload(), vec![0]].concat()).unwrap();
    let (code, said_changed) = said(&machine.pull(&server));
    assert!(code == 4 && said_changed.contains("recorded when it was first used"), "{said_changed}");
    let (code, said_removed) = machine.run(&["backbone", "remove", "dino-vits8", "--yes"]);
    assert!(code == 0 && !machine.repository().exists(), "{said_removed}");
    assert_eq!(said(&machine.pull(&server)).0, 0);
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());
}

#[test]
fn what_another_program_has_downloaded_is_found() {
    let machine = Machine::new();
    let (tag, commit) = (sha256(&payload()), "f".repeat(40));
    let snapshot = machine.repository().join("snapshots").join(&commit);
    for folder in [&machine.repository().join("blobs"), &machine.repository().join("refs"), &snapshot] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(machine.repository().join("blobs").join(&tag), payload()).unwrap();
    fs::write(machine.repository().join("refs/main"), &commit).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(format!("../../blobs/{tag}"), snapshot.join("model.safetensors")).unwrap();
    #[cfg(not(unix))]
    fs::write(snapshot.join("model.safetensors"), payload()).unwrap();
    let server = good_hub();
    let (code, said_pull) = said(&machine.pull(&server));
    assert!(code == 0 && said_pull.contains("was here already"), "{said_pull}");
    assert_eq!(server.requests("HEAD"), 0);
    let (code, said) = machine.run(&["backbone"]);
    assert!(code == 0 && said.contains(path_text(&snapshot)), "{said}");
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let machine = Machine::new();
    let server = hub(|request| {
        thread::sleep(Duration::from_millis(300));
        Reply::file(&payload(), request.offset())
    });
    let pull = || machine.deepcut(&["backbone", "pull"]).env("HF_ENDPOINT", server.address()).output().unwrap();
    let outputs = thread::scope(|scope| [scope.spawn(pull), scope.spawn(pull)].map(|pull| pull.join().unwrap()));
    for output in &outputs {
        assert_eq!(said(output).0, 0, "{}", said(output).1);
    }
    assert_eq!(server.requests("GET"), 1);
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());
}

#[cfg(unix)]
#[test]
fn an_interrupted_pull_ends_at_once_and_goes_on() {
    let machine = Machine::new();
    let server = hub(|request| match request.offset() {
        0 => Reply { pause: Some(Duration::from_millis(1)), ..Reply::file(&payload(), 0) },
        offset => Reply::file(&payload(), offset),
    });
    let mut command = machine.deepcut(&["backbone", "pull"]);
    command.env("HF_ENDPOINT", server.address()).env("DEEPCUT_HUB_PATIENCE", "60");
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let has_begun =
        || machine.blobs(true).first().is_some_and(|path| fs::metadata(path).is_ok_and(|it| it.len() > 100));
    while !has_begun() {
        assert!(began.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let error = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(error.contains("what came so far is kept"), "{error}");
    assert!(!machine.snapshot().exists());
    assert_eq!(said(&machine.pull(&server)).0, 0);
    assert_eq!(fs::read(machine.snapshot()).unwrap(), payload());
    assert!(server.seen.lock().unwrap().iter().any(|request| request.offset() > 0));
}

#[test]
fn a_checkpoint_keeps_the_settings_of_its_backbone_and_finds_it_by_its_hash() {
    let machine = Machine::new();
    assert_eq!(said(&machine.pull(&good_hub())).0, 0);
    let (data, out) = (machine.folder.path().join("images"), machine.folder.path().join("model"));
    fs::create_dir(&data).unwrap();
    for entry in fs::read_dir(project("demonstration/images")).unwrap().flatten().take(3) {
        fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
    }
    // The stand-in has three blocks only; all the rest is what the list of backbones says.
    let small = ["--set", "vit.layers=[-1]", "--set", "vit.head_width=8", "--set", "vit.remove_position=0"];
    let quick = ["--epochs", "1", "--set", "train.restarts=1", "--set", "train.self_training=false"];
    let train = ["train", "--data", path_text(&data), "--out", path_text(&out), "--weights", "dino-vits8"];
    let (code, said_train) = machine.run(&[&train[..], &small, &quick].concat());
    assert_eq!(code, 0, "{said_train}");
    let checkpoint = out.join("best.safetensors");
    let (_, json) = machine.run(&["inspect", path_text(&checkpoint), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let vit = &json["config"]["vit"];
    assert_eq!((&vit["stride"], &vit["input_side"]), (&8.into(), &280.into()), "{vit}");
    assert_eq!(json["backbone_hash"], blake3::hash(&payload()).to_hex().to_string());

    // Also where other weights are installed for all runs.
    fs::copy(project("tests/golden/tiny_vit.pth"), machine.home().join("backbone.pth")).unwrap();
    let results = machine.folder.path().join("results");
    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&results)];
    let (code, said_infer) = machine.run(&infer);
    assert_eq!(code, 0, "{said_infer}");
    assert!(said_infer.contains(path_text(&machine.snapshot())), "{said_infer}");
}

#[test]
fn settings_of_a_known_file_are_its_backbones_and_the_users_word_is_above_them() {
    let folder = tempfile::tempdir().unwrap();
    let known = folder.path().join("dino_deitsmall8_pretrain.pth");
    fs::write(&known, payload()).unwrap();
    let unknown = folder.path().join("weights.pth");
    fs::write(&unknown, payload()).unwrap();
    let stride = |weights: &Path, further: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let vit = ["--weights", path_text(weights), "--set", "vit.layers=[-1]", "--set", "vit.head_width=8"];
        let quick = ["--epochs", "1", "--set", "train.restarts=1", "--set", "train.self_training=false"];
        let small = ["--set", "vit.input_side=32", "--set", "vit.remove_position=0"];
        let checkpoint = train_demonstration(out.path(), &[&vit[..], &quick, &small, further].concat());
        let output = program(&["inspect", path_text(&checkpoint), "--json"]).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["config"]["vit"]["stride"].clone()
    };
    assert_eq!(stride(&known, &[]), 8);
    assert_eq!(stride(&known, &["--set", "vit.stride=4"]), 4);
    assert_eq!(stride(&unknown, &[]), serde_json::Value::Null);
}
