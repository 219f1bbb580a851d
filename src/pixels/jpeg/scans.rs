//! Sequential JPEGs whose components come in scans of their own: the usual decoder mixes their rows up.

use jpeg_decoder::{Decoder, Error, PixelFormat};

use super::Structure;
use crate::pixels::decode::error::DecodeError;

/// Reads red, green and blue, or brightness: samples side by side, and how many a pixel has.
pub(in crate::pixels) fn read(bytes: &[u8], structure: &Structure) -> Result<(Vec<u8>, usize), DecodeError> {
    let components = &structure.component[..usize::from(structure.components).min(structure.component.len())];
    if components.len() != 3 || !counts_blocks_rightly(structure) {
        return Err(DecodeError::Unsupported {
            what: "a JPEG of several scans with this number or sampling of components".into(),
        });
    }
    let mut decoder = Decoder::new(bytes);
    decoder.set_color_transform(structure.colour_transform());
    let values = decoder.decode().map_err(failed)?;
    match decoder.info().map(|info| info.pixel_format) {
        Some(PixelFormat::RGB24) => Ok((values, 3)),
        Some(PixelFormat::L8) => Ok((values, 1)),
        _ => Err(DecodeError::Broken { reason: "its components are no colours".into() }),
    }
}

/// Whether the decoder takes as many blocks for a scan of one component as there are (T.81, A.2.2): as many as cover the
/// component's own samples, which it counts from the frame's.
fn counts_blocks_rightly(structure: &Structure) -> bool {
    let components = &structure.component[..3];
    let is_right = |side: u16, factor: fn(&super::Component) -> u8| {
        let most = components.iter().map(factor).max().unwrap_or(1).max(1);
        components.iter().map(factor).all(|own| {
            let (side, own, most) = (u32::from(side), u32::from(own), u32::from(most));
            let taken = (side.div_ceil(8 * most) * own).min(side.div_ceil(8));
            taken == (side * own).div_ceil(most).div_ceil(8)
        })
    };
    is_right(structure.width, |component| component.across) && is_right(structure.height, |component| component.down)
}

fn failed(error: Error) -> DecodeError {
    match error {
        Error::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => DecodeError::Truncated,
        Error::Unsupported(feature) => DecodeError::Unsupported { what: format!("a JPEG with {feature:?}") },
        error => DecodeError::Broken { reason: error.to_string() },
    }
}
