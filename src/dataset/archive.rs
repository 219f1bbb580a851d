//! The images in a tar, such as a shard of WebDataset: found by its headers, and read where they lie.
//!
//! Format: POSIX.1-2017, pax interchange format, with GNU's long names.

use std::io::{self, Read, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tar::{Header, PaxExtensions};

use super::distinct::at_places_of_their_own;
use super::passed_over::PassedOver;
use super::stored::{self, Source, Stored};
use super::{DatasetError, Found, has_image_name, ordinary_components};
use crate::files::{self, HEAD_BYTES, begins_as_picture};
use crate::names;
use crate::parallel::lock;

const BLOCK_BYTES: u64 = 512;
/// Names and other attributes of a member are no longer.
const MOST_ATTRIBUTE_BYTES: u64 = 1 << 20;
/// Bytes that are looked through at a time for the next header.
const SEARCHED_BYTES: usize = 1 << 18;

/// Endings of tars that something has compressed, in which nothing has a place of its own.
const COMPRESSED: [&str; 10] =
    [".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4", ".tar.z"];

/// Whether a name ends as a tar's does.
pub(super) fn has_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// Whether a name ends as that of a compressed tar does.
pub(super) fn has_compressed_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    COMPRESSED.iter().any(|end| name.ends_with(end))
}

/// Whether the first 512 bytes of a file are the header of a tar's member.
pub(super) fn begins_as_tar(head: &[u8]) -> bool {
    is_marked(head) && checked(head).is_some()
}

/// The images of a tar, sorted by the components of their paths in it, and whatever is wrong with it; members that are no images
/// are counted.
///
/// Only headers are read, and the first bytes of members whose names do not tell that they are images.
pub(super) fn found(tar: &Path, passed_over: &Mutex<PassedOver>) -> Vec<Result<Found, DatasetError>> {
    let mut contents = Contents { tar: tar.into(), found: Vec::new(), troubles: Vec::new(), passed_over };
    if let Err(error) = contents.read() {
        contents.troubles.push(DatasetError::reading(tar, error));
    }
    let found = at_places_of_their_own(contents.found).into_iter().map(Ok);
    found.chain(contents.troubles.into_iter().map(Err)).collect()
}

struct Contents<'a> {
    tar: Arc<Path>,
    found: Vec<Found>,
    troubles: Vec<DatasetError>,
    passed_over: &'a Mutex<PassedOver>,
}

/// What stands before a member's own header.
#[derive(Default)]
struct Attributes {
    long_name: Option<Vec<u8>>,
    size: Option<u64>,
    has_holes: bool,
}

impl Contents<'_> {
    fn read(&mut self) -> io::Result<()> {
        let (mut file, end) = stored::open(&self.tar)?;
        let (mut next, mut attributes, mut last) = (0, Attributes::default(), None);
        loop {
            // What follows a header tells what kind of file it is of.
            let mut block = Vec::new();
            file.seek(SeekFrom::Start(next))?;
            file.by_ref().take(BLOCK_BYTES + HEAD_BYTES as u64).read_to_end(&mut block)?;
            let Some((header, head)) = block.split_at_checked(BLOCK_BYTES as usize) else {
                self.cut_off(last.as_deref());
                return Ok(());
            };
            if header.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let Some(header) = checked(header) else {
                self.damaged(next, last.as_deref());
                attributes = Attributes::default();
                match next_header(&mut *file, next + BLOCK_BYTES)? {
                    Some(at) => next = at,
                    None => return Ok(()),
                }
                continue;
            };
            let (kind, start) = (header.entry_type(), next + BLOCK_BYTES);
            let describes = kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions();
            let size = attributes.size.filter(|_| !describes).map_or_else(|| header.entry_size(), Ok);
            // Such a size is beyond every file: the tar ends there.
            let size = size.unwrap_or(u64::MAX);
            let stop = start.checked_add(size).filter(|stop| *stop <= end);
            if describes {
                if stop.is_some() && size <= MOST_ATTRIBUTE_BYTES {
                    file.seek(SeekFrom::Start(start))?;
                    attributes.take(header, &files::read_rest(file.by_ref().take(size), size, size)?);
                } else if stop.is_some() {
                    self.damaged(next, last.as_deref());
                }
            } else if !kind.is_pax_global_extensions() {
                let Attributes { long_name, has_holes, .. } = std::mem::take(&mut attributes);
                let name = long_name.unwrap_or_else(|| header.path_bytes().into_owned());
                let head = &head[..head.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
                let place = Member { name: path_of(&name), start, size, head, has_holes, is_cut_off: stop.is_none() };
                last = Some(place.name.clone());
                if self.add(header, place) {
                    return Ok(());
                }
            }
            match stop.and_then(|stop| stop.checked_next_multiple_of(BLOCK_BYTES)) {
                Some(after) => next = after,
                None => {
                    self.cut_off(last.as_deref());
                    return Ok(());
                }
            }
        }
    }

    /// Takes a member if it is an image; whether that says already that the tar is cut off.
    fn add(&mut self, header: &Header, member: Member) -> bool {
        let Member { name, start, size, head, has_holes, is_cut_off } = member;
        let kind = header.entry_type();
        let relative: PathBuf = ordinary_components(&name).collect();
        let is_folder = kind.is_dir() || name.as_os_str().as_encoded_bytes().ends_with(b"/");
        if is_folder || relative.as_os_str().is_empty() {
            return false;
        }
        let hidden = ordinary_components(&name).find(|part| part.as_encoded_bytes().starts_with(b"."));
        if let Some(hidden) = hidden {
            lock(self.passed_over).add_hidden(&hidden.to_string_lossy(), true);
            return false;
        }
        if !has_image_name(&relative) && !begins_as_picture(head) {
            lock(self.passed_over).add_no_image(&relative);
            return false;
        }
        let path = self.tar.join(&relative);
        let refused = if is_cut_off {
            Some("is cut off, and so is all that came after it in the tar; get the tar again")
        } else if kind.is_symlink() || kind.is_hard_link() {
            Some(
                "is a link, of which a tar that is read in place has no bytes; pack the tar anew with the files themselves",
            )
        } else if kind.is_gnu_sparse() || has_holes {
            Some("is stored with holes, which are not read in place; pack the tar anew without them")
        } else if !kind.is_file() && !kind.is_contiguous() {
            Some("has the name of an image and is no file; leave it out")
        } else {
            None
        };
        match refused {
            Some(reason) => self.troubles.push(DatasetError::Member { path, reason }),
            None => {
                let stored = Stored::Member { tar: Arc::clone(&self.tar), offset: start, length: size };
                self.found.push(Found { path, stored, frame: None, relative });
            }
        }
        is_cut_off
    }

    fn cut_off(&mut self, last: Option<&Path>) {
        self.broken(format!("it ends {} without the mark of a tar's end, so that images may be missing", after(last)));
    }

    fn damaged(&mut self, at: u64, last: Option<&Path>) {
        let after = after(last);
        self.broken(format!("the header at byte {at}, {after}, is damaged, so that the member there is left out"));
    }

    fn broken(&mut self, reason: String) {
        self.troubles.push(DatasetError::BrokenTar { path: self.tar.to_path_buf(), reason });
    }
}

