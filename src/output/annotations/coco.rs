//! COCO's JSON: one object with the images, the annotations and the categories of a whole collection.
//!
//! Format: <https://cocodataset.org/#format-data>; masks are the compressed runs of [`RunLengthMask`].
//!
//! [`RunLengthMask`]: crate::raster::RunLengthMask

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::{AnnotatedImage, AnnotatedObject, Category};
use crate::output::folder::PendingFile;
use crate::output::{OutputError, OutputFolder};

/// What comes before the categories. Nothing of the machine and no time: the same images give the same file.
const HEAD: &str = concat!(
    "{\"info\":{\"description\":\"Pseudo-annotations: objects that deepcut found without labels\",",
    "\"contributor\":\"deepcut\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"},\n\"licenses\":[],\n\"categories\":["
);

/// A COCO file that appears under its name when it is finished; dropped before, it leaves nothing behind.
///
/// Images and annotations have ids 1, 2, … in the order in which they come, so the same images in the same order make
/// the same bytes. After an error the writer must be dropped.
#[derive(Debug)]
pub struct CocoWriter<'a> {
    /// The file so far: everything up to the last image.
    pending: PendingFile<'a>,
    /// The annotations, which follow the images in the file; a nameless file that vanishes with its handle.
    annotations: BufWriter<File>,
    image_count: u64,
    annotation_count: u64,
}

impl<'a> CocoWriter<'a> {
    /// Begins the file `path` in `folder`; temporary files hold its parts until [`CocoWriter::finish`].
    pub fn create(folder: &'a OutputFolder, path: &Path, categories: &[Category]) -> Result<Self, OutputError> {
        let mut pending = folder.begin(path)?;
        // On the disk of the result, which is chosen to be large enough; the system's folder may be in memory.
        let annotations = tempfile::tempfile_in(folder.temporary());
        let annotations = annotations.map_err(|source| OutputError::write(path, source))?;
        write_head(pending.writer(), categories).map_err(|source| OutputError::write(path, source))?;
        Ok(Self { pending, annotations: BufWriter::new(annotations), image_count: 0, annotation_count: 0 })
    }

    /// Adds an image and its objects.
    pub fn push(&mut self, image: &AnnotatedImage) -> Result<(), OutputError> {
        self.write_image(image).map_err(|source| OutputError::write(self.pending.target(), source))
    }

    fn write_image(&mut self, image: &AnnotatedImage) -> io::Result<()> {
        self.image_count += 1;
        let entry =
            ImageEntry { id: self.image_count, file_name: &image.path, width: image.width, height: image.height };
        write_element(self.pending.writer(), self.image_count, &entry)?;
        for object in &image.objects {
            self.annotation_count += 1;
            let annotation = Annotation::new(self.annotation_count, self.image_count, object);
            write_element(&mut self.annotations, self.annotation_count, &annotation)?;
        }
        Ok(())
    }

    /// Joins images and annotations, syncs them to the disk and gives the file its name, replacing an older one.
    pub fn finish(self) -> Result<(), OutputError> {
        let Self { mut pending, annotations, .. } = self;
        let join = |writer: &mut BufWriter<File>| {
            let mut annotations = annotations.into_inner().map_err(|error| error.into_error())?;
            annotations.rewind()?;
            writer.write_all(b"\n],\n\"annotations\":[")?;
            io::copy(&mut annotations, writer)?;
            writer.write_all(b"\n]}\n")
        };
        join(pending.writer()).map_err(|source| OutputError::write(pending.target(), source))?;
        pending.commit()
    }
}

#[derive(Serialize)]
struct ImageEntry<'a> {
    id: u64,
    file_name: &'a str,
    width: usize,
    height: usize,
}

