//! A server on this machine that speaks as much of S3 and of the web as is needed, and fails as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Keys on a page of a listing.
const PAGE: usize = 7;

#[derive(Clone, Copy, PartialEq)]
pub enum Mood {
    Good,
    /// Every tenth request is dropped: without an answer, as more than can be served, or in the midst of the answer.
    Failing,
    /// All requests for this key are more than can be served.
    Refusing(&'static str),
}

/// The bucket `photos`, which is also the site `/web/`, and `/whole/`, of which no parts are sent.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mood,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Keys in the order in which they were written.
    written: Mutex<Vec<String>>,
    requests: AtomicUsize,
    failed: AtomicUsize,
}

#[derive(Default)]
struct Request {
    method: String,
    target: String,
    range: Option<(usize, usize)>,
    body: Vec<u8>,
}

struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Reply {
    fn of(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: String::new(), body: body.into() }
    }
}

impl Server {
    pub fn start(mood: Mood, objects: BTreeMap<String, Vec<u8>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared =
            Arc::new(Shared { mood, objects: Mutex::new(objects), written: Mutex::default(), requests, failed });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                // A client that has gone away is its own matter.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Server { port, shared }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Requests that were dropped.
    pub fn failed(&self) -> usize {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// The keys that were written since this was last asked, in their order.
    pub fn written(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.written.lock().unwrap())
    }

    /// All that lies below a key, by what follows it.
    pub fn below(&self, key: &str) -> BTreeMap<String, Vec<u8>> {
        let objects = self.shared.objects.lock().unwrap();
        objects.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(key)?.to_string(), bytes.clone()))).collect()
    }

    pub fn replace(&self, objects: BTreeMap<String, Vec<u8>>) {
        *self.shared.objects.lock().unwrap() = objects;
    }
}

impl Shared {
    /// Answers one request, then closes the connection.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut request = Request::default();
        for (number, line) in
            reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).enumerate()
        {
            if number == 0 {
                let mut words = line.split(' ').map(str::to_string);
                (request.method, request.target) = (words.next().unwrap(), words.next().unwrap());
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("range", value) => {
                    let (start, end) = value.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                    request.range = Some((start.parse().unwrap(), end.parse().unwrap()));
                }
                ("content-length", value) => request.body = vec![0; value.parse().unwrap()],
                _ => {}
            }
        }
        if request.method.is_empty() {
            return Ok(());
        }
        reader.read_exact(&mut request.body)?;
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fails = self.mood == Mood::Failing && number % 10 == 9;
        self.failed.fetch_add(usize::from(fails), Ordering::Relaxed);
        let mut reply = match number / 10 % 3 {
            0 if fails => return Ok(()),
            1 if fails => Reply::of(503, "<Error><Code>SlowDown</Code></Error>"),
            _ => self.reply(&request),
        };
        let announced = reply.body.len();
        if fails {
            // What was done is not undone by an answer that does not come.
            reply.body.truncate(announced / 2);
        }
        let Reply { status, headers, body } = reply;
        let head =
            format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {announced}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes())?;
        if request.method == "HEAD" { Ok(()) } else { stream.write_all(&body) }
    }

    fn reply(&self, request: &Request) -> Reply {
        let target = &*request.target;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = decoded(path);
        let (site, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let mut objects = self.objects.lock().unwrap();
        match site {
            "secret" => return Reply::of(403, "<Error><Code>AccessDenied</Code></Error>"),
            "photos" if request.method == "POST" => {
                let body = String::from_utf8(request.body.clone()).unwrap();
                for key in body.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap()) {
                    objects.remove(&unescaped(key));
                }
                return Reply::of(200, "<DeleteResult></DeleteResult>");
            }
            "photos" if request.method == "PUT" => {
                objects.insert(key.to_string(), request.body.clone());
                self.written.lock().unwrap().push(key.to_string());
                return Reply { headers: "etag: \"1\"\r\n".into(), ..Reply::of(200, "") };
            }
            "photos" if key.is_empty() => return Reply::of(200, page(&objects, query)),
            "photos" | "web" | "whole" => {}
            _ => return Reply::of(404, "<Error><Code>NoSuchBucket</Code></Error>"),
        }
        if matches!(self.mood, Mood::Refusing(refused) if refused == key) {
            return Reply::of(503, "<Error><Code>SlowDown</Code></Error>");
        }
        let Some(bytes) = objects.get(key) else { return Reply::of(404, "<Error><Code>NoSuchKey</Code></Error>") };
        let mut reply = match request.range.filter(|_| site != "whole") {
            Some((start, _)) if start >= bytes.len() => return Reply::of(416, ""),
            Some((start, end)) => {
                let end = end.min(bytes.len() - 1);
                let mut reply = Reply::of(206, &bytes[start..=end]);
                reply.headers = format!("content-range: bytes {start}-{end}/{}\r\n", bytes.len());
                reply
            }
            None => Reply::of(200, &bytes[..]),
        };
        let tag = bytes.iter().fold(bytes.len() as u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        let _ = write!(reply.headers, "etag: \"{tag:x}\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
        reply
    }
}

/// One page of a listing, in the order of the keys' bytes.
fn page(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> String {
    let query: BTreeMap<&str, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name, decoded(&value.replace('+', " "))))
        .collect();
    let get = |name: &str| query.get(name).cloned().unwrap_or_default();
    let (prefix, delimiter, token) = (get("prefix"), get("delimiter"), get("continuation-token"));
    let most = get("max-keys").parse().unwrap_or(PAGE);
    let entries: BTreeSet<(String, Option<usize>)> = objects
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix))
        .map(|(key, bytes)| match key[prefix.len()..].find('/').filter(|_| !delimiter.is_empty()) {
            Some(end) => (key[..prefix.len() + end + 1].to_string(), None),
            None => (key.clone(), Some(bytes.len())),
        })
        .filter(|(key, _)| *key > token)
        .collect();
    let mut text = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
    if let Some((last, _)) = entries.iter().take(most).next_back().filter(|_| entries.len() > most) {
        let _ = write!(
            text,
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
            escaped(last)
        );
    }
    for (key, bytes) in entries.iter().take(most) {
        let key = escaped(key);
        let _ = match bytes {
            None => write!(text, "<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>"),
            Some(bytes) => write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;1&quot;</ETag>\
                 <Size>{bytes}</Size></Contents>"
            ),
        };
    }
    text + "</ListBucketResult>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&apos;", "'").replace("&quot;", "\"").replace("&amp;", "&")
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let value = (first == b'%').then(|| u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
        bytes.push(value.unwrap_or(first));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap()
}
