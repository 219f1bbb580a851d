//! What a collection of images is: a folder, a file that lists or holds images, one image, or several of these.
//!
//! A collection yields its records in one order, whatever the file system: by the bytes of the path's components, a
//! folder's files and sub-folders together. Every record knows where its results go below an output folder.
//! Its bytes are had through [`Stored`], whether they are a file by themselves or lie in one.
//! [`shards`] cuts a collection for several machines. [`truth`] reads what people know about the images of a collection.

mod archive;
mod braces;
mod discovery;
mod distinct;
mod error;
mod ignored;
mod list;
mod own_results;
mod passed_over;
mod places;
mod remote_folder;
pub mod sample;
pub mod shards;
mod sources;
mod stored;
#[cfg(feature = "parquet")]
mod table;
mod text;
pub mod truth;

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::{fs, io, iter};

use burn_dataset::Dataset;

pub use error::DatasetError;
pub use sample::{FrameUse, SampleConfig, TooManyBad};
pub use shards::Input;
pub use sources::Sources;
pub use stored::Stored;

use crate::files;
use crate::parallel::lock;
use crate::pixels::{DecodeConfig, ImageContent, ImageItem, count_frames};
use crate::remote::{self, Address, RemoteError};
use list::ImageList;
use passed_over::PassedOver;
use places::Places;
use shards::PlannedShard;

/// The extensions of image files, in lower case; a file's own may be in any case. A file with one of them is taken for an
/// image whatever is in it, any other file if it begins as one.
pub const IMAGE_EXTENSIONS: [&str; 12] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "bmp", "dib", "gif", "tif", "tiff"];

/// What every Parquet file begins with.
const TABLE_MAGIC: &[u8] = b"PAR1";

/// One image of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// What the image is called in messages: its file's path, or the path of the file that it lies in with its name there.
    pub path: PathBuf,
    /// Where its bytes are.
    pub stored: Stored,
    /// Which of the file's frames or pages it is, counted from 0; none for the first of a file that is taken as one image.
    pub frame: Option<u32>,
    /// The image's place within the collection: at least one component, all of them ordinary names, so that it stays
    /// below any folder it is joined to. No two images of a collection have one.
    pub relative: PathBuf,
    /// The place of its results below an output folder, to which every kind of result adds its own extension: `relative`
    /// without the extension, or where an image before it has that, with it. No two images of a collection have one.
    pub output: PathBuf,
}

impl ImageItem for Record {
    fn content(&self, limits: &DecodeConfig) -> Result<ImageContent, String> {
        let (file, length) = self.stored.open(&self.path)?;
        ImageContent::read_from(file, length, self.frame, limits)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

impl Record {
    /// The path of a file that is this image and nothing else, where it is one.
    pub fn own_file(&self) -> Option<&Path> {
        (self.stored == Stored::File && self.frame.is_none()).then_some(&*self.path)
    }
}

/// An image as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    stored: Stored,
    frame: Option<u32>,
    relative: PathBuf,
}

impl Found {
    fn file(path: PathBuf, relative: PathBuf) -> Found {
        Found { path, stored: Stored::File, frame: None, relative }
    }

    fn object(path: PathBuf, length: Option<u64>, relative: PathBuf) -> Found {
        Found { path, stored: Stored::Object { length }, frame: None, relative }
    }

