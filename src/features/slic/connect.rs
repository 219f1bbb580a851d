//! From clusters, which may lie in pieces, to connected regions.

use crate::raster::LabelMap;

/// Connected pieces below this share of the mean region size join a neighbour.
const SMALLEST_SHARE: f64 = 0.5;

/// Connected pieces above this multiple of the mean region size are cut.
const LARGEST_SHARE: f64 = 3.0;

/// Regions that are 4-connected and numbered in the order of their first pixel.
///
/// Every pixel but the first has a pixel above or left of it, so a piece found later always touches an earlier region to
/// join. The piece at the top left has none; while it is too small, the next large piece that touches it joins it.
pub(super) fn connected(clusters: &LabelMap, seeds: usize) -> (LabelMap, usize) {
    const UNSEEN: u32 = u32::MAX;
    let (width, pixels) = (clusters.width, clusters.values.len());
    let mean_px = pixels as f64 / seeds.max(1) as f64;
    let (smallest_px, largest_px) = ((SMALLEST_SHARE * mean_px) as usize, ((LARGEST_SHARE * mean_px) as usize).max(1));
    let mut labels = vec![UNSEEN; pixels];
    let mut regions = 0;
    let mut first_region_px = 0;
    let (mut piece, mut touched) = (Vec::new(), Vec::new());
    for start in 0..pixels {
        if labels[start] != UNSEEN {
            continue;
        }
        piece.clear();
        touched.clear();
        piece.push(start);
        labels[start] = regions;
        let mut next = 0;
        while next < piece.len() {
            let pixel = piece[next];
            next += 1;
            let x = pixel % width;
            let neighbours = [
                (x > 0).then(|| pixel - 1),
                (x + 1 < width).then(|| pixel + 1),
                pixel.checked_sub(width),
                Some(pixel + width).filter(|&below| below < pixels),
            ];
            for neighbour in neighbours.into_iter().flatten() {
                match labels[neighbour] {
                    UNSEEN if clusters.values[neighbour] == clusters.values[start] && piece.len() < largest_px => {
                        labels[neighbour] = regions;
                        piece.push(neighbour);
                    }
                    label if label < regions => touched.push(label),
                    _ => {}
                }
            }
        }
        let home = if piece.len() < smallest_px {
            most_frequent(&mut touched)
        } else {
            Some(0).filter(|first| first_region_px < smallest_px && touched.contains(first))
        };
        match home {
            Some(region) => piece.iter().for_each(|&pixel| labels[pixel] = region),
            None => regions += 1,
        }
        // A piece without a home is only the first region when it is the first piece.
        if home == Some(0) || start == 0 {
            first_region_px += piece.len();
        }
    }
    (LabelMap::from_values(width, clusters.height, labels), regions as usize)
}

/// The value that occurs most often, the smallest of several.
fn most_frequent(values: &mut [u32]) -> Option<u32> {
    values.sort_unstable();
    values
        .chunk_by(|a, b| a == b)
        .map(|run| (run.len(), run[0]))
        .max_by_key(|&(count, value)| (count, std::cmp::Reverse(value)))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_join_the_neighbour_they_touch_most() {
        // Mean region size 4: pieces of one pixel are too small. The first waits for the large piece that touches it.
        let clusters = LabelMap::from_values(4, 3, vec![9, 5, 5, 5, 5, 5, 7, 5, 2, 2, 2, 2]);
        let (labels, regions) = connected(&clusters, 3);
        assert_eq!(labels.values, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(regions, 2);
        // With two seeds only pieces over 13 px would be cut, with nine those over 3 px.
        let whole = LabelMap::filled(3, 3, 0);
        assert_eq!(connected(&whole, 2).1, 1);
        assert_eq!(connected(&whole, 9).1, 3);
    }
}