/// A member as its header describes it.
struct Member<'a> {
    name: PathBuf,
    start: u64,
    size: u64,
    /// Its first bytes.
    head: &'a [u8],
    has_holes: bool,
    is_cut_off: bool,
}

impl Attributes {
    /// Takes what a member before the one it describes says of it.
    fn take(&mut self, header: &Header, content: &[u8]) {
        let kind = header.entry_type();
        if kind.is_gnu_longname() {
            let name = content.split(|byte| *byte == 0).next().unwrap_or_default();
            self.long_name = Some(name.to_vec());
        } else if kind.is_pax_local_extensions() {
            // What is no attribute is none.
            for attribute in PaxExtensions::new(content).flatten() {
                match attribute.key_bytes() {
                    b"path" => self.long_name = Some(attribute.value_bytes().to_vec()),
                    b"size" => self.size = attribute.value().ok().and_then(|size| size.parse().ok()),
                    key if key.starts_with(b"GNU.sparse.") => self.has_holes = true,
                    _ => {}
                }
            }
        }
    }
}

/// Where in a tar something is.
fn after(last: Option<&Path>) -> String {
    last.map_or("at its beginning".into(), |last| format!("after its member {}", names::text(last.as_os_str())))
}

/// Whether a block says that it is a header, as all do that were written since 1988.
fn is_marked(block: &[u8]) -> bool {
    block.get(257..262) == Some(b"ustar")
}

/// A block of 512 bytes as a header, if its checksum is right.
fn checked(block: &[u8]) -> Option<&Header> {
    let block: &[u8; BLOCK_BYTES as usize] = block.try_into().ok()?;
    let header = Header::from_byte_slice(block);
    // The field of the checksum itself counts as spaces.
    let field = 148..156;
    let sum = |(at, byte): (usize, &u8)| if field.contains(&at) { u32::from(b' ') } else { u32::from(*byte) };
    let sum: u32 = block.iter().enumerate().map(sum).sum();
    (header.cksum().ok()? == sum).then_some(header)
}

/// Where the next header begins at `from` or after it.
fn next_header(file: &mut dyn Source, from: u64) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(from))?;
    let mut at = from;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        Read::take(&mut *file, SEARCHED_BYTES as u64).read_to_end(&mut bytes)?;
        let blocks = bytes.chunks_exact(BLOCK_BYTES as usize);
        if let Some(block) = blocks.clone().position(|block| is_marked(block) && checked(block).is_some()) {
            return Ok(Some(at + block as u64 * BLOCK_BYTES));
        }
        if bytes.len() < SEARCHED_BYTES {
            return Ok(None);
        }
        at += SEARCHED_BYTES as u64;
    }
}

#[cfg(unix)]
fn path_of(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(name).into()
}

