use ::tiff::TiffResult;
use ::tiff::encoder::{Compression, Predictor, TiffEncoder, TiffKind, colortype};

use super::directory::*;
use super::*;
use crate::pixels::{DecodeConfig, NoData, decode};

const BYTE: u16 = 1;
const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// Writes what no encoder at hand does.
#[derive(Clone, Copy)]
struct Maker {
    big_endian: bool,
    big: bool,
}

const PLAIN: Maker = Maker { big_endian: false, big: false };

type Entries = Vec<(u16, u16, Vec<u64>)>;

impl Maker {
    fn number(self, value: u64, bytes: usize) -> Vec<u8> {
        if self.big_endian { value.to_be_bytes()[8 - bytes..].to_vec() } else { value.to_le_bytes()[..bytes].to_vec() }
    }

    /// A file with the same picture on every page; strips unless a tile's width is among the entries.
    fn file(self, mut entries: Entries, chunks: &[Vec<u8>], pages: usize) -> Vec<u8> {
        let (count_bytes, offset_bytes) = if self.big { (8, 8) } else { (2, 4) };
        let mut bytes = if self.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        bytes.extend(self.number(if self.big { 43 } else { 42 }, 2));
        if self.big {
            bytes.extend([self.number(8, 2), self.number(0, 2)].concat());
        }
        let mut pointer = bytes.len();
        bytes.extend(vec![0; offset_bytes]);
        let offsets: Vec<u64> = chunks
            .iter()
            .map(|chunk| {
                bytes.extend(chunk);
                (bytes.len() - chunk.len()) as u64
            })
            .collect();
        let counts = chunks.iter().map(|chunk| chunk.len() as u64).collect();
        let is_tiled = entries.iter().any(|(tag, ..)| *tag == TILE_WIDTH);
        let (offset_tag, count_tag) = if is_tiled { (324, 325) } else { (273, 279) };
        entries.extend([(offset_tag, LONG, offsets), (count_tag, LONG, counts)]);
        entries.sort();
        for _ in 0..pages {
            let mut fields = Vec::new();
            for (tag, kind, values) in &entries {
                let size = match *kind {
                    BYTE | ASCII => 1,
                    SHORT => 2,
                    _ => 4,
                };
                let mut field: Vec<u8> = values.iter().flat_map(|&value| self.number(value, size)).collect();
                if field.len() > offset_bytes {
                    let at = bytes.len() as u64;
                    bytes.extend(field);
                    field = self.number(at, offset_bytes);
                }
                field.resize(offset_bytes, 0);
                fields.push([
                    self.number(u64::from(*tag), 2),
                    self.number(u64::from(*kind), 2),
                    self.number(values.len() as u64, offset_bytes),
                    field,
                ]);
            }
            let at = self.number(bytes.len() as u64, offset_bytes);
            bytes[pointer..pointer + offset_bytes].copy_from_slice(&at);
            bytes.extend(self.number(entries.len() as u64, count_bytes));
            bytes.extend(fields.concat().concat());
            pointer = bytes.len();
            bytes.extend(vec![0; offset_bytes]);
        }
        bytes
    }
}

/// A picture of one strip.
fn entries(width: u64, height: u64, bits: &[u64], photometric: u64) -> Entries {
    vec![
        (WIDTH, LONG, vec![width]),
        (LENGTH, SHORT, vec![height]),
        (BITS_PER_SAMPLE, SHORT, bits.to_vec()),
        (COMPRESSION, SHORT, vec![1]),
        (PHOTOMETRIC, SHORT, vec![photometric]),
        (SAMPLES_PER_PIXEL, SHORT, vec![bits.len() as u64]),
        (ROWS_PER_STRIP, LONG, vec![height]),
    ]
}

fn samples(bytes: &[u8]) -> Values {
    read(bytes, 0, 1 << 20).unwrap().0.values
}

