//! Pascal VOC's XML: the boxes of one image.
//!
//! Format: the development kit of the challenge, <http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/>.

use super::{AnnotatedImage, AnnotatedObject, Category};

/// The annotation of one image, as a whole XML file.
///
/// Boxes have their first and their last pixel, both inside and counted from 1. An object counts as truncated if its box
/// touches the border of the image; one without a box is left out. Its name is that of its category; where `categories`
/// lacks it, the category's number. `segmented` is 0, for the masks are not where the challenge has them.
pub fn voc_annotation(image: &AnnotatedImage, categories: &[Category]) -> String {
    let (folder, name) = image.path.rsplit_once('/').unwrap_or(("", &image.path));
    let objects = image.objects.iter().filter(|object| object.has_box());
    let objects: String = objects.map(|object| voc_object(object, image, categories)).collect();
    let (folder, name) = (escaped(folder), escaped(name));
    let AnnotatedImage { width, height, .. } = image;
    format!(
        "<annotation>
\t<folder>{folder}</folder>
\t<filename>{name}</filename>
\t<source>
\t\t<annotation>deepcut</annotation>
\t</source>
\t<size>
\t\t<width>{width}</width>
\t\t<height>{height}</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
{objects}</annotation>
"
    )
}

fn voc_object(object: &AnnotatedObject, image: &AnnotatedImage, categories: &[Category]) -> String {
    let category = categories.iter().find(|category| category.id == object.category);
    let name = category.map_or_else(|| object.category.to_string(), |category| escaped(&category.name));
    let bounds = object.bounding_box;
    let (right, bottom) = (bounds.x + bounds.width, bounds.y + bounds.height);
    let truncated = bounds.x == 0 || bounds.y == 0 || right >= image.width || bottom >= image.height;
    format!(
        "\t<object>
\t\t<name>{name}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>{}</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox>
\t\t\t<xmin>{}</xmin>
\t\t\t<ymin>{}</ymin>
\t\t\t<xmax>{right}</xmax>
\t\t\t<ymax>{bottom}</ymax>
\t\t</bndbox>
\t</object>
",
        u8::from(truncated),
        bounds.x + 1,
        bounds.y + 1,
    )
}

/// `text` as the content of an element. What XML 1.0 does not allow at all (most control characters) becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut content = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => content += "&amp;",
            '<' => content += "&lt;",
            // Only `]]>` is forbidden, but this is easier to trust.
            '>' => content += "&gt;",
            // A bare one is read as a line feed.
            '\r' => content += "&#13;",
            '\t' | '\n' => content.push(character),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => content.push(char::REPLACEMENT_CHARACTER),
            _ => content.push(character),
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::truth::voc::{VocBox, boxes};
    use crate::output::annotations::tests::{categories, image, nothing};

    #[test]
    fn one_object_is_written_as_the_challenge_has_it() {
        let expected = "<annotation>\n\t<folder>a&amp;b/c</folder>\n\t<filename>d&lt;.jpg</filename>\n\t<source>\n\
            \t\t<annotation>deepcut</annotation>\n\t</source>\n\t<size>\n\t\t<width>6</width>\n\t\t<height>5</height>\n\
            \t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n\
            \t<object>\n\t\t<name>cat</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n\
            \t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>2</xmin>\n\t\t\t<ymin>3</ymin>\n\
            \t\t\t<xmax>5</xmax>\n\t\t\t<ymax>4</ymax>\n\t\t</bndbox>\n\t</object>\n</annotation>\n";
        assert_eq!(voc_annotation(&image("a&b/c/d<.jpg", 6, 5, &[[1, 1, 2, 4, 2]]), &categories(&["cat"])), expected);
    }

    #[test]
    fn boxes_at_the_border_are_truncated() {
        for (bounds, truncated) in [
            ([1, 1, 1, 2, 2], 0),
            ([1, 0, 1, 2, 2], 1),
            ([1, 1, 0, 2, 2], 1),
            ([1, 2, 1, 2, 2], 1),
            ([1, 1, 2, 2, 2], 1),
        ] {
            let text = voc_annotation(&image("a.png", 4, 4, &[bounds]), &[]);
            assert!(text.contains(&format!("<truncated>{truncated}</truncated>")), "{bounds:?}: {text}");
        }
    }

    #[test]
    fn the_own_reader_finds_the_same_boxes() {
        let names = categories(&["a<b>&\"c'", "two\nlines\rand 𝄞]]>", "\u{0}x\u{1b}\u{ffff}\u{85}y"]);
        let read_names = ["a<b>&\"c'", "two\nlines\rand 𝄞]]>", "\u{fffd}x\u{fffd}\u{fffd}\u{85}y"];
        let folder = tempfile::tempdir().unwrap();
        let bounds = [[1, 0, 0, 7, 5], [2, 3, 2, 1, 1], [3, 6, 4, 1, 1], [4, 1, 0, 2, 3]];
        let mut images =
            [image("a.jpg", 7, 5, &bounds), image("b.jpg", 1, 1, &[[1, 0, 0, 1, 1]]), image("c\u{2}.jpg", 3, 2, &[])];
        images[2].objects.push(nothing(3, 2));
        for (key, image) in ["a", "b", "c"].iter().zip(&images) {
            fs::write(folder.path().join(format!("{key}.xml")), voc_annotation(image, &names)).unwrap();
        }
        let truth = boxes(folder.path()).unwrap();
        let read = |class: &str, [left, top, right, bottom]: [f64; 4]| VocBox {
            class: class.into(),
            left,
            top,
            right,
            bottom,
        };
        let expected = [
            vec![
                read(read_names[0], [1.0, 1.0, 7.0, 5.0]),
                read(read_names[1], [4.0, 3.0, 4.0, 3.0]),
                read(read_names[2], [7.0, 5.0, 7.0, 5.0]),
                read("4", [2.0, 1.0, 3.0, 3.0]),
            ],
            vec![read(read_names[0], [1.0; 4])],
            vec![],
        ];
        for ((image, found), boxes) in images.iter().zip(&truth.images).zip(&expected) {
            assert_eq!((found.size, &found.content), (Some((image.width, image.height)), boxes));
        }
        assert_eq!(truth.images.len(), 3);
    }
}