    /// How many pictures it holds; one also where they cannot be counted, for whoever reads it to say why.
    fn count_frames(&self) -> u32 {
        let opened = self.stored.open(&self.path).ok();
        opened.and_then(|(file, _)| count_frames(file).ok()).unwrap_or(1)
    }
}

/// A collection of images that exists; see [`open`].
///
/// It is a stream of records ([`Collection::records`]) of any length, and a burn dataset of those records that can be used:
/// only the dataset, asked for its length or by number, holds all records in memory.
#[derive(Debug, Clone)]
pub struct Collection {
    sources: Sources,
    /// With the folders below which their images have their places, where there are several.
    opened: Vec<(Option<OsString>, Source)>,
    /// The shard, where no more is worked on: its plan knows what a search would find.
    shard: Option<Arc<PlannedShard>>,
    respect_ignore: bool,
    frames: FrameUse,
    /// The usable records, once somebody asks by number.
    index: OnceLock<Vec<Record>>,
    /// What the last search passed over.
    passed_over: Arc<Mutex<PassedOver>>,
    /// Where its tables are being read.
    #[cfg(feature = "parquet")]
    windows: Arc<table::Windows>,
}

#[derive(Debug, Clone)]
enum Source {
    Folder(PathBuf),
    /// What begins with a key, elsewhere.
    RemoteFolder(PathBuf),
    List(Arc<ImageList>),
    Tar(PathBuf),
    #[cfg(feature = "parquet")]
    Table(PathBuf),
    Image(Found),
}

/// Opens the collection at `path`: a folder, which is searched with its sub-folders; an image; a tar or a Parquet file of images; or any
/// other file, which must list images in one of the forms of [`Collection::records`].
pub fn open(path: &Path) -> Result<Collection, DatasetError> {
    open_sources(&path.into(), &SampleConfig::default())
}

/// Opens the collection of all images of all sources, of which `settings` may leave some out.
pub fn open_sources(sources: &Sources, settings: &SampleConfig) -> Result<Collection, DatasetError> {
    if let Some((outer, inner)) = sources.nested() {
        return Err(DatasetError::Twice { path: inner.to_path_buf(), within: outer.to_path_buf() });
    }
    let opened = sources.paths().iter().map(|path| open_source(path)).collect::<Result<Vec<_>, _>>()?;
    let opened = sources.prefixes().into_iter().zip(opened).collect();
    Ok(Collection::new(sources.clone(), opened, None, settings))
}

/// Opens the collection of all images of all sources, or the shard of one that was planned.
pub fn open_input(input: &Input, settings: &SampleConfig) -> Result<Collection, DatasetError> {
    let choice = match input {
        Input::Whole(sources) => return open_sources(sources, settings),
        Input::Shard(choice) => choice,
    };
    let shard = PlannedShard::open(choice, settings)?;
    Ok(Collection::new(shard.sources().clone(), Vec::new(), Some(Arc::new(shard)), settings))
}

fn open_source(path: &Path) -> Result<Source, DatasetError> {
    let reading = |source| DatasetError::reading(path, source);
    if let Some(address) = Address::of(path) {
        return open_remote(path, &address);
    }
    let metadata = fs::metadata(path).map_err(reading)?;
    if metadata.is_dir() {
        // Learn now rather than in the middle of a run that the folder cannot be read.
        fs::read_dir(path).map_err(reading)?;
        return Ok(Source::Folder(path.to_path_buf()));
    }
    // Of a pipe nothing can be read twice.
    let is_looked_into = metadata.is_file() && !has_image_name(path);
    let head = if is_looked_into { files::head(path).map_err(reading)? } else { Vec::new() };
    if has_image_name(path) || files::begins_as_picture(&head) {
        let relative = ordinary_components(path).next_back().map(PathBuf::from);
        let relative = relative.ok_or_else(|| reading(io::ErrorKind::InvalidFilename.into()))?;
        return Ok(Source::Image(Found::file(path.to_path_buf(), relative)));
    }
    if archive::has_compressed_name(path) {
        return Err(DatasetError::CompressedTar { path: path.to_path_buf() });
    }
    if metadata.is_file() && (archive::has_name(path) || archive::begins_as_tar(&head)) {
        return Ok(Source::Tar(path.to_path_buf()));
    }
    if metadata.is_file() && (has_table_name(path) || head.starts_with(TABLE_MAGIC)) {
        return open_table(path);
    }
    Ok(Source::List(Arc::new(list::read(path)?)))
}

/// The same of what lies elsewhere: what has this very name, otherwise all whose names begin with it and `/`.
fn open_remote(path: &Path, address: &Address) -> Result<Source, DatasetError> {
    let reading = |source: RemoteError| DatasetError::Remote { path: path.to_path_buf(), source };
    let folder = |missing: RemoteError| match remote::is_folder(address) {
        Ok(true) => Ok(Source::RemoteFolder(path.to_path_buf())),
        Ok(false) => Err(reading(missing)),
        Err(RemoteError::NoListing) if !address.key.is_empty() => Err(reading(missing)),
        Err(error) => Err(reading(error)),
    };
    if address.key.is_empty() {
        return folder(RemoteError::NothingThere);
    }
    let length = match remote::size(address) {
        Ok(length) => length,
        Err(missing @ RemoteError::Missing { .. }) => return folder(missing),
        Err(error) => return Err(reading(error)),
    };
    let of_name = has_image_name(path) || archive::has_name(path) || has_table_name(path);
    let head =
        if of_name { Vec::new() } else { stored::head(path).map_err(|error| DatasetError::reading(path, error))? };
    if has_image_name(path) || files::begins_as_picture(&head) {
        let relative = ordinary_components(path).next_back().map(PathBuf::from).unwrap_or_default();
        return Ok(Source::Image(Found::object(path.to_path_buf(), Some(length), relative)));
    }
    if archive::has_compressed_name(path) {
        return Err(DatasetError::CompressedTar { path: path.to_path_buf() });
    }
    if archive::has_name(path) || archive::begins_as_tar(&head) {
        return Ok(Source::Tar(path.to_path_buf()));
    }
    if has_table_name(path) || head.starts_with(TABLE_MAGIC) {
        return open_table(path);
    }
    Ok(Source::List(Arc::new(list::read(path)?)))
}

#[cfg(feature = "parquet")]
fn open_table(path: &Path) -> Result<Source, DatasetError> {
    Ok(Source::Table(path.to_path_buf()))
}

#[cfg(not(feature = "parquet"))]
fn open_table(path: &Path) -> Result<Source, DatasetError> {
    let reason = "this build reads none; build it with the feature parquet".to_string();
    Err(DatasetError::Table { path: path.to_path_buf(), reason })
}

impl Collection {
    fn new(
        sources: Sources,
        opened: Vec<(Option<OsString>, Source)>,
        shard: Option<Arc<PlannedShard>>,
        settings: &SampleConfig,
    ) -> Collection {
        Collection {
            sources,
            opened,
            shard,
            respect_ignore: settings.respect_ignore,
            frames: settings.frames,
            index: OnceLock::new(),
            passed_over: Arc::default(),
            #[cfg(feature = "parquet")]
            windows: Arc::default(),
        }
    }

