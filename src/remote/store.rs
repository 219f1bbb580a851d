//! Object stores through the crate of that name, which works in futures: here alone they are waited for.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};

use super::{Address, Listing, Part, RemoteError, Service};
use crate::files;
use crate::parallel::lock;

/// A request that fails is repeated so often, which takes 13 seconds beside the requests themselves.
const RETRIES: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// What fails only when the answer is read is asked for again so often, unless it has taken longer than this already.
const ATTEMPTS: u32 = 4;
const LONGEST: Duration = Duration::from_secs(5);
/// A larger file is sent in parts, of which services take only so many.
const PART_BYTES: u64 = 16 << 20;
const MOST_PARTS: u64 = 9000;
/// Of what a server says so much is shown.
const SHOWN: usize = 300;

/// A bucket, a container or a web server.
struct Store {
    objects: Arc<dyn ObjectStore>,
    /// None where nothing can be listed.
    pages: Option<Arc<dyn PaginatedListStore>>,
}

/// By the names of their buckets, containers or hosts.
type Stores = HashMap<(Service, String), Arc<Store>>;

/// What the futures run on; an error where the system gives no threads for it.
fn runtime() -> Result<&'static Runtime, String> {
    static RUNTIME: LazyLock<io::Result<Runtime>> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build());
    RUNTIME.as_ref().map_err(ToString::to_string)
}

/// Every store is opened once: its connections are used again.
fn store(address: &Address) -> Result<Arc<Store>, RemoteError> {
    static STORES: LazyLock<Mutex<Stores>> = LazyLock::new(Mutex::default);
    if let Some(fault) = address.fault() {
        return Err(RemoteError::Address(fault));
    }
    let mut stores = lock(&STORES);
    let key = (address.service, address.container.clone());
    if let Some(store) = stores.get(&key) {
        return Ok(Arc::clone(store));
    }
    // Before the first client is made, which panics without. Where it is set already, that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = |error: Error| RemoteError::Settings { service: address.service, reason: reason(&error) };
    let store = Arc::new(opened(address).map_err(settings)?);
    stores.insert(key, Arc::clone(&store));
    Ok(store)
}

fn opened(address: &Address) -> Result<Store, Error> {
    let container = &address.container;
    let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 };
    let retry = RetryConfig { backoff, max_retries: RETRIES, ..RetryConfig::default() };
    Ok(match address.service {
        Service::S3 => {
            let store = Arc::new(AmazonS3Builder::from_env().with_bucket_name(container).with_retry(retry).build()?);
            Store { objects: store.clone(), pages: Some(store) }
        }
        Service::GoogleCloud => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(container);
            let store = Arc::new(builder.with_retry(retry).build()?);
            Store { objects: store.clone(), pages: Some(store) }
        }
        Service::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
            let store = Arc::new(builder.with_retry(retry).build()?);
            Store { objects: store.clone(), pages: Some(store) }
        }
        Service::Web { encrypted } => {
            let scheme = if encrypted { "https" } else { "http" };
            let builder = HttpBuilder::new().with_url(format!("{scheme}://{container}")).with_retry(retry);
            let builder = builder.with_config(ClientConfigKey::AllowHttp, if encrypted { "false" } else { "true" });
            Store { objects: Arc::new(builder.build()?), pages: None }
        }
    })
}

/// Waits for what `ask` gives, and asks again where that has failed soon.
fn wait<T, F>(address: &Address, ask: impl Fn() -> F) -> Result<T, RemoteError>
where
    F: Future<Output = Result<T, Error>>,
{
    let failed = |reason| RemoteError::Failed { service: address.service, reason };
    let runtime = runtime().map_err(failed)?;
    let (began, mut attempt) = (Instant::now(), 1);
    loop {
        let error = match runtime.block_on(ask()) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !matches!(error, Error::Generic { .. }) || attempt == ATTEMPTS || began.elapsed() > LONGEST {
            return Err(worded(&error, address.service));
        }
        std::thread::sleep(FIRST_PAUSE * attempt);
        attempt += 1;
    }
}

fn location(address: &Address) -> Result<Path, RemoteError> {
    Path::parse(&address.key).map_err(|_| RemoteError::Name { name: address.key.clone() })
}

/// Bytes of an object, or as many of them as there are; an object that has another tag than is expected has changed.
pub(super) fn part(address: &Address, range: Range<u64>, tag: Option<&str>) -> Result<Part, RemoteError> {
    let begins = range.start == 0;
    let options = GetOptions { range: Some(range.into()), if_match: tag.map(str::to_string), ..GetOptions::default() };
    match get(address, options, u64::MAX) {
        // Of an object without bytes no range can be had.
        Err(RemoteError::Failed { reason, .. }) if begins && reason.contains("416") && size(address) == Ok(0) => {
            Ok(Part { bytes: Vec::new(), size: 0, tag: None })
        }
        part => part,
    }
}

/// A whole object of at most `most` bytes.
pub(super) fn whole(address: &Address, most: u64) -> Result<Part, RemoteError> {
    get(address, GetOptions::default(), most)
}

fn get(address: &Address, options: GetOptions, most: u64) -> Result<Part, RemoteError> {
    let (store, location) = (store(address)?, location(address)?);
    let part = wait(address, || async {
        let found = store.objects.get_opts(&location, options.clone()).await?;
        let (size, tag) = (found.meta.size, found.meta.e_tag.clone());
        let bytes = if size <= most { Some(found.bytes().await?) } else { None };
        Ok(bytes.map(|bytes| Part { bytes: bytes.into(), size, tag }))
    })?;
    part.ok_or(RemoteError::NoParts)
}

