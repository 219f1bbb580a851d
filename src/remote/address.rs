//! Addresses of what lies elsewhere, as they are given for paths.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::names::percent_decoded;

/// How what lies elsewhere is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Amazon S3, and all that speak as it does.
    S3,
    GoogleCloud,
    Azure,
    /// A web server.
    Web {
        encrypted: bool,
    },
}

const SERVICES: [(&str, Service); 5] = [
    ("s3", Service::S3),
    ("gs", Service::GoogleCloud),
    ("az", Service::Azure),
    ("https", Service::Web { encrypted: true }),
    ("http", Service::Web { encrypted: false }),
];

/// Where something is that lies elsewhere: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`, `https://host/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub service: Service,
    /// The bucket or container, or the host with its port.
    pub container: String,
    /// The key or path, without `/` at its ends, its parts neither empty nor `.` or `..`; of web servers without percent signs.
    pub key: String,
}

impl Address {
    /// The address that a path is; none where it is one of this machine.
    pub fn of(path: &Path) -> Option<Address> {
        let text = path.to_str()?;
        let (scheme, rest) = text.split_once(":/")?;
        let (_, service) = *SERVICES.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name))?;
        // What was put together part by part has one slash there, and on some systems others than these.
        let rest = if cfg!(windows) { rest.replace('\\', "/") } else { rest.to_string() };
        let mut parts = rest.trim_start_matches('/').split('/');
        let container = parts.next().unwrap_or_default().to_string();
        let mut key: Vec<String> = Vec::new();
        for part in parts {
            match part {
                "" | "." => {}
                ".." => drop(key.pop()),
                part if matches!(service, Service::Web { .. }) => {
                    key.push(percent_decoded(part).unwrap_or_else(|| part.into()));
                }
                part => key.push(part.into()),
            }
        }
        Some(Address { service, container, key: key.join("/") })
    }

    /// The address of what lies below this one under a name with `/` between its parts.
    pub fn join(&self, name: &str) -> Address {
        let key = if name.is_empty() {
            self.key.clone()
        } else if self.key.is_empty() {
            name.to_string()
        } else {
            format!("{}/{name}", self.key)
        };
        Address { key, ..self.clone() }
    }

    /// The address in one spelling, for comparing.
    pub fn as_path(&self) -> PathBuf {
        let scheme = SERVICES.iter().find(|(_, service)| *service == self.service).map_or("", |(name, _)| name);
        [&format!("{scheme}:"), &self.container, &self.key].iter().collect()
    }

    /// Why nothing can be there, if so.
    pub fn fault(&self) -> Option<&'static str> {
        if self.container.is_empty() {
            return Some("it names no bucket, container or server; write it as s3://bucket/folder");
        }
        if matches!(self.service, Service::Web { .. }) && self.key.contains(['?', '#']) {
            return Some("what follows ? or # is not sent to a server; give a plain address, or fetch the file");
        }
        None
    }

    /// What the keys of all that lies below begin with.
    #[cfg(feature = "remote")]
    pub fn prefix(&self) -> String {
        if self.key.is_empty() { String::new() } else { format!("{}/", self.key) }
    }
}

impl Service {
    /// What tells who asks, and whom.
    pub fn settings(self) -> &'static str {
        match self {
            Service::S3 => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for a public bucket AWS_SKIP_SIGNATURE=true), AWS_REGION, and \
                 for a service other than Amazon's AWS_ENDPOINT_URL (with AWS_ALLOW_HTTP=true if that begins with http:)"
            }
            Service::GoogleCloud => {
                "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to the file of an account's key (for a public \
                 bucket GOOGLE_SKIP_SIGNATURE=true)"
            }
            Service::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN (for a public container \
                 AZURE_SKIP_SIGNATURE=true)"
            }
            Service::Web { .. } => "web servers are asked without any password: fetch the file yourself",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Service::S3 => "S3",
            Service::GoogleCloud => "Google Cloud Storage",
            Service::Azure => "Azure Blob Storage",
            Service::Web { .. } => "the web server",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_a_scheme_are_addresses() {
        for (path, expected) in [
            ("s3://bucket/a/b c.jpg", Some((Service::S3, "bucket", "a/b c.jpg"))),
            ("S3://bucket", Some((Service::S3, "bucket", ""))),
            ("gs:/bucket/a/", Some((Service::GoogleCloud, "bucket", "a"))),
            ("az://box//a/./x/../100%25.jpg", Some((Service::Azure, "box", "a/100%25.jpg"))),
            ("https://host:81/a%20b/%C3%A9.tar", Some((Service::Web { encrypted: true }, "host:81", "a b/é.tar"))),
            ("http://host/../../a", Some((Service::Web { encrypted: false }, "host", "a"))),
            ("a/b", None),
            ("ftp://host/a", None),
            ("C:/a", None),
            ("/s3:/a", None),
        ] {
            let found = Address::of(Path::new(path));
            let found = found.as_ref().map(|found| (found.service, &*found.container, &*found.key));
            assert_eq!(found, expected, "{path}");
        }
        for (path, is_good) in [
            ("s3://", false),
            ("s3://b", true),
            ("s3://b/a?b", true),
            ("https://h/a?b=c", false),
            ("https://h/a%3Fb", false),
        ] {
            assert_eq!(Address::of(Path::new(path)).unwrap().fault().is_none(), is_good, "{path}");
        }
    }
}