#[test]
fn every_compression_and_type_gives_the_samples_that_were_written() {
    fn written(
        compression: Compression,
        predictor: Predictor,
        write: impl FnOnce(&mut TiffEncoder<Cursor<&mut Vec<u8>>>) -> TiffResult<()>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoder = TiffEncoder::new(Cursor::new(&mut bytes)).unwrap();
        write(&mut encoder.with_compression(compression).with_predictor(predictor)).unwrap();
        bytes
    }
    let grey: Vec<u8> = (0..60).map(|value| value * 4).collect();
    let wide: Vec<u16> = (0..60).map(|value| value * 1000).collect();
    let signed: Vec<i16> = (0..60).map(|value| value * 100 - 3000).collect();
    let real: Vec<f32> = (0..60).map(|value| value as f32 * 0.25 - 3.0).collect();
    let large: Vec<u32> = (0..60).map(|value| value * 70_000_001).collect();
    let double: Vec<f64> = (0..60).map(|value| f64::from(value) * 1e9).collect();
    let deflate = Compression::Deflate(Default::default());
    let (plain, difference) = (Predictor::None, Predictor::Horizontal);
    let packed = [(Compression::Lzw, difference), (deflate, difference)];
    let alone = [Compression::Uncompressed, Compression::Lzw, deflate, Compression::Packbits].map(|kind| (kind, plain));
    for (number, (kind, predictor)) in alone.into_iter().chain(packed).enumerate() {
        let bytes = written(kind, predictor, |encoder| encoder.write_image::<colortype::RGB8>(5, 4, &grey));
        assert_eq!(samples(&bytes), Values::U8(grey.clone()), "{number}");
        let bytes = written(kind, predictor, |encoder| encoder.write_image::<colortype::Gray16>(10, 6, &wide));
        assert_eq!(samples(&bytes), Values::U16(wide.clone()), "{number}");
        let bytes = written(kind, predictor, |encoder| encoder.write_image::<colortype::GrayI16>(10, 6, &signed));
        let page = read(&bytes, 0, 1 << 20).unwrap().0;
        assert_eq!(page.values, Values::F32(signed.iter().map(|&value| f32::from(value)).collect()), "{number}");
        assert_eq!(page.full_range(), (-32768.0, 32767.0));
        let bytes = written(kind, predictor, |encoder| encoder.write_image::<colortype::Gray32>(10, 6, &large));
        assert_eq!(samples(&bytes), Values::F64(large.iter().map(|&value| f64::from(value)).collect()), "{number}");
        let bytes = written(kind, plain, |encoder| encoder.write_image::<colortype::RGB32Float>(5, 4, &real));
        assert_eq!(samples(&bytes), Values::F32(real.clone()), "{number}");
        let bytes = written(kind, plain, |encoder| encoder.write_image::<colortype::Gray64Float>(10, 6, &double));
        assert_eq!(samples(&bytes), Values::F64(double.clone()), "{number}");
    }
    let half: Vec<u64> = [0x3C00, 0xC000, 0x3800].to_vec();
    let mut of_halves = entries(3, 1, &[16], 1);
    of_halves.push((SAMPLE_FORMAT, SHORT, vec![3]));
    let chunk = half.iter().flat_map(|&value| PLAIN.number(value, 2)).collect();
    assert_eq!(samples(&PLAIN.file(of_halves, &[chunk], 1)), Values::F32(vec![1.0, -2.0, 0.5]));
}

