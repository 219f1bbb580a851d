//! Polygons, as COCO's ground truth has them, to masks.
//!
//! A pixel at the rim belongs to a polygon or not by a convention, and scores depend on it. This one is that of COCO's own
//! tools (`frPyObjects` and `merge` of the COCO mask interface): the outline is drawn as a chain of cells on a grid
//! five times finer than the pixels, and where the chain steps over the middle of a pixel column, the column turns
//! from outside to inside or back at the next pixel below.

use super::rle::MAX_AREA_PX;
use super::{Mask, Raster};

/// Cells of the fine grid along a pixel. Odd, so that a pixel has a middle cell.
const CELLS: i64 = 5;

/// The middle cell of a pixel; the outline crosses a column where it steps between this cell and the next.
const MIDDLE: i64 = CELLS / 2;

/// The farthest a vertex may be from the origin. Far beyond any image, and exact in the fine grid.
const MAX_COORDINATE: f64 = 1e8;

/// A polygon that cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolygonError {
    #[error("a mask of {width}x{height} pixels is larger than this program reads; check the image's size")]
    TooLarge { width: usize, height: usize },

    #[error("polygon {polygon} has {numbers} numbers; give x and y of at least three corners")]
    TooFewNumbers { polygon: usize, numbers: usize },

    #[error("polygon {polygon} has a corner at {coordinate}, which is in no image; correct or remove it")]
    OutOfRange { polygon: usize, coordinate: f64 },
}

/// The union of `polygons`: 1 inside, 0 outside.
///
/// Coordinates are continuous (pixel i covers [i, i + 1)), corners may lie outside of the image, and the last corner
/// joins the first. Where a polygon crosses itself, what an odd number of its windings enclose is inside. Pixel for
/// pixel the mask that COCO's tools make.
///
/// # Shapes
/// - `polygons`: each x₀, y₀, x₁, y₁, …
/// - result: `[height, width]`
pub fn mask_from_polygons(polygons: &[Vec<f64>], width: usize, height: usize) -> Result<Mask, PolygonError> {
    if width.checked_mul(height).is_none_or(|area| area > MAX_AREA_PX) {
        return Err(PolygonError::TooLarge { width, height });
    }
    let mut mask = Mask::filled(width, height, 0);
    let mut turns = Raster::filled(width, height, false);
    for (index, polygon) in polygons.iter().enumerate() {
        if polygon.len() < 6 || polygon.len() % 2 == 1 {
            return Err(PolygonError::TooFewNumbers { polygon: index, numbers: polygon.len() });
        }
        let in_range = |coordinate: f64| (-MAX_COORDINATE..=MAX_COORDINATE).contains(&coordinate);
        if let Some(&coordinate) = polygon.iter().find(|&&coordinate| !in_range(coordinate)) {
            return Err(PolygonError::OutOfRange { polygon: index, coordinate });
        }
        fill(polygon, &mut mask, &mut turns);
    }
    Ok(mask)
}

/// Marks the inside of one polygon. `turns` is working space, all false before and after.
fn fill(polygon: &[f64], mask: &mut Mask, turns: &mut Raster<bool>) {
    let (width, height) = (mask.width, mask.height);
    // Rounded to the nearest cell; below zero towards it, where only the slope of an edge can tell the difference.
    let cell = |coordinate: f64| (CELLS as f64 * coordinate + 0.5) as i64;
    let corners: Vec<(i64, i64)> = polygon.chunks_exact(2).map(|corner| (cell(corner[0]), cell(corner[1]))).collect();

    // Rows and columns in which something turns.
    let (mut left, mut right, mut top) = (width, 0, height);
    let following = corners.iter().skip(1).chain(corners.first());
    for (&start, &end) in corners.iter().zip(following) {
        crossings(start, end, width, |x, cell_y| {
            // The first pixel whose middle cell is not above the crossing.
            let y = (cell_y - MIDDLE + CELLS - 1).div_euclid(CELLS).max(0) as usize;
            left = left.min(x);
            right = right.max(x + 1);
            if y < height {
                top = top.min(y);
                turns.values[y * width + x] ^= true;
            }
        });
    }
    if left >= right {
        return;
    }
    // The outline is closed and crosses every column an even number of times: each starts outside.
    let mut inside = vec![false; right - left];
    for y in top..height {
        let row = y * width + left..y * width + right;
        let cells = mask.values[row.clone()].iter_mut().zip(&mut turns.values[row]);
        for ((value, turn), inside) in cells.zip(&mut inside) {
            *inside ^= std::mem::take(turn);
            *value |= u8::from(*inside);
        }
    }
}

