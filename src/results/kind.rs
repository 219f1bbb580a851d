//! The kinds of files that a run writes of every image, and how each is known to be a run's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::writer::provenance;
use super::{ResultsFolder, SaveKinds};
use crate::output::{FileState, Sealed, state_unread};

/// A kind of file of which every image has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFile {
    Mask,
    Overlay,
    Saliency,
    Yolo,
    Voc,
}

impl ImageFile {
    pub const ALL: [ImageFile; 5] =
        [ImageFile::Mask, ImageFile::Overlay, ImageFile::Saliency, ImageFile::Yolo, ImageFile::Voc];

    pub fn name(self) -> &'static str {
        match self {
            ImageFile::Mask => "masks",
            ImageFile::Overlay => "overlays",
            ImageFile::Saliency => "saliency",
            ImageFile::Yolo => "yolo",
            ImageFile::Voc => "voc",
        }
    }

    pub fn is_saved(self, save: SaveKinds) -> bool {
        match self {
            ImageFile::Mask => save.masks,
            ImageFile::Overlay => save.overlays,
            ImageFile::Saliency => save.saliency,
            ImageFile::Yolo => save.yolo,
            ImageFile::Voc => save.voc,
        }
    }

    pub fn path(self, folder: &ResultsFolder, output: &Path) -> PathBuf {
        match self {
            ImageFile::Mask => folder.mask(output),
            ImageFile::Overlay => folder.overlay(output),
            ImageFile::Saliency => folder.saliency(output),
            ImageFile::Yolo => folder.yolo(output),
            ImageFile::Voc => folder.voc(output),
        }
    }

    /// How the file carries its checksum. YOLO's text has no room for one: the mask beside it knows it.
    pub fn sealed(self) -> Option<Sealed> {
        match self {
            ImageFile::Mask | ImageFile::Saliency => Some(Sealed::Png),
            ImageFile::Overlay => Some(Sealed::Jpeg),
            ImageFile::Voc => Some(Sealed::Xml),
            ImageFile::Yolo => None,
        }
    }

    /// The state of the file of the image whose results have the place `output`.
    pub fn state(self, folder: &ResultsFolder, output: &Path) -> io::Result<FileState> {
        let path = self.path(folder, output);
        let Some(sealed) = self.sealed() else {
            let known = provenance(&folder.mask(output)).and_then(|mask| mask.yolo);
            return yolo_state(&path, known.as_deref());
        };
        sealed.state(&path)
    }
}

/// The checksum of YOLO's text as masks hold it.
pub(super) fn yolo_checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
}

/// Without a mask that knows it, a text counts as a run's if runs write such.
fn yolo_state(path: &Path, checksum: Option<&str>) -> io::Result<FileState> {
    if let Some(state) = state_unread(path)? {
        return Ok(state);
    }
    let Ok(text) = String::from_utf8(fs::read(path)?) else { return Ok(FileState::Damaged) };
    let intact = checksum.map_or_else(|| text.lines().all(is_yolo_line), |known| yolo_checksum(&text) == known);
    Ok(match intact {
        true => FileState::Intact,
        false if text.contains('\0') => FileState::Damaged,
        false => FileState::Changed,
    })
}

/// Whether a line is as runs write it: a class and four fractions of six digits.
fn is_yolo_line(line: &str) -> bool {
    let fields: Vec<&str> = line.split(' ').collect();
    let is_fraction = |field: &&str| {
        field.split_once('.').is_some_and(|(whole, digits)| whole.parse::<u8>().is_ok() && digits.len() == 6)
            && field.parse::<f64>().is_ok()
    };
    fields.len() == 5 && fields[0].parse::<u32>().is_ok() && fields[1..].iter().all(is_fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_known_by_the_checksum_in_the_mask_or_by_how_runs_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let text = "0 0.500000 0.250000 1.000000 0.125000\n";
        let checksum = yolo_checksum(text);
        assert_eq!(yolo_state(&path, None).unwrap(), FileState::Absent);
        for (content, known, alone) in [
            (text, FileState::Intact, FileState::Intact),
            ("", FileState::Changed, FileState::Intact),
            ("1 0.500000 0.250000 1.000000 0.125000\n", FileState::Changed, FileState::Intact),
            ("0 0.5 0.25 1 0.125\n", FileState::Changed, FileState::Changed),
            ("a note", FileState::Changed, FileState::Changed),
            ("\0\0\0", FileState::Damaged, FileState::Damaged),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(yolo_state(&path, Some(&checksum)).unwrap(), known, "{content:?}");
            assert_eq!(yolo_state(&path, None).unwrap(), alone, "{content:?}");
        }
    }
}
