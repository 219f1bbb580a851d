//! A walk over the blocks of a GIF, for what its decoder does not tell. Source: GIF89a, sections 17 to 27.

/// What the blocks of a GIF say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Structure {
    pub has_several_frames: bool,
    /// The first frame is smaller than the picture.
    pub is_covered_in_part: bool,
}

pub(super) fn structure(bytes: &[u8]) -> Structure {
    walk(bytes).unwrap_or_default()
}

/// None where the file ends before its second frame or its end.
fn walk(bytes: &[u8]) -> Option<Structure> {
    let number = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    /// Bytes of a table of colours, by the field that announces it.
    fn table(field: u8) -> usize {
        if field & 0x80 == 0 { 0 } else { 3 << ((field & 7) + 1) }
    }
    let canvas = [number(6)?, number(8)?];
    let mut found = Structure::default();
    let mut frames = 0;
    let mut at = 13 + table(*bytes.get(10)?);
    loop {
        at = match *bytes.get(at)? {
            // An extension: its kind, and blocks.
            0x21 => at + 2,
            0x2C => {
                frames += 1;
                if frames == 2 {
                    return Some(Structure { has_several_frames: true, ..found });
                }
                let frame = [number(at + 1)?, number(at + 3)?, number(at + 5)?, number(at + 7)?];
                found.is_covered_in_part = frame != [0, 0, canvas[0], canvas[1]];
                // The table of colours, and the size of codes.
                at + 10 + table(*bytes.get(at + 9)?) + 1
            }
            _ => return Some(found),
        };
        // Blocks, each after its length, up to an empty one.
        while let length @ 1.. = usize::from(*bytes.get(at)?) {
            at += 1 + length;
        }
        at += 1;
    }
}
