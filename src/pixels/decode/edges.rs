//! Empty edges: what scenes that were turned or cut have around them where nothing says so.
//!
//! Pixels of one extreme value are taken for no data only if that could hardly be anything else: they reach in from the
//! border, are a good part of the picture, and what is left is cut off straight, as a convex shape with few corners that
//! itself reaches the border. An object on a black or white background is none: it does not reach far along the border, or is not
//! cut off by straight lines.

use crate::raster::{Mask, Raster};

/// Smaller empty regions do no harm.
const LEAST_SHARE: f64 = 0.02;
/// What is left makes up so much of the picture's border at least.
const LEAST_BORDER: f64 = 0.25;
/// Empty pixels in the convex hull of what is left, as a share of the hull.
const MOST_WITHIN: f64 = 0.01;
/// Straight cuts by which a scene may end.
const MOST_CUTS: usize = 4;
/// How far a straight cut may be from the corners of its pixels.
const STRAIGHT_PX: f64 = 1.0;

/// The empty edges of a picture, 1 where it is empty; none unless it has such.
pub(super) fn empty(width: usize, height: usize, is_extreme: impl Fn(usize) -> bool) -> Option<Mask> {
    let border = border(width, height);
    // Most pictures end here.
    let empty_border = border.iter().filter(|&&pixel| is_extreme(pixel)).count();
    let left = border.len() - empty_border;
    if empty_border == 0 || (left as f64) < LEAST_BORDER * border.len() as f64 {
        return None;
    }
    let outside = reached_from_border(width, height, is_extreme);
    let count = outside.values.iter().filter(|&&value| value == 1).count();
    let area = width * height;
    if (count as f64) < LEAST_SHARE * area as f64 || count == area {
        return None;
    }
    is_cut_straight(&outside).then_some(outside)
}

/// The pixels along the border, each once.
fn border(width: usize, height: usize) -> Vec<usize> {
    let at = |x: usize, y: usize| y * width + x;
    let across = (0..width).flat_map(|x| [at(x, 0), at(x, height - 1)]);
    let down = (1..height.saturating_sub(1)).flat_map(|y| [at(0, y), at(width - 1, y)]);
    let mut border: Vec<usize> = across.chain(down).collect();
    border.sort_unstable();
    border.dedup();
    border
}

/// Extreme pixels from which a straight way to the border, along a row or a column, leads over such only. Around a convex
/// shape there is one from everywhere.
fn reached_from_border(width: usize, height: usize, is_extreme: impl Fn(usize) -> bool) -> Mask {
    let mut outside = Raster::filled(width, height, 0u8);
    let mut walk = |pixels: &mut dyn Iterator<Item = usize>| {
        for pixel in pixels.take_while(|&pixel| is_extreme(pixel)) {
            outside.values[pixel] = 1;
        }
    };
    for y in 0..height {
        let row = y * width..(y + 1) * width;
        walk(&mut row.clone());
        walk(&mut row.rev());
    }
    for x in 0..width {
        walk(&mut (x..width * height).step_by(width));
        walk(&mut (x..width * height).step_by(width).rev());
    }
    outside
}

/// Corner of a pixel.
type Corner = (i64, i64);

/// Whether what is left is nearly its convex hull, which few straight lines cut off within the picture.
fn is_cut_straight(outside: &Mask) -> bool {
    let (width, height) = (outside.width, outside.height);
    let mut corners: Vec<Corner> = Vec::new();
    let mut left = 0;
    for y in 0..height {
        let row = &outside.values[y * width..(y + 1) * width];
        let (Some(first), Some(last)) =
            (row.iter().position(|&value| value == 0), row.iter().rposition(|&value| value == 0))
        else {
            continue;
        };
        left += row[first..=last].iter().filter(|&&value| value == 0).count();
        for x in [first as i64, last as i64 + 1] {
            corners.extend([(x, y as i64), (x, y as i64 + 1)]);
        }
    }
    let hull = hull(corners);
    // Along a slanting edge half a pixel is empty.
    let within = area(&hull) - left as f64 - length(&hull) / 2.0;
    within <= MOST_WITHIN * area(&hull) && cuts(&hull, width as i64, height as i64) <= MOST_CUTS
}

/// The corners of the convex hull in the order of its outline (Andrew's monotone chain).
fn hull(mut corners: Vec<Corner>) -> Vec<Corner> {
    corners.sort_unstable();
    corners.dedup();
    let chain = |corners: &mut dyn Iterator<Item = Corner>| {
        let mut chain: Vec<Corner> = Vec::new();
        for corner in corners {
            while let [.., before, last] = chain[..] {
                if cross(before, last, corner) > 0 {
                    break;
                }
                chain.pop();
            }
            chain.push(corner);
        }
        chain.pop();
        chain
    };
    let mut outline = chain(&mut corners.iter().copied());
    outline.extend(chain(&mut corners.iter().rev().copied()));
    outline
}