    /// Opens the collection at `path`; see [`open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Collection, DatasetError> {
        open(path.as_ref())
    }

    /// What was opened.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The shard that the collection is, if it is no whole one.
    pub fn shard(&self) -> Option<&PlannedShard> {
        self.shard.as_deref()
    }

    /// For messages: the sources, and which shard of them it is.
    pub fn display(&self) -> String {
        let sources = self.sources.display();
        match &self.shard {
            Some(shard) => format!("shard {} of {} of {sources}", shard.index(), shard.plan().shards().len()),
            None => sources.to_string(),
        }
    }

    /// A name for what is made of the collection; see [`Sources::name`].
    pub fn name(&self) -> String {
        self.sources.name()
    }

    /// The images in order, read from the disk as the iterator advances; every call starts anew. Those of several sources come
    /// source by source, below the sources' names.
    ///
    /// Folders: files with one of [`IMAGE_EXTENSIONS`], and other files that begin as images do. Hidden files and folders are
    /// passed over, and so is what `.deepcutignore` files inside the folder exclude, and `.gitignore` and `.ignore` files where
    /// these are to be respected. Symbolic links are followed; a link to a folder that contains it adds nothing and is passed
    /// over. At a time only the entries of one folder and its ancestors are in memory.
    ///
    /// What runs have written into the folder or one below it is no part of the collection: see [`crate::manifest`].
    ///
    /// Lists name images relative to the list's folder or absolute, each image once: text with one path per line, perhaps
    /// with a label after it; CSV with a column of paths; JSON, one object per line or one array. Whether the images exist
    /// shows when they are read. Where entries outside the list's folder have a place that is taken, `-2`, `-3`, … come before
    /// their extension.
    ///
    /// Tars, such as the shards of WebDataset: their members, as files of a folder are; they are read where they lie. Only the
    /// members of one tar are in memory at a time. A member at whose place another one is has `-2`, `-3`, … as well.
    ///
    /// Parquet files: every row is an image, called by its number, counted from 0. They are in the first binary column of a usual
    /// name (`image`, `img`, `jpg`, …), or in that of the only one; a column can also be a group of `bytes` and `path`, as
    /// Hugging Face writes images.
    ///
    /// Where all frames are taken ([`SampleConfig::frames`]), a file with several stands for a folder with its name, in which they
    /// are called 000001, 000002, ….
    ///
    /// In object storage: what begins with a key and `/` as a folder with its sub-folders, but what has an extension that is no
    /// image's is not looked into, and ignore files are not read. Objects are fetched as they are decoded.
    ///
    /// An error concerns one file or folder and never ends the iteration; but a plan's list that cannot be read on ends that of
    /// its shard.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, DatasetError>> + Send + use<> {
        *lock(&self.passed_over) = PassedOver::default();
        let (passed_over, respect_ignore, frames) = (Arc::clone(&self.passed_over), self.respect_ignore, self.frames);
        #[cfg(feature = "parquet")]
        let windows = Arc::clone(&self.windows);
        let planned = self.shard.as_deref().map(PlannedShard::records);
        let searched = self.opened.clone().into_iter().flat_map(move |(prefix, source)| {
            let found: Box<dyn Iterator<Item = Result<Found, DatasetError>> + Send> = match source {
                Source::Folder(root) => Box::new(discovery::walk(&root, respect_ignore, Arc::clone(&passed_over))),
                Source::RemoteFolder(root) => Box::new(remote_folder::walk(&root, Arc::clone(&passed_over))),
                Source::List(list) => Box::new(ImageList::found(list)),
                Source::Tar(path) => {
                    let passed_over = Arc::clone(&passed_over);
                    Box::new(iter::once_with(move || archive::found(&path, &passed_over)).flatten())
                }
                #[cfg(feature = "parquet")]
                Source::Table(path) => {
                    let windows = Arc::clone(&windows);
                    Box::new(iter::once_with(move || table::found(&path, windows)).flatten())
                }
                Source::Image(found) => Box::new(iter::once(Ok(found))),
            };
            let mut places = Places::default();
            let prefix = prefix.map(PathBuf::from).unwrap_or_default();
            let record = move |found: Found| {
                let mut record = places.record(found);
                record.relative = prefix.join(record.relative);
                record.output = prefix.join(record.output);
                record
            };
            found.flat_map(move |found| frames.of(found)).scan(record, |record, found| Some(found.map(record)))
        });
        planned.into_iter().flatten().chain(searched)
    }

    /// What is worth telling once the search for [`Collection::records`] that began last is over: what it passed over and
    /// why, and how lists were read; a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let passed_over = lock(&self.passed_over);
        let lists = self.opened.iter().filter_map(|(_, source)| match source {
            Source::List(list) => list.remark(),
            _ => None,
        });
        passed_over.own_results().into_iter().chain(passed_over.others()).chain(lists).collect()
    }

    /// What was found instead of images, where there were none.
    pub fn instead_of_images(&self) -> String {
        lock(&self.passed_over).others().unwrap_or_else(|| match self.opened.as_slice() {
            [(_, Source::List(_))] => "the list names none".into(),
            [(_, Source::Tar(_))] => "the tar is empty".into(),
            #[cfg(feature = "parquet")]
            [(_, Source::Table(_))] => "the table has no rows".into(),
            _ => "there is no file at all".into(),
        })
    }

    fn index(&self) -> &[Record] {
        self.index.get_or_init(|| self.records().flatten().collect())
    }
}

