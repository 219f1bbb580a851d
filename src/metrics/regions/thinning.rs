//! Lines of one pixel's width.
//!
//! Thinning in parallel with two sub-iterations: Guo and Hall, "Parallel thinning with two-subiteration algorithms" (1989); Lam, Lee
//! and Suen, "Thinning methodologies: a comprehensive survey" (1992). The pixels that stay are those of MATLAB's
//! `bwmorph(mask, "thin", Inf)`, which the benchmark of BSDS uses, and of scikit-image's `thin`.

use crate::raster::Raster;

/// Thins what is true, from all sides in turn, until nothing can go without breaking a line or shortening its end. Outside of the
/// raster nothing is true.
pub fn thinned(mask: &Raster<bool>) -> Raster<bool> {
    let (width, height) = (mask.width, mask.height);
    // With a frame of one false pixel.
    let stride = width + 2;
    let mut framed = vec![false; stride * (height + 2)];
    let mut left: Vec<usize> = Vec::new();
    for (place, _) in mask.values.iter().enumerate().filter(|(_, is_set)| **is_set) {
        let framed_place = (place / width + 1) * stride + place % width + 1;
        framed[framed_place] = true;
        left.push(framed_place);
    }
    let goes: [[bool; 256]; 2] =
        [false, true].map(|second| std::array::from_fn(|neighbours| may_go(neighbours, second)));
    loop {
        let before = left.len();
        for goes in &goes {
            // All that may go do so at once.
            let (gone, staying): (Vec<usize>, Vec<usize>) =
                left.into_iter().partition(|&place| goes[neighbours(&framed, stride, place)]);
            gone.into_iter().for_each(|place| framed[place] = false);
            left = staying;
        }
        if left.len() == before {
            break;
        }
    }
    let rows = framed.chunks(stride).skip(1).take(height);
    Raster::from_values(width, height, rows.flat_map(|row| row[1..=width].iter().copied()).collect())
}

/// One bit for each of the eight neighbours x₁ … x₈, counter-clockwise from the right one.
fn neighbours(framed: &[bool], stride: usize, place: usize) -> usize {
    let [above, below] = [place - stride, place + stride];
    let places = [place + 1, above + 1, above, above - 1, place - 1, below - 1, below, below + 1];
    places.iter().enumerate().map(|(bit, &place)| usize::from(framed[place]) << bit).sum()
}

/// Whether a pixel with these neighbours goes in the first or the second half of an iteration.
fn may_go(neighbours: usize, second: bool) -> bool {
    let is_set = |number: usize| neighbours >> ((number - 1) % 8) & 1 == 1;
    let count = |condition: &dyn Fn(usize) -> bool| (1..=4).filter(|&quarter| condition(quarter)).count();
    // G1: one line only runs through it.
    let crossings = count(&|k| !is_set(2 * k - 1) && (is_set(2 * k) || is_set(2 * k + 1)));
    // G2: it is neither an end nor inside.
    let pairs = count(&|k| is_set(2 * k - 1) || is_set(2 * k)).min(count(&|k| is_set(2 * k) || is_set(2 * k + 1)));
    // G3: it lies on the sides that are taken off in this half.
    let is_kept = if second {
        (is_set(6) || is_set(7) || !is_set(4)) && is_set(5)
    } else {
        (is_set(2) || is_set(3) || !is_set(8)) && is_set(1)
    };
    crossings == 1 && (2..=3).contains(&pairs) && !is_kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rows: &[&str]) -> Raster<bool> {
        let values = rows.iter().flat_map(|row| row.bytes().map(|byte| byte == b'#')).collect();
        Raster::from_values(rows[0].len(), rows.len(), values)
    }

    /// What scikit-image 0.26 leaves of the same.
    #[test]
    fn bars_corners_and_rings_become_lines() {
        for (thick, thin) in [
            (["......", ".####.", ".####.", ".####.", "......"], ["......", "......", "..##..", "......", "......"]),
            (["##....", "##....", "##....", "######", "######"], ["......", "#.....", "#.....", ".#....", "..###."]),
            (["######", "######", "##..##", "######", "######"], ["......", "..##..", ".#..#.", ".#..#.", "..##.."]),
            (["#....#", ".#..#.", "..##..", ".#..#.", "#....#"], ["#....#", ".#..#.", "..##..", ".#..#.", "#....#"]),
        ] {
            assert_eq!(thinned(&drawn(&thick)), drawn(&thin), "{thick:?}");
        }
        assert_eq!(thinned(&Raster::filled(0, 3, true)).values, Vec::<bool>::new());
        assert_eq!(thinned(&Raster::filled(1, 1, true)).values, [true]);
    }
}