#[cfg(not(unix))]
fn path_of(name: &[u8]) -> PathBuf {
    String::from_utf8_lossy(name).into_owned().into()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tar::{Builder, EntryType};

    use super::*;

    fn append(tar: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }

    /// Every image's place and content, every error as the user reads it, and what was passed over.
    fn listed(bytes: &[u8]) -> (Vec<String>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        std::fs::write(&path, bytes).unwrap();
        let passed_over = Mutex::default();
        let shown = |found: Result<Found, DatasetError>| match found {
            Ok(Found { path, stored, relative, .. }) => {
                let mut content = String::new();
                stored.open(&path).unwrap().0.read_to_string(&mut content).unwrap();
                format!("{}={content}", relative.display())
            }
            Err(error) => error.to_string().replace(&format!("{}/", folder.path().display()), ""),
        };
        let listed = found(&path, &passed_over).into_iter().map(shown).collect();
        (listed, lock(&passed_over).others())
    }

    #[test]
    fn images_are_found_by_name_or_content_and_read_in_place() {
        let mut tar = Builder::new(Vec::new());
        let long = format!("{}/{}.jpg", "d".repeat(120), "f".repeat(140));
        for (name, content) in [
            ("b/2.png", "two"),
            ("b/2.json", "{}"),
            ("./b/1.JPG", "one"),
            ("b/2.png", "again"),
            ("b/._1.jpg", "resource fork"),
            (".hidden/1.jpg", "hidden"),
            ("picture", "GIF89a"),
            ("n.cls", "3"),
            ("empty.png", ""),
            (&long, "long"),
        ] {
            append(&mut tar, name, EntryType::Regular, content.as_bytes());
        }
        append(&mut tar, "c.png", EntryType::Directory, b"");
        append(&mut tar, "l.png", EntryType::Symlink, b"");
        tar.append_pax_extensions([("path", "a/é.png".as_bytes()), ("size", &b"3"[..])]).unwrap();
        append(&mut tar, "ignored", EntryType::Regular, b"pax");
        // What tries to leave the tar's folder stays in it.
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..11].copy_from_slice(b"../../u.png");
        header.set_size(2);
        header.set_cksum();
        tar.append(&header, Cursor::new(b"up")).unwrap();
        let (listed, passed_over) = listed(&tar.into_inner().unwrap());
        let link = "x.tar/l.png is a link, of which a tar that is read in place has no bytes; pack the tar anew with the files \
                    themselves";
        let long = format!("{long}=long");
        let expected = [
            "a/é.png=pax",
            "b/1.JPG=one",
            "b/2-2.png=again",
            "b/2.png=two",
            &long,
            "empty.png=",
            "picture=GIF89a",
            "u.png=up",
            link,
        ];
        assert_eq!(listed, expected);
        assert_eq!(passed_over.unwrap(), "2 files are no images (1 .cls, 1 .json), 2 hidden");
    }

    #[test]
    fn what_is_broken_is_named_and_the_rest_found() {
        let mut tar = Builder::new(Vec::new());
        let content = "x".repeat(600);
        for name in ["a.png", "b.png", "c.png"] {
            append(&mut tar, name, EntryType::Regular, content.as_bytes());
        }
        let whole = tar.into_inner().unwrap();
        // A header and two blocks each.
        let member = 3 * 512;
        let named = |names: &[&str], troubles: &[&str]| -> Vec<String> {
            let found = names.iter().map(|name| format!("{name}={content}"));
            found.chain(troubles.iter().map(|trouble| trouble.to_string())).collect()
        };
        let broken = |what: &str| format!("x.tar is a broken tar: {what}; get it again or pack it anew");
        let no_end = |last: &str| {
            broken(&format!("it ends {last} without the mark of a tar's end, so that images may be missing"))
        };
        let mut damaged = whole.clone();
        damaged[member + 7] ^= 1;
        let no_header =
            broken("the header at byte 1536, after its member a.png, is damaged, so that the member there is left out");
        let cut_off = "x.tar/c.png is cut off, and so is all that came after it in the tar; get the tar again";
        for (bytes, expected) in [
            (&whole[..], named(&["a.png", "b.png", "c.png"], &[])),
            (&damaged, named(&["a.png", "c.png"], &[&no_header])),
            (&whole[..2 * member + 700], named(&["a.png", "b.png"], &[cut_off])),
            (&whole[..2 * member], named(&["a.png", "b.png"], &[&no_end("after its member b.png")])),
            (&whole[..2 * member + 100], named(&["a.png", "b.png"], &[&no_end("after its member b.png")])),
            (b"", named(&[], &[&no_end("at its beginning")])),
            (&[0; 1024], named(&[], &[])),
        ] {
            assert_eq!(listed(bytes).0, expected);
        }
        let (listed, _) = listed(&b"no tar at all".repeat(100));
        assert!(
            listed.len() == 1 && listed[0].contains("the header at byte 0, at its beginning, is damaged"),
            "{listed:?}"
        );
    }
}