impl Dataset<Record> for Collection {
    fn get(&self, index: usize) -> Option<Record> {
        self.index().get(index).cloned()
    }

    fn len(&self) -> usize {
        self.index().len()
    }
}

/// Whether the file's extension is that of an image.
fn has_image_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| IMAGE_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Whether the file has the name of one that holds images, and is a collection if it is given as one.
fn holds_images(path: &Path) -> bool {
    archive::has_name(path) || has_table_name(path)
}

/// Whether a name is that of a file which can be given, where only the name can tell.
fn has_file_name(path: &Path) -> bool {
    has_image_name(path) || holds_images(path) || list::has_name(path)
}

/// Whether the file has the name of a table in Parquet.
fn has_table_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// The names in a path, without root, drive, `.` and `..`.
fn ordinary_components(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// The last name in the path as it was given, of a file without its extension; of paths such as `.` and `..` that of the
/// folder they lead to.
fn name_of(path: &Path) -> OsString {
    let of = |path: &Path| {
        let is_folder = if remote::is_remote(path) { !has_file_name(path) } else { path.is_dir() };
        let name = if is_folder { path.file_name() } else { path.file_stem() };
        name.map(OsStr::to_os_string)
    };
    of(path).or_else(|| of(&path.canonicalize().ok()?)).unwrap_or_else(|| "collection".into())
}

#[cfg(test)]
mod tests;