/// Bytes of an object.
pub(super) fn size(address: &Address) -> Result<u64, RemoteError> {
    let (store, location) = (store(address)?, location(address)?);
    let options = GetOptions { head: true, ..GetOptions::default() };
    let found = wait(address, || store.objects.get_opts(&location, options.clone()))?;
    Ok(found.meta.size)
}

/// What lies right below an address.
pub(super) fn list(address: &Address) -> Result<Listing, RemoteError> {
    let (mut listing, mut token) = (Listing::default(), None);
    let own = location(address)?;
    loop {
        let delimiter = Some("/".into());
        let options = PaginatedListOptions { delimiter, page_token: token, ..PaginatedListOptions::default() };
        let page = page(address, &options)?;
        let folders = page.result.common_prefixes.iter().filter_map(|folder| folder.filename());
        listing.folders.extend(folders.map(str::to_string));
        // Some programs put an empty object with the folder's own name into it.
        let objects = page.result.objects.iter().filter(|object| object.location != own);
        let objects = objects.filter_map(|object| Some((object.location.filename()?.to_string(), object.size)));
        listing.objects.extend(objects);
        token = page.page_token;
        if token.is_none() {
            return Ok(listing);
        }
    }
}

/// Puts the bytes of a file into an object: at once, or in parts of which it is made when all are there.
pub(super) fn put(address: &Address, mut file: File, bytes: u64) -> Result<(), RemoteError> {
    let (store, location) = (store(address)?, location(address)?);
    let mut read = |most: u64| {
        let part = files::read_rest(io::Read::take(&mut file, most), most, most.min(bytes));
        part.map(PutPayload::from).map_err(RemoteError::of_disk)
    };
    if bytes <= PART_BYTES {
        // A file that grows is no finished one: what it has now is sent.
        let content = read(PART_BYTES)?;
        wait(address, || store.objects.put_opts(&location, content.clone(), PutOptions::default()))?;
        return Ok(());
    }
    let part_bytes = PART_BYTES.max(bytes.div_ceil(MOST_PARTS));
    let mut upload = wait(address, || store.objects.put_multipart_opts(&location, PutMultipartOptions::default()))?;
    let failed = |error: Error| worded(&error, address.service);
    let runtime = runtime().map_err(|reason| RemoteError::Failed { service: address.service, reason })?;
    let mut left = bytes;
    while left > 0 {
        let part = read(part_bytes.min(left))?;
        let length = part.content_length() as u64;
        left -= length.min(left);
        let sent = if length == 0 {
            Err(RemoteError::Changed)
        } else {
            runtime.block_on(upload.put_part(part)).map_err(failed)
        };
        if let Err(error) = sent {
            // Parts that nothing is made of cost money; where they cannot be removed either, the error is told already.
            let _ = runtime.block_on(upload.abort());
            return Err(error);
        }
    }
    runtime.block_on(upload.complete()).map(drop).map_err(failed)
}

/// Removes an object.
pub(super) fn remove(address: &Address) -> Result<(), RemoteError> {
    let (store, location) = (store(address)?, location(address)?);
    wait(address, || async { ObjectStoreExt::delete(&*store.objects, &location).await })
}

/// Whether anything lies below an address.
pub(super) fn is_folder(address: &Address) -> Result<bool, RemoteError> {
    let page = page(address, &PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() })?;
    Ok(!page.result.objects.is_empty() || !page.result.common_prefixes.is_empty())
}

fn page(
    address: &Address,
    options: &PaginatedListOptions,
) -> Result<object_store::list::PaginatedListResult, RemoteError> {
    let store = store(address)?;
    let pages = store.pages.as_ref().ok_or(RemoteError::NoListing)?;
    let prefix = address.prefix();
    let prefix = Some(&*prefix).filter(|prefix| !prefix.is_empty());
    wait(address, || pages.list_paginated(prefix, options.clone()))
}

/// The error as it is told.
fn worded(error: &Error, service: Service) -> RemoteError {
    let reason = reason(error);
    match error {
        Error::NotFound { .. } => RemoteError::Missing { service, reason },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => RemoteError::Refused { service, reason },
        Error::Precondition { .. } => RemoteError::Changed,
        Error::NotSupported { .. } => RemoteError::NoParts,
        Error::InvalidPath { source } => RemoteError::Name { name: source.to_string() },
        Error::UnknownConfigurationKey { .. } => RemoteError::Settings { service, reason },
        // Of a listing the crate does not tell that there is no such bucket.
        _ if reason.contains("status code: 404") => RemoteError::Missing { service, reason },
        // Where no key is set, the machine is asked what it may do: as one in the service's own computing centre.
        _ if ["169.254.", "metadata.google", "redential"].iter().any(|sign| reason.contains(sign)) => {
            RemoteError::NoCredentials { service, reason }
        }
        _ => RemoteError::Failed { service, reason },
    }
}

/// What the store says, in one line, with the cause of all.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let (text, innermost) = (error.to_string(), cause.to_string());
    let text = if text.contains(&innermost) { text } else { format!("{text}: {innermost}") };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
