//! Requests to the Hub and to plain addresses: one at a time, under limits, and with the user's token for the Hub alone.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::cache;
use super::error::Fault;
use crate::files;

/// Addresses that a request is led through.
const MOST_REDIRECTS: usize = 10;

/// Certificates that a user trusts.
const MOST_CERTIFICATE_BYTES: u64 = 8 << 20;

/// Asks servers.
pub(super) struct Client {
    agent: Agent,
    /// Where the token may go, and the token.
    token: Option<(String, String)>,
    patience: Duration,
}

/// Which answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// The headers, of the first server that knows the file.
    Head,
    /// The bytes from an offset on, if they are still those of a tag.
    From(u64, Option<&'a str>),
}

/// What a server answered.
pub(super) struct Answer {
    pub host: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Box<dyn Read>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// The answer if it is a success, or else what it means.
    pub fn success(self) -> Result<Answer, Fault> {
        let (host, status) = (self.host.clone(), self.status);
        let code = self.header("x-error-code").filter(|code| cache::is_plain_name(code)).map(String::from);
        match (status, code.as_deref()) {
            (200..=299, _) => Ok(self),
            // The Hub says so of repositories that there are not, too: their names are nobody's business.
            (404, _) | (_, Some("RepoNotFound" | "EntryNotFound" | "RevisionNotFound")) => {
                Err(Fault::Absent { host, status, code })
            }
            (401 | 403, _) => Err(Fault::Gated { host, status }),
            _ => Err(Fault::Failed { host, status }),
        }
    }
}

impl Client {
    /// A client that gives a server so long to say something.
    pub fn new(patience: Duration) -> Result<Client, Fault> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("deepcut/", env!("CARGO_PKG_VERSION")))
            // Lengths and ranges are those of the file.
            .accept_encoding("identity")
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_send_request(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .tls_config(TlsConfig::builder().root_certs(root_certificates()?).build());
        let token = cache::token().and_then(|token| Some((origin(&cache::endpoint().parse().ok()?)?, token)));
        Ok(Client { agent: config.build().new_agent(), token, patience })
    }

    /// Asks at an address and wherever it leads to.
    pub fn ask(&self, address: &str, ask: Ask) -> Result<Answer, Fault> {
        let no_address = || Fault::Redirect { host: "the list of backbones".into(), to: address.to_string() };
        let mut address: Uri = address.parse().map_err(|_| no_address())?;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.ask_once(&address, ask)?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = follow(&address, &answer)?;
            // Elsewhere the file may have another tag; what the Hub calls it is asked for.
            if ask == Ask::Head && (answer.headers.contains_key("x-linked-etag") || origin(&next) != origin(&address)) {
                return Ok(answer);
            }
            address = next;
        }
        Err(Fault::RedirectLoop { host: host(&address) })
    }

    fn ask_once(&self, address: &Uri, ask: Ask) -> Result<Answer, Fault> {
        let host = host(address);
        let mut request = match ask {
            Ask::Head => self.agent.head(address),
            Ask::From(..) => self.agent.get(address),
        };
        if let Ask::From(offset @ 1.., tag) = ask {
            request = request.header("range", format!("bytes={offset}-"));
            if let Some(tag) = tag {
                request = request.header("if-range", tag);
            }
        }
        if let Some((home, token)) = &self.token
            && origin(address).as_ref() == Some(home)
        {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request.call().map_err(|error| self.unanswered(&host, &error))?;
        let (parts, body) = answer.into_parts();
        Ok(Answer { host, status: parts.status.as_u16(), headers: parts.headers, body: Box::new(body.into_reader()) })
    }

    fn unanswered(&self, host: &str, error: &ureq::Error) -> Fault {
        let host = host.to_string();
        match error {
            ureq::Error::Timeout(ureq::Timeout::RecvResponse | ureq::Timeout::PerRead) => {
                Fault::Slow { host, seconds: self.patience.as_secs(), received: 0 }
            }
            ureq::Error::Protocol(error) => Fault::Answer { host, what: format!("no HTTP ({error})") },
            other => Fault::Unreachable { host, reason: other.to_string() },
        }
    }
}

/// The certificates that servers are trusted by: those of `SSL_CERT_FILE`, for networks with one of their own, or else Mozilla's.
fn root_certificates() -> Result<RootCerts, Fault> {
    let Some(path) = super::super::installed::path_variable("SSL_CERT_FILE") else { return Ok(RootCerts::WebPki) };
    let unreadable = |reason: String| Fault::Unreachable {
        host: "every server".into(),
        reason: format!("the certificates of SSL_CERT_FILE, {}, cannot be read: {reason}", path.display()),
    };
    let bytes = files::read(&path, MOST_CERTIFICATE_BYTES).map_err(|error| unreadable(error.to_string()))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(unreadable("it holds none".into())),
        false => Ok(RootCerts::Specific(Arc::new(certificates))),
    }
}

/// The host of an address, for messages.
pub(super) fn host_of(address: &str) -> String {
    address.parse().map_or_else(|_| address.to_string(), |address| host(&address))
}

fn host(address: &Uri) -> String {
    address.host().unwrap_or_default().to_string()
}

/// Scheme, host and port.
fn origin(address: &Uri) -> Option<String> {
    let (scheme, host) = (address.scheme_str()?, address.host()?.to_ascii_lowercase());
    let port = address.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some(format!("{scheme}://{host}:{port}"))
}

/// Where an answer leads to: never from an encrypted connection to one that is not.
fn follow(from: &Uri, answer: &Answer) -> Result<Uri, Fault> {
    let location = answer.header("location").unwrap_or_default();
    let refused = || {
        let to = location.chars().filter(|character| character.is_ascii_graphic()).take(200).collect();
        Fault::Redirect { host: host(from), to }
    };
    let scheme = from.scheme_str().unwrap_or("https");
    let whole = match location {
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => {
            let authority = from.authority().ok_or_else(refused)?;
            format!("{scheme}://{authority}{location}")
        }
        _ => location.to_string(),
    };
    let next: Uri = whole.parse().map_err(|_| refused())?;
    let is_allowed = match next.scheme_str() {
        Some("https") => true,
        Some("http") => scheme == "http",
        _ => false,
    };
    if is_allowed && next.host().is_some() { Ok(next) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_encrypted_and_have_addresses() {
        let follow_to = |from: &str, to: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("location", to.parse().unwrap());
            let body = Box::new(std::io::empty());
            let answer = Answer { host: String::new(), status: 302, headers, body };
            follow(&from.parse().unwrap(), &answer).ok().map(|next| next.to_string())
        };
        for (from, to, expected) in [
            ("https://a.b/c", "/d?e", Some("https://a.b/d?e")),
            ("http://a.b:81/c", "/d", Some("http://a.b:81/d")),
            ("https://a.b/c", "//x.y/d", Some("https://x.y/d")),
            ("http://a.b/c", "https://x.y/d", Some("https://x.y/d")),
            ("https://a.b/c", "http://a.b/c", None),
            ("https://a.b/c", "file:///etc/passwd", None),
            ("https://a.b/c", "d", None),
            ("https://a.b/c", "", None),
        ] {
            assert_eq!(follow_to(from, to).as_deref(), expected, "{from} {to}");
        }
    }
}
