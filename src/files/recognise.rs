//! What kind of file the first bytes are: pictures that are read, pictures that are not, and what else is found among them.

/// A kind of picture that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Gif,
    Tiff,
    #[cfg(feature = "avif")]
    Avif,
}

/// What first bytes are known for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognised {
    Read(Format),
    /// A picture of a kind that is not read: what it is.
    OtherPicture(&'static str),
    /// Something else that is found among pictures: what it is.
    NoPicture(&'static str),
}

use Recognised::{NoPicture, OtherPicture, Read};

/// What begins so, at a place.
const SIGNATURES: &[(usize, &[u8], Recognised)] = &[
    (0, b"\xFF\xD8\xFF", Read(Format::Jpeg)),
    (0, b"\x89PNG\r\n\x1A\n", Read(Format::Png)),
    (0, b"GIF87a", Read(Format::Gif)),
    (0, b"GIF89a", Read(Format::Gif)),
    (0, b"BM", Read(Format::Bmp)),
    // Canon's raw pictures are a kind of TIFF.
    (8, b"CR\x02", OtherPicture(RAW)),
    (0, b"II*\0", Read(Format::Tiff)),
    (0, b"MM\0*", Read(Format::Tiff)),
    (0, b"II+\0", Read(Format::Tiff)),
    (0, b"MM\0+", Read(Format::Tiff)),
    (0, b"IIU\0", OtherPicture(RAW)),
    (0, b"IIRO", OtherPicture(RAW)),
    (0, b"IIRS", OtherPicture(RAW)),
    (0, b"MMOR", OtherPicture(RAW)),
    (0, b"FUJIFILMCCD-RAW", OtherPicture(RAW)),
    (0, b"FOVb", OtherPicture(RAW)),
    (0, b"\0MRM", OtherPicture(RAW)),
    (4, b"ftypcrx ", OtherPicture(RAW)),
    (0, b"\0\0\0\x0CjP  \r\n\x87\n", OtherPicture("a JPEG 2000 picture")),
    (0, b"\xFF\x4F\xFF\x51", OtherPicture("a JPEG 2000 picture")),
    (0, b"\0\0\0\x0CJXL \r\n\x87\n", OtherPicture("a JPEG XL picture")),
    (0, b"\xFF\x0A", OtherPicture("a JPEG XL picture")),
    (0, b"8BPS", OtherPicture("a Photoshop picture")),
    (0, b"\x76\x2F\x31\x01", OtherPicture("an OpenEXR picture")),
    (0, b"gimp xcf", OtherPicture("a GIMP picture")),
    (0, b"SIMPLE  =", OtherPicture("a FITS picture")),
    (128, b"DICM", OtherPicture("a DICOM picture")),
    (344, b"n+1\0", OtherPicture("a NIfTI volume")),
    (4, b"n+2\0", OtherPicture("a NIfTI volume")),
    (0, b"\x89HDF\r\n\x1A\n", NoPicture("an HDF5 file")),
    (0, b"%PDF-", NoPicture("a PDF document")),
    (0, b"%!PS", NoPicture("a PostScript document")),
];

#[cfg(feature = "avif")]
const AVIF: Recognised = Read(Format::Avif);
#[cfg(not(feature = "avif"))]
const AVIF: Recognised = OtherPicture("an AVIF picture (read by builds with the feature avif)");
const RAW: &str = "a camera's raw picture";
const HEIC: &str = "a HEIC picture";

/// How many bytes of a file tell its kind.
pub const HEAD_BYTES: usize = 512;

/// What the first bytes of a file are known for: 32 of them for all kinds but DICOM and NIfTI, for which it takes 348.
pub fn recognise(head: &[u8]) -> Option<Recognised> {
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Some(Read(Format::WebP));
    }
    // Files of boxes name a kind, a version, and the kinds that they are compatible with; films begin alike.
    if head.get(4..8) == Some(b"ftyp") && !head[8..].starts_with(b"crx ") {
        let brands =
            || head[8..].as_chunks::<4>().0.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, brand)| brand);
        let heic = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];
        if brands().any(|brand| matches!(brand, b"avif" | b"avis")) {
            return Some(AVIF);
        }
        return brands().any(|brand| heic.contains(&brand)).then_some(OtherPicture(HEIC));
    }
    let begins = |&&(at, signature, _): &&(usize, &[u8], Recognised)| {
        head.get(at..).is_some_and(|rest| rest.starts_with(signature))
    };
    let known = SIGNATURES.iter().find(begins).map(|&(.., recognised)| recognised);
    known.or_else(|| is_svg(head).then_some(NoPicture("an SVG drawing")))
}

fn is_svg(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    text.starts_with(b"<svg") || (text.starts_with(b"<?xml") && text.windows(4).any(|window| window == b"<svg"))
}

/// Whether these first bytes of a file (32 or more) are those of a picture, of a kind that is read or of one that is refused by
/// its name.
pub fn begins_as_picture(head: &[u8]) -> bool {
    match recognise(head) {
        // Two letters are no proof: a header has one of few sizes.
        Some(Read(Format::Bmp)) => matches!(head.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])),
        Some(Read(_) | OtherPicture(_)) => true,
        Some(NoPicture(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_bytes() {
        for (head, expected) in [
            (&b"\xFF\xD8\xFF\xE0"[..], Some(Read(Format::Jpeg))),
            (b"RIFF\x10\0\0\0WEBPVP8L", Some(Read(Format::WebP))),
            (b"MM\0+\0\x08\0\0", Some(Read(Format::Tiff))),
            (b"II*\0\x10\0\0\0CR\x02\0", Some(OtherPicture(RAW))),
            (b"\0\0\0\x20ftypavif\0\0\0\0", Some(AVIF)),
            (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif", Some(AVIF)),
            (b"\0\0\0\x18ftypheic\0\0\0\0", Some(OtherPicture(HEIC))),
            (b"\0\0\0\x1Cftypmsf1\0\0\0\0", Some(OtherPicture(HEIC))),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01", Some(OtherPicture(RAW))),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (b"\x93NUMPY\x01\0", None),
            (b"\0\0\0\x18ftypisom\0\0\0\0", None),
            (b"%PDF-1.7", Some(NoPicture("a PDF document"))),
            (b"<?xml version=\"1.0\"?>\n<svg>", Some(NoPicture("an SVG drawing"))),
            (b"photos/a.jpg\nphotos/b.jpg\n", None),
            (b"", None),
        ] {
            assert_eq!(recognise(head), expected, "{}", head.escape_ascii());
        }
        let mut dicom = vec![0; 132];
        dicom[128..].copy_from_slice(b"DICM");
        assert_eq!(recognise(&dicom), Some(OtherPicture("a DICOM picture")));
    }

    #[test]
    fn a_picture_needs_no_name_and_letters_are_no_picture() {
        let mut bitmap = b"BM".to_vec();
        bitmap.resize(32, 0);
        assert!(!begins_as_picture(&bitmap) && !begins_as_picture(b"BMW and other makes of cars, a list"));
        bitmap[14] = 40;
        assert!(
            begins_as_picture(&bitmap) && begins_as_picture(b"8BPS\0\x01") && begins_as_picture(b"II*\0\x08\0\0\0")
        );
        assert!(!begins_as_picture(b"%PDF-1.7") && !begins_as_picture(b"path,label\na.jpg,1\n"));
    }
}
