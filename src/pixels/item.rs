//! What an image can be had from: a file of a collection, or an image that is in memory already.

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::decode::{ResizedTo, decode_announced};
use super::header;
use super::{DecodeConfig, Picture};
use crate::files;
use crate::files::Format;
use crate::parallel::{Held, MemoryBudget, Reservation};
use crate::raster::RgbImage;

/// An item of a dataset of images.
pub trait ImageItem: Send {
    /// Its content; the error is the reason for which it is left out.
    fn content(&self, limits: &DecodeConfig) -> Result<ImageContent, String>;

    /// What it is called in messages, where it has a name.
    fn path(&self) -> Option<&Path> {
        None
    }
}

/// What a pixel takes while its image is segmented, the image included: masks, probabilities, and pictures of both before
/// they are encoded. Measured over whole runs on images of 36 and of 99 megapixels: 8 to 13 bytes.
const WORKING_BYTES_PER_PIXEL: u64 = 12;

/// What an image is made of, not yet decoded.
#[derive(Debug)]
pub struct ImageContent {
    /// blake3 of the file's bytes; of one of its frames that of this hash and the frame's number; of an image in memory that of
    /// its size and pixels.
    pub hash: blake3::Hash,
    source: Source,
    frame: Option<u32>,
}

#[derive(Debug)]
enum Source {
    /// The reservation is for the bytes and for what decoding them takes.
    File(Vec<u8>, Reservation),
    Image(RgbImage),
}

impl ImageContent {
    /// Reads a file for its first picture, or for the frame or page of a number, counted from 0; the error is the reason for which
    /// it is left out.
    ///
    /// Only ordinary files are opened. Of what is no image, or none within the limits, only the header is read. Where many
    /// images are read at a time, waits for room in the process's [`MemoryBudget`] for the file and for what decoding it
    /// takes, so that decoding need not wait.
    pub fn read(path: &Path, frame: Option<u32>, limits: &DecodeConfig) -> Result<ImageContent, String> {
        let open = || -> io::Result<_> {
            let file = files::open_ordinary(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|error| of_frame(frame, unreadable(error)))?;
        Self::read_from(file, length, frame, limits)
    }

    /// The same of a file of `length` bytes that is open already, wherever its bytes are.
    pub fn read_from(
        file: impl Read + Seek,
        length: u64,
        frame: Option<u32>,
        limits: &DecodeConfig,
    ) -> Result<ImageContent, String> {
        Self::read_file(file, length, frame, limits).map_err(|reason| of_frame(frame, reason))
    }

    fn read_file(
        mut file: impl Read + Seek,
        length: u64,
        frame: Option<u32>,
        limits: &DecodeConfig,
    ) -> Result<ImageContent, String> {
        let declared =
            header::declared(&mut file, frame.unwrap_or(0)).map_err(unreadable)?.map_err(|error| error.to_string())?;
        let limit = limits.max_mebibytes.saturating_mul(1 << 20);
        let too_large = |length: u64| {
            format!("the file has {} MiB, more than pixels.max_mebibytes = {}", length >> 20, limits.max_mebibytes)
        };
        if length > limit {
            return Err(too_large(length));
        }
        declared.size.map_or(Ok(()), |size| size.check(limits)).map_err(|error| error.to_string())?;
        // Where the header does not tell, it may be all that is allowed.
        let decoding = declared.size.map_or(limit, |size| size.bytes()).min(limit);
        let working = declared.size.map_or(0, |size| size.pixels().saturating_mul(WORKING_BYTES_PER_PIXEL));
        // The decoder of JPEG copies the file.
        let copies = if declared.format == Format::Jpeg { 2 } else { 1 };
        let needed = length.saturating_mul(copies).saturating_add(decoding);
        let mut reservation = MemoryBudget::of_process().acquire(needed, working).map_err(|error| error.to_string())?;
        file.rewind().map_err(unreadable)?;
        let bytes = files::read_rest(file, limit, length).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => too_large(limit),
            _ => unreadable(error),
        })?;
        // It may have grown meanwhile.
        reservation.grow((bytes.len() as u64).saturating_sub(length));
        let mut hash = blake3::hash(&bytes);
        if let Some(frame) = frame {
            hash = blake3::Hasher::new().update(hash.as_bytes()).update(&frame.to_le_bytes()).finalize();
        }
        Ok(ImageContent { hash, source: Source::File(bytes, reservation), frame })
    }

    /// The image, with the memory that it takes; the error is the reason for which it is left out.
    pub fn decode(self, limits: &DecodeConfig) -> Result<Held<Picture>, String> {
        self.decode_for(limits, None)
    }

    /// The same for those who bring it to another size before anything else, which `target` tells by its own: a JPEG that is large
    /// beside it comes out at a fraction of its size, of which they see next to nothing, in less time and memory.
    pub fn decode_for(self, limits: &DecodeConfig, target: Option<&ResizedTo>) -> Result<Held<Picture>, String> {
        match self.source {
            Source::File(bytes, mut reservation) => {
                let of_file = bytes.len() as u64;
                let announce = |needed: u64| reservation.grow((of_file + needed).saturating_sub(reservation.bytes()));
                let picture = decode_announced(&bytes, self.frame, limits, target, announce)
                    .map_err(|error| of_frame(self.frame, error.to_string()))?;
                drop(bytes);
                let working = WORKING_BYTES_PER_PIXEL * picture.image.values.len() as u64;
                reservation.resize(working.min(reservation.bytes()));
                Ok(Held::new(picture, Some(reservation)))
            }
            Source::Image(image) => Ok(Held::new(image.into(), None)),
        }
    }
}

fn unreadable(error: io::Error) -> String {
    format!("cannot read it: {error}")
}

/// What is said of a frame, by its number counted from 1.
fn of_frame(frame: Option<u32>, reason: String) -> String {
    match frame {
        Some(frame) => format!("frame {}: {reason}", u64::from(frame) + 1),
        None => reason,
    }
}

impl ImageItem for PathBuf {
    fn content(&self, limits: &DecodeConfig) -> Result<ImageContent, String> {
        ImageContent::read(self, None, limits)
    }

    fn path(&self) -> Option<&Path> {
        Some(self)
    }
}

impl ImageItem for RgbImage {
    fn content(&self, _limits: &DecodeConfig) -> Result<ImageContent, String> {
        if self.values.is_empty() {
            return Err("the image has no pixels".into());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.width as u64).to_le_bytes()).update(self.values.as_flattened());
        Ok(ImageContent { hash: hasher.finalize(), source: Source::Image(self.clone()), frame: None })
    }
}
