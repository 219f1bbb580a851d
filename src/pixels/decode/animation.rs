//! A frame of an animation as it is shown: with what earlier frames have left of it.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{AnimationDecoder, ColorType, ImageDecoder, ImageError, ImageResult, Limits};

use super::error::DecodeError;
use super::formats::{Budget, container};
use super::{Decoded, Pixels};
use crate::files::Format;
use crate::pixels::header::{Declared, DeclaredSize};
use crate::pixels::page::Page;
use crate::pixels::settings::DecodeConfig;

/// The frame as it is stored, the picture before it, the picture after it, and another of the decoder's; the result is smaller.
const BYTES_PER_PIXEL: u64 = 4 * 4;

/// Reads the frame of that number, counted from 0. All before it have to be decoded, too.
pub(super) fn frame(
    bytes: &[u8],
    declared: &Declared,
    number: u32,
    settings: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    let container = container(bytes, declared.format)?;
    let size = declared.size.ok_or(DecodeError::Truncated)?;
    let size = DeclaredSize { bytes_per_pixel: BYTES_PER_PIXEL, ..size };
    size.check(settings)?;
    let budget = Budget::new(Some(size), settings);
    budget.check(size.bytes())?;
    announce(size.bytes());
    let failed = |error| budget.explain(DecodeError::from_image(error, settings));
    let mut limits = Limits::default();
    limits.max_alloc = Some(budget.bytes());
    let file = Cursor::new(bytes);
    let (frame, orientation) = match declared.format {
        Format::Gif => GifDecoder::new(file).and_then(|decoder| nth(decoder, limits, number, Ok)),
        Format::WebP => WebPDecoder::new(file).and_then(|decoder| nth(decoder, limits, number, Ok)),
        _ => PngDecoder::with_limits(file, limits.clone())
            .and_then(|decoder| nth(decoder, limits, number, PngDecoder::apng)),
    }
    .map_err(failed)?;
    let frame = frame.ok_or(DecodeError::Truncated)?;
    let (width, height) = budget.sides(frame.width(), frame.height())?;
    let mut page = Page::of_bytes(width, height, 4, frame.into_raw());
    page.lossless = container.lossless;
    Ok(Decoded { pixels: Pixels::Page(page), orientation, remarks: Vec::new() })
}

/// The frame of that number, none if there are fewer; and how it is turned upright.
fn nth<'a, D: ImageDecoder, A: AnimationDecoder<'a>>(
    mut decoder: D,
    limits: Limits,
    number: u32,
    animation: impl FnOnce(D) -> ImageResult<A>,
) -> ImageResult<(Option<image::RgbaImage>, Orientation)> {
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    if !matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8) {
        return Err(too_deep());
    }
    let mut frames = animation(decoder)?.into_frames();
    // Not `nth`: the first frame that cannot be decoded ends it.
    for _ in 0..number {
        if frames.next().transpose()?.is_none() {
            return Ok((None, orientation));
        }
    }
    let frame = frames.next().transpose()?;
    Ok((frame.map(image::Frame::into_buffer), orientation))
}

fn too_deep() -> ImageError {
    use image::error::{ImageFormatHint, UnsupportedError, UnsupportedErrorKind};
    let kind = UnsupportedErrorKind::GenericFeature("an animation of more than 8 bits".into());
    ImageError::Unsupported(UnsupportedError::from_format_and_kind(ImageFormatHint::Unknown, kind))
}

#[cfg(test)]
mod tests {
    use image::ExtendedColorType;
    use image::codecs::webp::WebPEncoder;
    use png::{BlendOp, DisposeOp};

    use super::super::{decode, decode_announced};
    use super::*;
    use crate::pixels::count_frames;
    use crate::raster::RgbImage;

    const RED: [u8; 3] = [255, 0, 0];
    const GREEN: [u8; 3] = [0, 255, 0];
    const SIZE: (u32, u32) = (3, 2);
    /// A green pixel in the second column of the first row, laid over a red picture.
    const PLACE: (u32, u32) = (1, 0);

    fn one(colour: [u8; 3]) -> Vec<u8> {
        [&colour[..], &[255]].concat()
    }

    /// The palette's first colour is red, its second green.
    fn gif() -> Vec<u8> {
        let frame = |colour: u8, place: (u32, u32), size: (u32, u32)| {
            const CLEAR: u8 = 4;
            const END: u8 = 5;
            // Codes of three bits, which a table that is cleared before every pixel never outgrows.
            let pixels = (0..size.0 * size.1).flat_map(|_| [CLEAR, colour]).chain([END]);
            let bits: Vec<u8> = pixels.flat_map(|code| (0..3).map(move |bit| code >> bit & 1)).collect();
            let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
            let codes: Vec<u8> = bits.chunks(8).map(byte).collect();
            let sides = [place.0, place.1, size.0, size.1].map(|side| (side as u16).to_le_bytes()).concat();
            [vec![b','], sides, vec![0, 2, codes.len() as u8], codes, vec![0]].concat()
        };
        let head = [&b"GIF89a"[..], &[SIZE.0 as u8, 0, SIZE.1 as u8, 0, 0x80, 0, 0], &RED, &GREEN].concat();
        [head, frame(0, (0, 0), SIZE), frame(1, PLACE, (1, 1)), vec![b';']].concat()
    }

