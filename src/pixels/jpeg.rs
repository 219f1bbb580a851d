//! A walk over the markers of a JPEG, for what its decoder does not tell.
//!
//! The decoder fills what is missing of a truncated file with grey and reports success. A complete file ends with an
//! end-of-image marker at the outermost level (one inside an embedded thumbnail does not count), so its presence is
//! checked here; libjpeg's users do the same. Source: ITU-T T.81, annex B.

/// What the markers of a JPEG say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Structure {
    /// The end-of-image marker was reached.
    pub complete: bool,
    /// Number of colour components of the frame.
    pub components: u8,
    /// The decoder has to hold the coefficients of the whole picture: several scans refine or complete each other.
    pub holds_coefficients: bool,
}

const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;

/// Walks over the markers of `bytes`, which start with the start-of-image marker.
pub(super) fn structure(bytes: &[u8]) -> Structure {
    let mut found = Structure::default();
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
                let segment = bytes.get(position + 3..).unwrap_or_default();
                match marker {
                    // Start of frame; C4, C8 and CC in the same range are other segments.
                    0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                        found.components = segment.get(5).copied().unwrap_or(0);
                        found.holds_coefficients |= matches!(marker & 0x03, 2);
                    }
                    START_OF_SCAN => {
                        found.holds_coefficients |= segment.first().is_some_and(|&count| count < found.components)
                    }
                    _ => {}
                }
                position += 1 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
    found
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
        assert_eq!(structure(&whole), Structure { complete: true, components: 1, holds_coefficients: true });
        for end in 2..whole.len() - 1 {
            assert!(!structure(&whole[..end]).complete, "cut at {end}");
        }
    }
}
