//! The pictures of a file that holds several: the frames of an animation, the pages of a TIFF.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::{gif, tiff};
use crate::files::{Format, HEAD_BYTES, Recognised, recognise};

/// What is said of an animation of which one frame is taken.
pub(super) const SEVERAL_FRAMES: &str =
    "it has several frames, of which the first is taken; `data.frames` = \"all\" takes every one";

/// How many pictures a file holds, from its beginning; 1 also of files that are no pictures, for whoever decodes them to say
/// why.
///
/// Frames and pages that the file is cut off before or within count if they begin, so that they can be missed.
pub fn count_frames(file: impl Read + Seek) -> io::Result<u32> {
    let mut file = BufReader::new(file);
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let Some(Recognised::Read(format)) = recognise(&head) else { return Ok(1) };
    file.rewind()?;
    let frames = match format {
        Format::Gif => gif::structure(&mut file, u32::MAX)?.frames,
        Format::WebP => of_webp(&mut file)?,
        Format::Png => of_png(&mut file)?,
        Format::Tiff => tiff::directory::pages(&mut file).map_or(1, |pages| pages.count() as u32),
        #[cfg(feature = "avif")]
        Format::Avif => 1,
        Format::Jpeg | Format::Bmp => 1,
    };
    Ok(frames.max(1))
}

/// Source: the WebP container specification, "Animation".
fn of_webp(file: &mut (impl Read + Seek)) -> io::Result<u32> {
    file.seek(SeekFrom::Start(12))?;
    let mut frames = 0;
    while let Some([name, size]) = words(file)? {
        frames += u32::from(&name == b"ANMF");
        // Chunks begin at even places.
        let size = u64::from(u32::from_le_bytes(size)).next_multiple_of(2);
        file.seek(SeekFrom::Current(size as i64))?;
    }
    Ok(frames)
}

/// Source: PNG third edition, section 11.3.6.
fn of_png(file: &mut (impl Read + Seek)) -> io::Result<u32> {
    file.seek(SeekFrom::Start(8))?;
    let (mut is_animated, mut frames) = (false, 0);
    while let Some([length, name]) = words(file)? {
        match &name {
            b"acTL" => is_animated = true,
            // The control of an animation comes before all pixels.
            b"IDAT" if !is_animated => return Ok(1),
            b"fcTL" => frames += 1,
            b"IEND" => break,
            _ => {}
        }
        // The checksum too.
        file.seek(SeekFrom::Current(i64::from(u32::from_be_bytes(length)) + 4))?;
    }
    Ok(frames)
}

/// Two words of four bytes; none at the end of the file.
fn words(file: &mut impl Read) -> io::Result<Option<[[u8; 4]; 2]>> {
    let mut words = [[0; 4]; 2];
    match file.read_exact(words.as_flattened_mut()) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        result => result.map(|()| Some(words)),
    }
}