#[test]
fn every_layout_gives_the_same_picture() {
    // 5×3 pixels of three samples.
    let value = |x: usize, y: usize, band: usize| (40 * x + 90 * y + 7 * band) as u8;
    let pixels: Vec<u8> = (0..45).map(|index| value(index / 3 % 5, index / 15, index % 3)).collect();
    let expected: Vec<[u8; 3]> = pixels.as_chunks::<3>().0.to_vec();
    for big_endian in [false, true] {
        for big in [false, true] {
            let maker = Maker { big_endian, big };
            let strips = PLAIN_ROWS.map(|(from, to)| pixels[15 * from..15 * to].to_vec());
            let with = |further: &[(u16, u16, u64)]| {
                let mut entries = entries(5, 3, &[8; 3], RGB);
                for &(tag, kind, number) in further {
                    entries.retain(|(known, ..)| *known != tag);
                    entries.push((tag, kind, vec![number]));
                }
                entries
            };
            let strips = maker.file(with(&[(ROWS_PER_STRIP, SHORT, 2)]), &strips, 1);
            // Tiles of 16×16 reach beyond the picture.
            let tile = |band: Option<usize>| -> Vec<u8> {
                let bands = band.map_or(0..3, |band| band..band + 1);
                let pixels = (0..256).flat_map(|index| bands.clone().map(move |band| (index % 16, index / 16, band)));
                pixels.map(|(x, y, band)| if x < 5 && y < 3 { value(x, y, band) } else { 99 }).collect()
            };
            let tiled = [(TILE_WIDTH, SHORT, 16), (TILE_LENGTH, SHORT, 16)];
            let tiles = maker.file(with(&tiled), &[tile(None)], 1);
            let planar = (PLANAR, SHORT, 2);
            let plane = |band: usize| pixels.iter().skip(band).step_by(3).copied().collect::<Vec<u8>>();
            let planes = maker.file(with(&[planar]), &[0, 1, 2].map(plane), 1);
            let planar_tiles =
                maker.file(with(&[planar, tiled[0], tiled[1]]), &[0, 1, 2].map(|band| tile(Some(band))), 1);
            for (bytes, layout) in
                [(strips, "strips"), (tiles, "tiles"), (planes, "planes"), (planar_tiles, "planar tiles")]
            {
                let picture = decode(&bytes, &DecodeConfig::default()).unwrap();
                assert_eq!(picture.image.values, expected, "{layout}, {big_endian} {big}");
                assert!(picture.remarks.is_empty());
                for end in 0..bytes.len() {
                    assert!(decode(&bytes[..end], &DecodeConfig::default()).is_err(), "{layout} cut at {end}");
                }
            }
        }
    }
}

const PLAIN_ROWS: [(usize, usize); 2] = [(0, 2), (2, 3)];

#[test]
fn every_last_row_of_tiles_is_found() {
    // The streams of an encoder, as strips of its own; there are many ways to end between two bytes.
    for seed in 0..40u32 {
        let noise = |index: u32| (index.wrapping_mul(2_654_435_761).wrapping_add(seed * 77_777) >> 20) as u8 & 0x3F;
        let tile: Vec<u8> = (0..256).map(noise).collect();
        let mut strip = Vec::new();
        let mut encoder = TiffEncoder::new(Cursor::new(&mut strip)).unwrap().with_compression(Compression::Lzw);
        encoder.write_image::<colortype::Gray8>(16, 16, &tile).unwrap();
        let directory = directory::first(&mut Cursor::new(&strip)).unwrap();
        let [at, length] = [273, 279].map(|tag| directory.number(tag).unwrap() as usize);
        let mut entries = entries(11, 16, &[8], BLACK_IS_ZERO);
        entries.retain(|(tag, ..)| *tag != COMPRESSION);
        entries.extend([(COMPRESSION, SHORT, vec![5]), (TILE_WIDTH, SHORT, vec![16]), (TILE_LENGTH, SHORT, vec![16])]);
        let bytes = PLAIN.file(entries, &[strip[at..at + length].to_vec()], 1);
        let expected: Vec<u8> = tile.chunks(16).flat_map(|row| &row[..11]).copied().collect();
        assert_eq!(samples(&bytes), Values::U8(expected), "{seed}");
    }
}

