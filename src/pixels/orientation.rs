//! Turning a picture the way its camera was held.

use image::metadata::Orientation;

use crate::raster::Raster;

/// Applies an EXIF orientation, so that the first row is the visual top and the first column the visual left.
///
/// # Shapes
/// `[height, width]` → the same, or `[width, height]` for the four orientations by a quarter turn.
pub(super) fn upright<T: Copy>(image: Raster<T>, orientation: Orientation) -> Raster<T> {
    let (width, height) = (image.width, image.height);
    match orientation {
        Orientation::NoTransforms => image,
        Orientation::FlipHorizontal => gather(&image, width, height, |x, y| (width - 1 - x, y)),
        Orientation::Rotate180 => gather(&image, width, height, |x, y| (width - 1 - x, height - 1 - y)),
        Orientation::FlipVertical => gather(&image, width, height, |x, y| (x, height - 1 - y)),
        Orientation::Rotate90FlipH => gather(&image, height, width, |x, y| (y, x)),
        Orientation::Rotate90 => gather(&image, height, width, |x, y| (y, height - 1 - x)),
        Orientation::Rotate270FlipH => gather(&image, height, width, |x, y| (width - 1 - y, height - 1 - x)),
        Orientation::Rotate270 => gather(&image, height, width, |x, y| (width - 1 - y, x)),
    }
}

/// A `width` × `height` raster whose value at (x, y) is that of `image` at `source(x, y)`.
fn gather<T: Copy>(
    image: &Raster<T>,
    width: usize,
    height: usize,
    source: impl Fn(usize, usize) -> (usize, usize),
) -> Raster<T> {
    let mut values = Vec::with_capacity(width * height);
    for y in 0..height {
        values.extend((0..width).map(|x| {
            let (source_x, source_y) = source(x, y);
            image.at(source_x, source_y)
        }));
    }
    Raster { width, height, values }
}

/// The four EXIF orientations (tag 0x0112, values 5 to 8) by which a photograph is laid on its side: upright, its width is
/// what its height was in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarterTurn(Orientation);

impl QuarterTurn {
    /// A camera held upright, turned to the left: EXIF value 6.
    pub const CLOCKWISE: QuarterTurn = QuarterTurn(Orientation::Rotate90);
    /// A camera held upright, turned to the right: EXIF value 8.
    pub const COUNTERCLOCKWISE: QuarterTurn = QuarterTurn(Orientation::Rotate270);

    /// None for the other four values, which keep the sides, and for what is no EXIF value.
    pub fn from_exif(value: u8) -> Option<QuarterTurn> {
        (5..=8).contains(&value).then(|| Orientation::from_exif(value).map(QuarterTurn)).flatten()
    }

    /// Turns what was drawn on the picture as it lies in the file: `[height, width]` → `[width, height]`.
    pub fn upright<T: Copy>(self, drawn: Raster<T>) -> Raster<T> {
        upright(drawn, self.0)
    }

    /// The same of a point in continuous coordinates on a picture of `width` × `height` pixels in the file.
    pub fn upright_point(self, [x, y]: [f64; 2], width: f64, height: f64) -> [f64; 2] {
        match self.0 {
            Orientation::Rotate90FlipH => [y, x],
            Orientation::Rotate90 => [height - y, x],
            Orientation::Rotate270FlipH => [height - y, width - x],
            _ => [y, width - x],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_orientation_puts_the_same_letter_upright() {
        // As seen:  1 2 3      The rows are what a camera stores for each EXIF value (EXIF 2.3, tag 0x0112).
        //           4 5 6
        let upright_values = [1u8, 2, 3, 4, 5, 6];
        for (exif, width, stored) in [
            (1u8, 3, [1u8, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [3, 6, 2, 5, 1, 4]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [4, 1, 5, 2, 6, 3]),
        ] {
            let stored = Raster::from_values(width, 6 / width, stored.map(|value| [value; 3]).to_vec());
            let result = upright(stored, Orientation::from_exif(exif).unwrap());
            assert_eq!((result.width, result.height), (3, 2), "EXIF value {exif}");
            assert_eq!(result.values, upright_values.map(|value| [value; 3]), "EXIF value {exif}");
        }
    }

    #[test]
    fn points_go_where_their_pixels_go() {
        let (width, height) = (5usize, 3usize);
        for exif in 1..=9 {
            let Some(turn) = QuarterTurn::from_exif(exif) else {
                assert!(!(5..=8).contains(&exif));
                continue;
            };
            let numbered = Raster::from_values(width, height, (0..width * height).collect());
            let turned = turn.upright(numbered);
            assert_eq!((turned.width, turned.height), (height, width));
            for (number, y) in (0..width * height).map(|number| (number, number / width)) {
                let middle = [(number % width) as f64 + 0.5, y as f64 + 0.5];
                let [x, y] = turn.upright_point(middle, width as f64, height as f64);
                assert_eq!(turned.at(x as usize, y as usize), number, "EXIF value {exif}");
            }
        }
    }
}