#[derive(Serialize)]
struct Annotation {
    id: u64,
    image_id: u64,
    category_id: u32,
    segmentation: Segmentation,
    area: u64,
    /// Left, top, width, height.
    bbox: [usize; 4],
    iscrowd: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

#[derive(Serialize)]
struct Segmentation {
    /// Height, width.
    size: [usize; 2],
    counts: String,
}

impl Annotation {
    fn new(id: u64, image_id: u64, object: &AnnotatedObject) -> Self {
        let bounds = object.bounding_box;
        Self {
            id,
            image_id,
            category_id: object.category,
            segmentation: Segmentation {
                size: [object.mask.height(), object.mask.width()],
                counts: object.mask.compressed(),
            },
            area: object.area_px,
            bbox: [bounds.x, bounds.y, bounds.width, bounds.height],
            iscrowd: 0,
            // JSON knows no infinity and no NaN, and readers of scores no `null`.
            score: object.score.filter(|score| score.is_finite()),
        }
    }
}

/// Everything before the first image.
fn write_head(writer: &mut impl Write, categories: &[Category]) -> io::Result<()> {
    writer.write_all(HEAD.as_bytes())?;
    for (number, category) in (1..).zip(categories) {
        write_element(writer, number, category)?;
    }
    writer.write_all(b"\n],\n\"images\":[")
}

/// Writes the element `number` (from 1) of a list on a line of its own.
fn write_element(writer: &mut impl Write, number: u64, value: &impl Serialize) -> io::Result<()> {
    writer.write_all(if number == 1 { b"\n" } else { b",\n" })?;
    write_json(writer, value)
}

fn write_json(writer: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(writer, Ascii)).map_err(Into::into)
}