#[test]
fn samples_are_shown_as_what_they_stand_for() {
    let shown = |entries: Entries, chunk: &[u8]| {
        decode(&PLAIN.file(entries, &[chunk.to_vec()], 1), &DecodeConfig::default()).unwrap().image.values
    };
    // One bit each, 0 is white; a row begins with a byte.
    assert_eq!(
        shown(entries(3, 2, &[1], WHITE_IS_ZERO), &[0b0100_0000, 0b1110_0000]),
        [255, 0, 255, 0, 0, 0].map(|grey| [grey; 3])
    );
    assert_eq!(shown(entries(3, 1, &[4], BLACK_IS_ZERO), &[0x0F, 0x80]), [[0; 3], [255; 3], [136; 3]]);
    let mut palette = entries(3, 1, &[8], PALETTE);
    let table = |first: [u64; 3]| first.into_iter().chain([0; 253]).collect::<Vec<u64>>();
    let colours = [table([65535, 0, 257]), table([0, 65535, 514]), table([0, 0, 771])].concat();
    palette.push((320, SHORT, colours));
    assert_eq!(shown(palette, &[2, 0, 1]), [[1, 2, 3], [255, 0, 0], [0, 255, 0]]);
    assert_eq!(shown(entries(2, 1, &[8; 4], CMYK), &[0, 255, 0, 0, 0, 0, 0, 128]), [[255, 0, 255], [127; 3]]);
    let mut luma = entries(2, 1, &[8; 3], YCBCR);
    luma.push((530, SHORT, vec![1, 1]));
    assert_eq!(shown(luma, &[200, 128, 128, 76, 85, 255]), [[200; 3], [254, 0, 0]]);
    // Opacity is what the file says to be opacity, not any fourth band.
    let four = [10, 20, 30, 0, 40, 50, 60, 255];
    assert_eq!(shown(entries(2, 1, &[8; 4], RGB), &four), [[10, 20, 30], [40, 50, 60]]);
    let mut opaque = entries(2, 1, &[8; 4], RGB);
    opaque.push((338, SHORT, vec![2]));
    assert_eq!(shown(opaque, &four), [[128; 3], [40, 50, 60]]);
}

#[test]
fn many_bands_and_pages_are_said_and_turned_ones_turned() {
    let mut many = entries(2, 1, &[8; 5], RGB);
    many.push((338, SHORT, vec![0, 0]));
    many.push((ORIENTATION, SHORT, vec![6]));
    let bytes = PLAIN.file(many, &[vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10]], 3);
    let picture = decode(&bytes, &DecodeConfig::default()).unwrap();
    assert_eq!((picture.width, picture.height, picture.image.values.clone()), (1, 2, vec![[1, 2, 3], [6, 7, 8]]));
    let said = picture.remarks.join("; ");
    assert!(said.contains("several pages") && said.contains("of its 5 bands"), "{said}");
    let bands = Some(crate::pixels::Bands::Three([5, 4, 1]));
    let chosen = decode(&bytes, &DecodeConfig { bands, ..DecodeConfig::default() }).unwrap();
    assert_eq!(chosen.image.values, [[5, 4, 1], [10, 9, 6]]);
    assert_eq!(directory::pages(&mut Cursor::new(&bytes)).unwrap().count(), 3);
}

#[test]
fn what_gdal_says_to_be_no_data_is_outside() {
    let real = |values: [f32; 4]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut floats = entries(4, 1, &[32], BLACK_IS_ZERO);
    floats.push((SAMPLE_FORMAT, SHORT, vec![3]));
    let picture = |entries: Entries, chunk: Vec<u8>, nodata: NoData| {
        let settings = DecodeConfig { nodata, ..DecodeConfig::default() };
        decode(&PLAIN.file(entries, &[chunk], 1), &settings).unwrap()
    };
    let outside = |picture: crate::pixels::Picture| picture.outside.map(|outside| outside.values);
    let chunk = real([-3.402_823_5e38, 0.25, f32::NAN, 0.75]);
    assert_eq!(outside(picture(floats.clone(), chunk.clone(), NoData::Auto)), Some(vec![0, 0, 1, 0]));
    floats.push((42113, ASCII, b"-3.4028234663852886e+38\0".map(u64::from).to_vec()));
    let whole = picture(floats.clone(), chunk.clone(), NoData::Auto);
    // The range is that of what has data.
    assert_eq!([whole.image.values[1][0], whole.image.values[3][0]], [64, 191]);
    assert_eq!(outside(whole), Some(vec![1, 0, 1, 0]));
    assert_eq!(outside(picture(floats.clone(), chunk.clone(), NoData::None)), None);
    assert_eq!(outside(picture(floats, chunk, NoData::Value(0.75))), Some(vec![0, 0, 1, 1]));
    let mut scene = entries(2, 1, &[16; 3], RGB);
    scene.push((42113, ASCII, b"0\0".map(u64::from).to_vec()));
    let chunk = [0u16, 0, 0, 0, 900, 700].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(outside(picture(scene, chunk, NoData::Auto)), Some(vec![1, 0]));
}