/// Positive if the way from `a` over `b` to `c` turns left.
fn cross(a: Corner, b: Corner, c: Corner) -> i64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

fn area(outline: &[Corner]) -> f64 {
    let next = outline.iter().cycle().skip(1);
    outline.iter().zip(next).map(|(a, b)| (a.0 * b.1 - a.1 * b.0) as f64).sum::<f64>().abs() / 2.0
}

fn length(outline: &[Corner]) -> f64 {
    let next = outline.iter().cycle().skip(1);
    outline.iter().zip(next).map(|(a, b)| ((b.0 - a.0) as f64).hypot((b.1 - a.1) as f64)).sum()
}

/// Number of straight lines that make up the outline where it is not the picture's own border.
fn cuts(outline: &[Corner], width: i64, height: i64) -> usize {
    let on_border = |a: Corner, b: Corner| {
        (a.0 == b.0 && (a.0 == 0 || a.0 == width)) || (a.1 == b.1 && (a.1 == 0 || a.1 == height))
    };
    let mut cuts = 0;
    // Where the line begins that the outline follows now.
    let mut begin: Option<usize> = None;
    for index in 0..outline.len() {
        let end = (index + 1) % outline.len();
        if on_border(outline[index], outline[end]) {
            begin = None;
            continue;
        }
        let from = *begin.get_or_insert_with(|| {
            cuts += 1;
            index
        });
        // As far as all corners between lie beside the line from there.
        let (a, b) = (outline[from], outline[end]);
        let length = ((b.0 - a.0) as f64).hypot((b.1 - a.1) as f64).max(1.0);
        let is_straight =
            (from + 1..=index).all(|between| cross(a, b, outline[between]).abs() as f64 <= STRAIGHT_PX * length);
        if !is_straight {
            cuts += 1;
            begin = Some(index);
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 120;

    /// The share of a square picture that is found to be empty, whose other pixels are those of `scene`.
    fn found(scene: impl Fn(f64, f64) -> bool) -> f64 {
        let is_extreme = |pixel: usize| !scene((pixel % SIDE) as f64 + 0.5, (pixel / SIDE) as f64 + 0.5);
        let outside = empty(SIDE, SIDE, is_extreme)
            .map_or(0, |outside| outside.values.iter().filter(|&&value| value == 1).count());
        outside as f64 / (SIDE * SIDE) as f64
    }

    #[test]
    fn edges_that_are_cut_off_straight_are_empty() {
        // A half, bars above and below, a slanting edge, and a scene that was turned and reaches over the border.
        assert!((found(|x, _| x > 60.0) - 0.5).abs() < 0.01);
        assert!((found(|_, y| (20.0..100.0).contains(&y)) - 1.0 / 3.0).abs() < 0.01);
        assert!((found(|x, y| y > 0.3 * x) - 0.15).abs() < 0.01);
        let turned =
            |x: f64, y: f64| (x - 60.0 + 0.4 * (y - 60.0)).abs() < 55.0 && (y - 60.0 - 0.4 * (x - 60.0)).abs() < 62.0;
        assert!(found(turned) > 0.1, "{}", found(turned));
        // Dark pixels within do not count.
        assert!((found(|x, y| x > 60.0 && (x - 90.0).hypot(y - 60.0) > 10.0) - 0.5).abs() < 0.01);
    }

    #[test]
    fn objects_on_black_or_white_are_objects() {
        let disc = |x: f64, y: f64, radius: f64| move |px: f64, py: f64| (px - x).hypot(py - y) < radius;
        // In the middle, cut off by the border in several ways, and as wide as the picture.
        for (x, y, radius) in [(60.0, 60.0, 40.0), (60.0, 120.0, 60.0), (0.0, 0.0, 100.0), (120.0, 60.0, 58.0)] {
            assert_eq!(found(disc(x, y, radius)), 0.0, "a disc of {radius} at {x}, {y}");
        }
        // A bottle that stands on the border, letters on paper, a figure that is not convex, and a rectangle within.
        assert_eq!(found(|x, y| (50.0..70.0).contains(&x) && y > 30.0), 0.0);
        assert_eq!(found(|x, y| (x / 8.0) as i32 % 3 == 0 && (y / 12.0) as i32 % 2 == 0), 0.0);
        assert_eq!(found(|x, y| x > 60.0 || y > 90.0), 0.0);
        assert_eq!(found(|x, y| (20.0..100.0).contains(&x) && (30.0..90.0).contains(&y)), 0.0);
        // All of it, and none of it.
        assert_eq!((found(|_, _| true), found(|_, _| false)), (0.0, 0.0));
    }
}