/// Escapes every character beyond ASCII: pycocotools reads the file in the encoding of the machine, which need not be
/// UTF-8.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if character.is_ascii() {
                write!(writer, "{character}")?;
            } else {
                // JSON escapes characters beyond 16 bits as two surrogates.
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::truth::coco;
    use crate::event::Silent;
    use crate::output::Claim;
    use crate::output::annotations::tests::{categories, image, nothing};

    fn open(root: &Path) -> OutputFolder {
        OutputFolder::open(root, "test", &[Claim::file("annotations.json")], None, &Silent).unwrap()
    }

    fn write(root: &Path, categories: &[Category], images: &[AnnotatedImage]) {
        let (folder, path) = (open(root), root.join("annotations.json"));
        let mut writer = CocoWriter::create(&folder, &path, categories).unwrap();
        images.iter().try_for_each(|image| writer.push(image)).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
    }

    fn written(categories: &[Category], images: &[AnnotatedImage]) -> String {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), categories, images);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the file, and what runs keep about the folder");
        fs::read_to_string(folder.path().join("annotations.json")).unwrap()
    }

    /// The file with `categories`, `images` and `annotations` between the brackets of their lists.
    fn expected(categories: &str, images: &str, annotations: &str) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{{\"info\":{{\"description\":\"Pseudo-annotations: objects that deepcut found without labels\",\
             \"contributor\":\"deepcut\",\"version\":\"{version}\"}},\n\"licenses\":[],\n\"categories\":[{categories}\n],\n\
             \"images\":[{images}\n],\n\"annotations\":[{annotations}\n]}}\n"
        )
    }

    #[test]
    fn empty_collections_and_images_without_objects_are_whole_files() {
        assert_eq!(written(&[], &[]), expected("", "", ""));
        serde_json::from_str::<serde_json::Value>(&expected("", "", "")).unwrap();
        let one = "\n{\"id\":1,\"file_name\":\"a/b.jpg\",\"width\":7,\"height\":5}";
        let category = "\n{\"id\":1,\"name\":\"object\",\"supercategory\":\"\"}";
        assert_eq!(written(&categories(&["object"]), &[image("a/b.jpg", 7, 5, &[])]), expected(category, one, ""));
    }

    #[test]
    fn ids_count_on_from_image_to_image_and_scores_are_there_where_known() {
        let mut images =
            [image("a.png", 3, 2, &[[2, 1, 0, 2, 2], [1, 0, 0, 1, 1]]), image("b.png", 1, 1, &[[1, 0, 0, 1, 1]])];
        images[0].objects[0].score = Some(0.1);
        images[0].objects[1].score = Some(f64::NAN);
        images[1].objects.push(nothing(1, 1));
        let annotations = "\n\
            {\"id\":1,\"image_id\":1,\"category_id\":2,\"segmentation\":{\"size\":[2,3],\"counts\":\"24\"},\
            \"area\":4,\"bbox\":[1,0,2,2],\"iscrowd\":0,\"score\":0.1},\n\
            {\"id\":2,\"image_id\":1,\"category_id\":1,\"segmentation\":{\"size\":[2,3],\"counts\":\"015\"},\
            \"area\":1,\"bbox\":[0,0,1,1],\"iscrowd\":0},\n\
            {\"id\":3,\"image_id\":2,\"category_id\":1,\"segmentation\":{\"size\":[1,1],\"counts\":\"01\"},\
            \"area\":1,\"bbox\":[0,0,1,1],\"iscrowd\":0},\n\
            {\"id\":4,\"image_id\":2,\"category_id\":1,\"segmentation\":{\"size\":[1,1],\"counts\":\"1\"},\
            \"area\":0,\"bbox\":[0,0,0,0],\"iscrowd\":0}";
        let entries = "\n{\"id\":1,\"file_name\":\"a.png\",\"width\":3,\"height\":2},\n\
            {\"id\":2,\"file_name\":\"b.png\",\"width\":1,\"height\":1}";
        assert_eq!(written(&[], &images), expected("", entries, annotations));
    }

    #[test]
    fn names_are_escaped_to_ascii() {
        let text = written(&categories(&["a\"\\\n<\u{1}", "é𝄞x"]), &[image("ü/\u{7f}.png", 1, 1, &[])]);
        let lists = "\n{\"id\":1,\"name\":\"a\\\"\\\\\\n<\\u0001\",\"supercategory\":\"\"},\n\
            {\"id\":2,\"name\":\"\\u00e9\\ud834\\udd1ex\",\"supercategory\":\"\"}";
        let entry = "\n{\"id\":1,\"file_name\":\"\\u00fc/\u{7f}.png\",\"width\":1,\"height\":1}";
        assert_eq!(text, expected(lists, entry, ""));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&value["categories"][0]["name"], &value["categories"][1]["name"]),
            (&"a\"\\\n<\u{1}".into(), &"é𝄞x".into())
        );
    }

    #[test]
    fn the_own_reader_draws_the_same_masks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("annotations.json");
        let images = [image("a/b.png", 9, 6, &[[1, 2, 1, 3, 4]]), image("c.png", 4, 4, &[])];
        write(folder.path(), &categories(&["object"]), &images);
        let truth = coco::masks(&path).unwrap();
        assert_eq!((truth.images.len(), truth.remarks.len()), (2, 0));
        assert_eq!((truth.images[0].key.as_str(), truth.images[0].size), ("a/b", Some((9, 6))));
        assert_eq!(truth.images[0].content.draw((1, 1)).unwrap().foreground, images[0].objects[0].mask.decode());
        assert!(!truth.images[1].content.has_objects());
    }

    #[test]
    fn an_abandoned_file_leaves_the_old_one_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("annotations.json");
        write(root.path(), &[], &[]);
        let (folder, old) = (open(root.path()), fs::read_to_string(&path).unwrap());
        let mut writer = CocoWriter::create(&folder, &path, &[]).unwrap();
        writer.push(&image("a.png", 2, 2, &[[1, 0, 0, 1, 1]])).unwrap();
        drop(writer);
        assert_eq!(fs::read_to_string(&path).unwrap(), old);
        assert_eq!(fs::read_dir(folder.temporary()).unwrap().count(), 0);
    }
}
