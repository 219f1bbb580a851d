//! Which column of a table holds its images.

use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;

/// What a column of images is usually called, in small letters; where there are several, the first of these is taken.
const USUAL_NAMES: [&str; 12] =
    ["image", "img", "jpg", "jpeg", "png", "webp", "tif", "tiff", "image_bytes", "bytes", "picture", "content"];

/// The place among the schema's leaves of the column with the images: of binary values in the table itself, or as Hugging Face
/// writes images, a group of `bytes` and `path`. The error is why there is none that can be read.
pub(super) fn of_images(metadata: &ParquetMetaData) -> Result<usize, String> {
    let schema = metadata.file_metadata().schema_descr();
    let columns = schema.columns().iter().enumerate();
    let candidates: Vec<(usize, &str)> = columns.filter_map(|(at, column)| Some((at, image_name(column)?))).collect();
    let rank = |name: &str| USUAL_NAMES.iter().position(|usual| name.eq_ignore_ascii_case(usual));
    let usual = candidates.iter().filter_map(|(at, name)| Some((rank(name)?, *at))).min().map(|(_, at)| at);
    let column = match (usual, candidates.as_slice()) {
        (Some(at), _) | (None, &[(at, _)]) => at,
        (None, []) => {
            let expected = "a binary column, or one of bytes and path as Hugging Face writes images";
            return Err(format!("it has no column of images ({expected})"));
        }
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|(_, name)| *name).collect();
            return Err(format!(
                "several of its columns may hold images ({}); call one of them image",
                names.join(", ")
            ));
        }
    };
    let codecs = metadata.row_groups().iter().map(|group| group.column(column).compression());
    match codecs.filter_map(unread).next() {
        Some(codec) => {
            Err(format!("its images are compressed by {codec}, which is not read; write it with snappy or zstd"))
        }
        None => Ok(column),
    }
}

/// What a column is called that may hold images.
fn image_name(column: &ColumnDescriptor) -> Option<&str> {
    let is_text = column.converted_type() == ConvertedType::UTF8
        || matches!(column.logical_type_ref(), Some(LogicalType::String | LogicalType::Json | LogicalType::Enum));
    if column.physical_type() != Type::BYTE_ARRAY || is_text || column.max_rep_level() > 0 {
        return None;
    }
    match column.path().parts() {
        [name] => Some(name),
        [name, bytes] if bytes == "bytes" => Some(name),
        _ => None,
    }
}

/// The name of a codec that is not read.
fn unread(codec: Compression) -> Option<&'static str> {
    match codec {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::GZIP(_)
        | Compression::LZ4
        | Compression::LZ4_RAW
        | Compression::ZSTD(_) => None,
        Compression::BROTLI(_) => Some("Brotli"),
        Compression::LZO => Some("LZO"),
    }
}