/// A JPEG of one colour.
fn jpeg(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = [200, 60, 30].repeat((side * side) as usize);
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    image::ImageEncoder::write_image(encoder, &pixels, side, side, image::ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// A TIFF of 16×16 pixels whose strip is a JPEG.
fn jpeg_strip(chunk: Vec<u8>) -> Vec<u8> {
    let mut entries = entries(16, 16, &[8; 3], YCBCR);
    entries.retain(|(tag, ..)| *tag != COMPRESSION);
    entries.push((COMPRESSION, SHORT, vec![JPEG]));
    PLAIN.file(entries, &[chunk], 1)
}

#[test]
fn jpegs_in_strips_are_whole_and_of_their_strips_size() {
    let whole = jpeg(16);
    let picture = decode(&jpeg_strip(whole.clone()), &DecodeConfig::default()).unwrap();
    let expected = [200u8, 60, 30];
    let near = |pixel: &[u8; 3]| pixel.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 3);
    assert!(picture.image.values.iter().all(near), "{:?}", picture.at(0, 0));
    let cut = decode(&jpeg_strip(whole[..whole.len() - 20].to_vec()), &DecodeConfig::default());
    assert!(matches!(cut, Err(DecodeError::Truncated)));
    for side in [8, 64] {
        assert!(decode(&jpeg_strip(jpeg(side)), &DecodeConfig::default()).is_err(), "{side}");
    }
}

#[test]
fn what_a_directory_promises_takes_no_memory() {
    let refused = |further: &[(u16, u64)], expected: &str| {
        let mut entries = entries(4, 4, &[8], BLACK_IS_ZERO);
        for &(tag, number) in further {
            entries.retain(|(known, ..)| *known != tag);
            entries.push((tag, LONG, vec![number]));
        }
        let error = decode(&PLAIN.file(entries, &[vec![0; 16]], 1), &DecodeConfig::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{further:?}: {error}");
    };
    refused(&[(WIDTH, u64::from(u32::MAX)), (LENGTH, u64::from(u32::MAX))], "pixels.max_megapixels");
    refused(&[(WIDTH, 9000), (LENGTH, 9000), (BITS_PER_SAMPLE, 32)], "pixels.max_mebibytes");
    refused(&[(SAMPLES_PER_PIXEL, 60000)], "60000 bands");
    refused(&[(WIDTH, 0)], "no pixels");
    refused(&[(LENGTH, 30_000_000), (WIDTH, 1), (ROWS_PER_STRIP, 1)], "too many strips");
    refused(&[(TILE_WIDTH, 1 << 30), (TILE_LENGTH, 16)], "tiles are larger");
    refused(&[(BITS_PER_SAMPLE, 12)], "not supported");
    refused(&[(PHOTOMETRIC, 32803)], "a sensor's own values");
    refused(&[(DNG_VERSION, 1)], "a camera's raw picture");
    refused(&[(COMPRESSION, 34712)], "not supported");
}

#[test]
fn damage_never_panics() {
    let mut files = vec![PLAIN.file(entries(4, 4, &[8; 3], RGB), &[vec![7; 48]], 2)];
    let mut tiles = entries(4, 4, &[16; 2], BLACK_IS_ZERO);
    tiles.extend([(TILE_WIDTH, SHORT, vec![16]), (TILE_LENGTH, SHORT, vec![16])]);
    files.push(Maker { big_endian: true, big: true }.file(tiles, &[vec![7; 1024]], 1));
    let mut lzw = Vec::new();
    let mut encoder = TiffEncoder::new(Cursor::new(&mut lzw)).unwrap().with_compression(Compression::Lzw);
    encoder.write_image::<colortype::Gray16>(8, 8, &[300; 64]).unwrap();
    files.push(lzw);
    let mut planes = entries(20, 18, &[4; 2], BLACK_IS_ZERO);
    planes.extend([(PLANAR, SHORT, vec![2]), (TILE_WIDTH, SHORT, vec![16]), (TILE_LENGTH, SHORT, vec![16])]);
    files.push(PLAIN.file(planes, &vec![vec![0x5A; 128]; 8], 1));
    files.push(jpeg_strip(jpeg(16)));
    for bytes in files {
        for at in 0..bytes.len() {
            for damage in
                [&[0x01][..], &[0x80], &[0xFF], &[0; 4], &[0xFF; 2], &[0xFF; 4], &[0xFF, 0xFF, 0xFF, 0x7F], &[0xFF; 8]]
            {
                let mut damaged = bytes.clone();
                match (damage, damaged.get_mut(at..at + damage.len())) {
                    (&[bits], _) => damaged[at] ^= bits,
                    // Numbers as somebody writes them who means ill.
                    (_, Some(field)) => field.copy_from_slice(damage),
                    (_, None) => continue,
                }
                // Either answer is right: not every damage can be seen.
                let limits = DecodeConfig { max_megapixels: 1, max_mebibytes: 16, ..DecodeConfig::default() };
                let _ = decode(&damaged, &limits);
            }
        }
    }
}

#[test]
fn every_page_is_read_as_what_it_is() {
    for big in [false, true] {
        let pages = |encoder: &mut dyn FnMut(u32)| (0..3).for_each(encoder);
        let mut bytes = Vec::new();
        let file = Cursor::new(&mut bytes);
        fn write<K: TiffKind>(encoder: &mut TiffEncoder<Cursor<&mut Vec<u8>>, K>, page: u32) {
            match page {
                0 => encoder.write_image::<colortype::Gray8>(2, 1, &[1, 2]),
                1 => encoder.write_image::<colortype::RGB16>(1, 1, &[300, 400, 500]),
                _ => encoder.write_image::<colortype::CMYK8>(1, 2, &[0, 255, 0, 0, 0, 0, 0, 128]),
            }
            .unwrap();
        }
        if big {
            let mut encoder = TiffEncoder::new_big(file).unwrap();
            pages(&mut |page| write(&mut encoder, page));
        } else {
            let mut encoder = TiffEncoder::new(file).unwrap();
            pages(&mut |page| write(&mut encoder, page));
        }
        assert_eq!(directory::pages(&mut Cursor::new(&bytes)).unwrap().count(), 3);
        assert!(has_several_pages(&bytes));
        let page = |number| read(&bytes, number, 1 << 20).map(|(page, _)| (page.width, page.height, page.values));
        assert_eq!(page(0).unwrap(), (2, 1, Values::U8(vec![1, 2])));
        assert_eq!(page(1).unwrap(), (1, 1, Values::U16(vec![300, 400, 500])));
        assert_eq!(page(2).unwrap(), (1, 2, Values::U8(vec![0, 255, 0, 0, 0, 0, 0, 128])));
        assert!(matches!(page(3), Err(DecodeError::Truncated)));
    }
    // A chain that comes back to where it was ends there.
    let mut entries = entries(1, 1, &[8], BLACK_IS_ZERO);
    entries.push((NEW_SUBFILE_TYPE, LONG, vec![0]));
    let mut looped = PLAIN.file(entries.clone(), &[vec![7]], 2);
    let first = looped[4..8].to_vec();
    let end = looped.len() - 4;
    looped[end..].copy_from_slice(&first);
    assert_eq!(directory::pages(&mut Cursor::new(&looped)).unwrap().count(), 2);
    // One that leads out of the file has a page that is missed.
    looped[end..].copy_from_slice(&[0, 0, 1, 0]);
    let pages: Vec<bool> = directory::pages(&mut Cursor::new(&looped)).unwrap().map(|page| page.is_ok()).collect();
    assert_eq!(pages, [true, true, false]);
}