/// Calls `found` with (pixel column, cell row) for every pixel column below `width` whose middle the edge steps over.
///
/// The chain of cells of an edge has one cell for each step along the edge's longer side; the other coordinate is
/// rounded to the nearest cell. The crossing lies between two successive cells, and the upper one gives its row.
fn crossings(start: (i64, i64), end: (i64, i64), width: usize, mut found: impl FnMut(usize, i64)) {
    let (span_x, span_y) = ((end.0 - start.0).abs(), (end.1 - start.1).abs());
    let wide = span_x >= span_y;
    // Along the longer side upwards, so that an edge is the same chain in both directions.
    let backwards = if wide { start.0 > end.0 } else { start.1 > end.1 };
    let (from, to) = if backwards { (end, start) } else { (start, end) };

    // Columns whose middle cell and the cell right of it both lie within the edge.
    let (cell_left, cell_right) = (start.0.min(end.0), start.0.max(end.0));
    let first = (cell_left - MIDDLE + CELLS - 1).div_euclid(CELLS).max(0);
    let last = (cell_right - MIDDLE - 1).div_euclid(CELLS).min(width as i64 - 1);
    for x in first..=last {
        let middle = CELLS * x + MIDDLE;
        let cell_y = if wide {
            // Not empty: a column lies within, so span_x > 0.
            let slope = (to.1 - from.1) as f64 / span_x as f64;
            let row = |cell_x: i64| (from.1 as f64 + slope * (cell_x - from.0) as f64 + 0.5) as i64;
            row(middle).min(row(middle + 1))
        } else {
            let slope = (to.0 - from.0) as f64 / span_y as f64;
            let is_right = |step: i64| (from.0 as f64 + slope * step as f64 + 0.5) as i64 > middle;
            // Steps 0 and span_y lie on different sides; find the first step on the side of the end.
            let (mut before, mut after) = (0, span_y);
            while after - before > 1 {
                let step = i64::midpoint(before, after);
                if is_right(step) == (to.0 > from.0) { after = step } else { before = step }
            }
            from.1 + before
        };
        found(x as usize, cell_y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(polygons: &[&[f64]], width: usize, height: usize) -> String {
        let polygons: Vec<Vec<f64>> = polygons.iter().map(|polygon| polygon.to_vec()).collect();
        let mask = mask_from_polygons(&polygons, width, height).unwrap();
        let rows = mask.values.chunks_exact(width.max(1));
        rows.map(|row| row.iter().map(|value| if *value == 1 { '#' } else { '.' }).collect::<String>())
            .collect::<Vec<_>>()
            .join("/")
    }

    #[test]
    fn whole_pixels_are_exact() {
        assert_eq!(picture(&[&[1., 1., 4., 1., 4., 3., 1., 3.]], 5, 4), "...../.###./.###./.....");
        // The other way round, from another corner.
        assert_eq!(picture(&[&[4., 3., 4., 1., 1., 1., 1., 3.]], 5, 4), "...../.###./.###./.....");
        // Larger than the image.
        assert_eq!(picture(&[&[-9., -9., 9., -9., 9., 9., -9., 9.]], 3, 2), "###/###");
        assert_eq!(picture(&[&[-9., -9., -2., -9., -2., -2.]], 3, 2), ".../...");
    }

    #[test]
    fn polygons_unite_and_windings_alternate() {
        let (one, two) = ([0., 0., 3., 0., 3., 2., 0., 2.], [2., 0., 5., 0., 5., 2., 2., 2.]);
        assert_eq!(picture(&[&one, &two], 5, 2), "#####/#####");
        // Outline and hole in one polygon, joined by an edge there and back.
        let ring = [0., 0., 5., 0., 5., 3., 0., 3., 0., 0., 1., 1., 4., 1., 4., 2., 1., 2., 1., 1.];
        assert_eq!(picture(&[&ring], 5, 3), "#####/#...#/#####");
    }

    #[test]
    fn polygons_without_area_are_empty() {
        assert_eq!(picture(&[&[1., 1., 1., 1., 1., 1.]], 3, 2), ".../...");
        assert_eq!(picture(&[&[0., 1., 3., 1., 1., 1.]], 3, 2), ".../...");
        assert_eq!(picture(&[], 3, 2), ".../...");
        assert_eq!(picture(&[&[0., 0., 3., 0., 3., 3.]], 0, 0), "");
    }

    #[test]
    fn broken_polygons_are_errors() {
        let fails = |polygon: &[f64]| mask_from_polygons(&[polygon.to_vec()], 4, 4).unwrap_err();
        for numbers in [0, 4, 7] {
            assert_eq!(fails(&vec![0.0; numbers]), PolygonError::TooFewNumbers { polygon: 0, numbers });
        }
        for coordinate in [f64::INFINITY, -1e9, f64::NAN] {
            let error = fails(&[0., 0., 1., coordinate, 1., 1.]);
            assert!(matches!(error, PolygonError::OutOfRange { polygon: 0, .. }), "{error}");
        }
        assert!(matches!(mask_from_polygons(&[], usize::MAX, 3), Err(PolygonError::TooLarge { .. })));
        // Enormous, but drawn at once.
        assert_eq!(picture(&[&[-1e8, -1e8, 1e8, -1e8, 1e8, 1e8, -1e8, 1e8]], 2, 1), "##");
    }
}