    /// With a blue picture before the animation that is none of its frames, if `hidden`.
    fn png(hidden: bool, depth: png::BitDepth) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, SIZE.0, SIZE.1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(depth);
        encoder.set_animated(2, 0).unwrap();
        encoder.set_sep_def_img(hidden).unwrap();
        let mut writer = encoder.write_header().unwrap();
        let samples = |colour: [u8; 3], pixels: usize| {
            let of_depth = |byte: u8| vec![byte; depth as usize / 8];
            colour.repeat(pixels).into_iter().flat_map(of_depth).collect::<Vec<u8>>()
        };
        if hidden {
            writer.write_image_data(&samples([0, 0, 255], 6)).unwrap();
        }
        writer.write_image_data(&samples(RED, 6)).unwrap();
        writer.set_frame_dimension(1, 1).unwrap();
        writer.set_frame_position(PLACE.0, PLACE.1).unwrap();
        writer.set_blend_op(BlendOp::Over).unwrap();
        writer.set_dispose_op(DisposeOp::None).unwrap();
        writer.write_image_data(&samples(GREEN, 1)).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn webp() -> Vec<u8> {
        let picture = |colour: [u8; 3], (width, height): (u32, u32)| {
            let mut bytes = Vec::new();
            let values = one(colour).repeat((width * height) as usize);
            WebPEncoder::new_lossless(&mut bytes).encode(&values, width, height, ExtendedColorType::Rgba8).unwrap();
            bytes[12..].to_vec()
        };
        let chunk = |name: &[u8], content: &[u8]| {
            let mut bytes = [name, &(content.len() as u32).to_le_bytes(), content].concat();
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes
        };
        let three = |number: u32| number.to_le_bytes()[..3].to_vec();
        let frame = |colour, size: (u32, u32), place: (u32, u32)| {
            // Places are halves; the last byte says to keep the picture, and not to blend.
            let sides = [place.0 / 2, place.1 / 2, size.0 - 1, size.1 - 1].map(three).concat();
            chunk(b"ANMF", &[sides, three(100), vec![2], picture(colour, size)].concat())
        };
        let head = [vec![2, 0, 0, 0], three(SIZE.0 - 1), three(SIZE.1 - 1)].concat();
        let chunks = [
            b"WEBP".to_vec(),
            chunk(b"VP8X", &head),
            chunk(b"ANIM", &[0; 6]),
            frame(RED, SIZE, (0, 0)),
            frame(GREEN, (1, 1), (2, 0)),
        ];
        chunk(b"RIFF", &chunks.concat())
    }

    fn frame_of(bytes: &[u8], number: u32) -> Result<RgbImage, DecodeError> {
        decode_announced(bytes, Some(number), &DecodeConfig::DEFAULT, None, |_| ()).map(|picture| picture.image)
    }

    fn frames_in(bytes: &[u8]) -> u32 {
        count_frames(Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn frames_are_what_is_shown() {
        let eight = png::BitDepth::Eight;
        for (kind, bytes, column, cut) in [
            ("gif", gif(), 1, Some(4)),
            // Its container says how long the file is.
            ("webp", webp(), 2, None),
            ("png", png(false, eight), 1, Some(16)),
            ("hidden", png(true, eight), 1, Some(16)),
        ] {
            assert_eq!(frames_in(&bytes), 2, "{kind}");
            let first = frame_of(&bytes, 0).unwrap();
            assert_eq!((first.width, first.height, &first.values[..]), (3, 2, &[RED; 6][..]), "{kind}");
            let mut expected = [RED; 6];
            expected[column] = GREEN;
            assert_eq!(frame_of(&bytes, 1).unwrap().values, expected, "{kind}");
            assert!(matches!(frame_of(&bytes, 2), Err(DecodeError::Truncated)), "{kind}");
            let picture = decode(&bytes, &DecodeConfig::DEFAULT).unwrap();
            assert_eq!(picture.image.values[0], if kind == "hidden" { [0, 0, 255] } else { RED }, "{kind}");
            assert!(picture.remarks[0].contains("`data.frames` = \"all\""), "{kind}: {:?}", picture.remarks);
            // A frame that is cut off is missed, not left out.
            if let Some(cut) = cut {
                let cut = &bytes[..bytes.len() - cut];
                assert_eq!((frames_in(cut), frame_of(cut, 1).is_err()), (2, true), "{kind}");
            }
        }
        assert!(matches!(frame_of(&png(false, png::BitDepth::Sixteen), 1), Err(DecodeError::Unsupported { .. })));
        let small = DecodeConfig { max_mebibytes: 0, ..DecodeConfig::DEFAULT };
        let result = decode_announced(&gif(), Some(1), &small, None, |_| ());
        assert!(matches!(result, Err(DecodeError::TooMuchMemory { .. })), "{result:?}");
    }

    #[test]
    fn a_file_with_one_picture_or_none_has_one_frame() {
        let mut still = Vec::new();
        WebPEncoder::new_lossless(&mut still).encode(&one(RED), 1, 1, ExtendedColorType::Rgba8).unwrap();
        for bytes in [&b"no picture"[..], b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\x04\0\0\0WEBP", &still] {
            assert_eq!(frames_in(bytes), 1, "{bytes:?}");
        }
    }
}
