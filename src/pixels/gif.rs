//! A walk over the blocks of a GIF, for what its decoder does not tell. Source: GIF89a, sections 17 to 27.

use std::io::{self, Read};

/// What the blocks of a GIF say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Structure {
    /// Those that begin within the file, up to so many as were asked for.
    pub frames: u32,
    /// The first frame is smaller than the picture.
    pub is_covered_in_part: bool,
}

/// Reads up to the frame of number `most`, or to the end of the file, wherever that comes.
pub(super) fn structure(file: &mut impl Read, most: u32) -> io::Result<Structure> {
    let mut found = Structure::default();
    match walk(file, most, &mut found) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(found),
    }
}

fn walk(file: &mut impl Read, most: u32, found: &mut Structure) -> io::Result<()> {
    /// Bytes of a table of colours, by the field that announces it.
    fn table(field: u8) -> usize {
        if field & 0x80 == 0 { 0 } else { 3 << ((field & 7) + 1) }
    }
    let head: [u8; 13] = array(file)?;
    pass_over(file, table(head[10]))?;
    loop {
        match array(file)? {
            // An extension: its kind, and blocks.
            [0x21] => pass_over(file, 1)?,
            [0x2C] => {
                let frame: [u8; 9] = array(file)?;
                if found.frames == 0 {
                    found.is_covered_in_part = frame[..4] != [0; 4] || frame[4..8] != head[6..10];
                }
                found.frames += 1;
                if found.frames >= most {
                    return Ok(());
                }
                // The table of colours, and the size of codes.
                pass_over(file, table(frame[8]) + 1)?;
            }
            _ => return Ok(()),
        }
        // Blocks, each after its length, up to an empty one.
        loop {
            match array(file)? {
                [0] => break,
                [length] => pass_over(file, usize::from(length))?,
            }
        }
    }
}

/// Blocks are too short for seeking to be worth while.
fn pass_over(file: &mut impl Read, count: usize) -> io::Result<()> {
    /// A table of 256 colours, and the size of codes.
    const MOST: usize = 3 * 256 + 1;
    file.read_exact(&mut [0; MOST][..count])
}

fn array<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
