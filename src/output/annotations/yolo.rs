//! YOLO's text files: the boxes of each image, and one description of the collection.
//!
//! Format: <https://docs.ultralytics.com/datasets/detect/>. Labels of `images/a/b.jpg` are expected in
//! `labels/a/b.txt`.

use std::fmt::Write;

use super::{AnnotatedImage, Category};

/// The labels of one image: a line `class x_centre y_centre width height` for each object that has a box.
///
/// The class is the category's id − 1; the four others are fractions of the image's width and height, x to the right
/// and y downwards. An image without objects has no lines: it counts as background.
///
/// # Panics
/// If an object's category is 0.
pub fn yolo_labels(image: &AnnotatedImage) -> String {
    let (width_px, height_px) = (image.width as f64, image.height as f64);
    let line = |object: &super::AnnotatedObject| {
        assert!(object.category > 0, "categories count from 1");
        let bounds = object.bounding_box;
        let (width, height) = (bounds.width as f64, bounds.height as f64);
        let (x, y) = (bounds.x as f64 + width / 2.0, bounds.y as f64 + height / 2.0);
        let [x, y, width, height] = [x / width_px, y / height_px, width / width_px, height / height_px];
        format!("{} {x:.6} {y:.6} {width:.6} {height:.6}\n", object.category - 1)
    };
    image.objects.iter().filter(|object| object.has_box()).map(line).collect()
}

/// The text of `data.yaml`: where the images are and what the classes are called.
///
/// `train` and `validation` are folders of images, or text files that list images, relative to the folder of
/// `data.yaml`. Both must be there for training; without a split of one's own they are the same.
///
/// # Panics
/// If a category's id is 0.
pub fn yolo_data(categories: &[Category], train: &str, validation: &str) -> String {
    let mut text = format!("train: {}\nval: {}\n", quoted(train), quoted(validation));
    if categories.is_empty() {
        text += "names: {}\n";
        return text;
    }
    text += "names:\n";
    for category in categories {
        assert!(category.id > 0, "categories count from 1");
        text += &format!("  {}: {}\n", category.id - 1, quoted(&category.name));
    }
    text
}

/// `text` as one double-quoted YAML scalar on one line, for readers of YAML 1.1 and 1.2 alike.
fn quoted(text: &str) -> String {
    let mut scalar = String::with_capacity(text.len() + 2);
    scalar.push('"');
    for character in text.chars() {
        match character {
            '"' => scalar += "\\\"",
            '\\' => scalar += "\\\\",
            '\n' => scalar += "\\n",
            '\t' => scalar += "\\t",
            _ if must_be_escaped(character) => {
                // All of them are below 2¹⁶. Writing to a string cannot fail.
                let _ = write!(scalar, "\\u{:04X}", u32::from(character));
            }
            _ => scalar.push(character),
        }
    }
    scalar.push('"');
    scalar
}

/// Control characters, the line ends of Unicode (YAML 1.1 folds them to spaces), the byte order mark, and the two codes
/// that YAML forbids.
fn must_be_escaped(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::annotations::tests::{categories, image, nothing};

    #[test]
    fn boxes_are_fractions_of_the_image() {
        for (width, height, boxes, expected) in [
            (8, 4, &[][..], ""),
            (1, 1, &[[1, 0, 0, 1, 1]], "0 0.500000 0.500000 1.000000 1.000000\n"),
            (8, 4, &[[3, 2, 1, 4, 3]], "2 0.500000 0.625000 0.500000 0.750000\n"),
            (
                3,
                7,
                &[[1, 2, 6, 1, 1], [2, 0, 0, 3, 7]],
                "0 0.833333 0.928571 0.333333 0.142857\n1 0.500000 0.500000 1.000000 1.000000\n",
            ),
        ] {
            assert_eq!(yolo_labels(&image("a.png", width, height, boxes)), expected);
        }
        let mut empty = image("a.png", 3, 3, &[]);
        empty.objects.push(nothing(3, 3));
        assert_eq!(yolo_labels(&empty), "");
    }

    #[test]
    fn the_data_file_names_every_class_on_one_line() {
        assert_eq!(yolo_data(&[], "images", "images"), "train: \"images\"\nval: \"images\"\nnames: {}\n");
        let hostile = [
            ("yes", "yes"),
            ("", ""),
            ("a: b # c", "a: b # c"),
            ("a\"b\\", "a\\\"b\\\\"),
            ("x\r\n\ty\0", "x\\u000D\\n\\ty\\u0000"),
            ("\u{7f}\u{85}\u{2028}\u{feff}\u{ffff}", "\\u007F\\u0085\\u2028\\uFEFF\\uFFFF"),
            ("Löwe 𝄞 <", "Löwe 𝄞 <"),
        ];
        let names: Vec<&str> = hostile.iter().map(|(name, _)| *name).collect();
        let lines = hostile.iter().enumerate().map(|(class, (_, escaped))| format!("  {class}: \"{escaped}\"\n"));
        let expected = format!("train: \"a \\\"b\\\"\"\nval: \"c\"\nnames:\n{}", lines.collect::<String>());
        assert_eq!(yolo_data(&categories(&names), "a \"b\"", "c"), expected);
    }

    #[test]
    #[should_panic(expected = "categories count from 1")]
    fn category_0_is_refused() {
        yolo_labels(&image("a.png", 1, 1, &[[0, 0, 0, 1, 1]]));
    }
}
