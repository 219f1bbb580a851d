//! A walk over the markers of a JPEG, for what its decoder does not tell.
//!
//! The decoder fills what is missing of a truncated file with grey and reports success. A complete file ends with an
//! end-of-image marker at the outermost level (one inside an embedded thumbnail does not count), so its presence is
//! checked here; libjpeg's users do the same. Source: ITU-T T.81, annex B.

pub(super) mod reduced;
pub(super) mod scans;
mod tables;

pub(super) use tables::with_standard_tables;

use jpeg_decoder::ColorTransform;

/// Frames of more components are not read.
const MOST_COMPONENTS: usize = 4;

/// What the markers of a JPEG say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Structure {
    /// The end-of-image marker was reached.
    pub complete: bool,
    pub width: u16,
    pub height: u16,
    /// Number of colour components of the frame.
    pub components: u8,
    /// The decoder has to hold the coefficients of the whole picture: several scans refine or complete each other.
    pub holds_coefficients: bool,
    /// Sequential, and the components do not come in one scan.
    pub comes_in_scans: bool,
    /// Sequential, coded with Huffman tables that are not there when the first scan begins.
    pub lacks_tables: bool,
    /// The code of each component, and its samples across and down.
    component: [Component; MOST_COMPONENTS],
    has_jfif: bool,
    adobe_transform: Option<u8>,
    /// Coefficients of each component that some scan completes, one bit each.
    finished: [u64; MOST_COMPONENTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Component {
    code: u8,
    across: u8,
    down: u8,
}

impl Structure {
    /// Whether the scans that were begun, carried through, give every coefficient in full.
    pub fn has_all_scans(&self) -> bool {
        let components = usize::from(self.components);
        (1..=MOST_COMPONENTS).contains(&components) && self.finished[..components].iter().all(|&bits| bits == u64::MAX)
    }

    /// What three components stand for, as libjpeg decides.
    fn colour_transform(&self) -> ColorTransform {
        let codes = self.component.map(|component| component.code);
        let is_rgb = !self.has_jfif
            && match self.adobe_transform {
                Some(transform) => transform == 0,
                None => codes[..3] == *b"RGB",
            };
        if is_rgb { ColorTransform::RGB } else { ColorTransform::YCbCr }
    }
}

const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
const HUFFMAN_TABLES: u8 = 0xC4;
const APPLICATION_0: u8 = 0xE0;
const APPLICATION_14: u8 = 0xEE;

/// Walks over the markers of `bytes`, which start with the start-of-image marker.
pub(super) fn structure(bytes: &[u8]) -> Structure {
    let mut found = Structure::default();
    let (mut frame, mut has_tables, mut scans) = (0, false, 0);
    let mut position = 2;
    // Every turn moves at least one byte forward. Bytes that belong to no segment, entropy-coded ones among them, are
    // passed over; there, FF is followed by 00 unless it starts a marker.
    while let Some(offset) = bytes.get(position..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF)) {
        position += offset + 1;
        let Some(&marker) = bytes.get(position) else { break };
        match marker {
            // Fill bytes: the marker's code follows the last FF.
            0xFF => continue,
            // A stuffed FF, and the markers without a segment: temporary, restart, start of image.
            0x00 | 0x01 | 0xD0..=0xD8 => position += 1,
            END_OF_IMAGE => {
                found.complete = true;
                break;
            }
            _ => {
                let Some(&[high, low]) = bytes.get(position + 1..position + 3) else { break };
                let length = usize::from(u16::from_be_bytes([high, low])).max(2);
                let rest = bytes.get(position + 3..).unwrap_or_default();
                let segment = &rest[..rest.len().min(length - 2)];
                match marker {
                    HUFFMAN_TABLES => has_tables = true,
                    APPLICATION_0 => found.has_jfif |= segment.starts_with(b"JFIF\0"),
                    APPLICATION_14 if segment.starts_with(b"Adobe") => found.adobe_transform = segment.get(11).copied(),
                    // Start of frame; C4, C8 and CC in the same range are other segments.
                    0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                        frame = marker;
                        found.read_frame(segment);
                        found.holds_coefficients |= matches!(marker & 0x03, 2);
                    }
                    START_OF_SCAN => {
                        let in_parts = segment.first().is_some_and(|&count| count < found.components);
                        found.holds_coefficients |= in_parts;
                        let is_sequential = matches!(frame, 0xC0 | 0xC1);
                        found.comes_in_scans |= is_sequential && in_parts;
                        found.lacks_tables |= is_sequential && scans == 0 && !has_tables;
                        found.read_scan(segment);
                        scans += 1;
                    }
                    _ => {}
                }
                position += 1 + length;
            }
        }
    }
    found
}

impl Structure {
    fn read_frame(&mut self, segment: &[u8]) {
        let &[_, height_high, height_low, width_high, width_low, components, ref rest @ ..] = segment else { return };
        self.height = u16::from_be_bytes([height_high, height_low]);
        self.width = u16::from_be_bytes([width_high, width_low]);
        self.components = components;
        for (component, &[code, sampling, _]) in self.component.iter_mut().zip(rest.as_chunks::<3>().0) {
            *component = Component { code, across: sampling >> 4, down: sampling & 15 };
        }
    }

    fn read_scan(&mut self, segment: &[u8]) {
        let Some((&count, rest)) = segment.split_first() else { return };
        let Some((selected, [from, to, precision, ..])) = rest.split_at_checked(2 * usize::from(count)) else { return };
        // What is to be refined is not complete.
        if precision & 15 != 0 || *to > 63 || from > to {
            return;
        }
        let coefficients = (u64::MAX >> (63 - to)) & (u64::MAX << from);
        for (component, finished) in self.component.iter().zip(&mut self.finished) {
            if selected.as_chunks::<2>().0.iter().any(|[code, _]| *code == component.code) {
                *finished |= coefficients;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outermost_end_marker_completes_a_file() {
        let thumbnail = [0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
        let frame = [0xFF, 0xC2, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0];
        let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x12, 0xFF, 0x00, 0xD9, 0xFF, 0xD0, 0x34];
        let whole = [&[0xFF, 0xD8][..], &thumbnail, &frame, &scan, &[0xFF, 0xFF, 0xD9, 0x55]].concat();
        let found = structure(&whole);
        assert!(found.complete && found.holds_coefficients && found.has_all_scans() && !found.comes_in_scans);
        assert_eq!((found.components, found.width, found.height), (1, 8, 8));
        for end in 2..whole.len() - 1 {
            assert!(!structure(&whole[..end]).complete, "cut at {end}");
        }
    }

    #[test]
    fn a_progressive_picture_needs_the_last_bit_of_every_coefficient() {
        let frame = [0xFF, 0xC2, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0];
        let scan = |from: u8, to: u8, precision: u8| [0xFF, 0xDA, 0, 8, 1, 1, 0, from, to, precision, 0x12];
        let mut bytes = [&[0xFF, 0xD8][..], &frame, &scan(0, 0, 0), &scan(1, 63, 1)].concat();
        assert!(!structure(&bytes).has_all_scans());
        bytes.extend(scan(1, 63, 0x10));
        assert!(structure(&bytes).has_all_scans());
    }
}
