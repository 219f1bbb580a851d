//! One vector for a whole image, from nothing but its colours and where they lie.

use super::region_graph::REGION_WIDTH;
use crate::nodes::NodeFeatures;

/// Moments of place that every colour is held against: down, right, and distance from the centre.
const PLACES: usize = 3;
/// Corners of the colour cube that the soft histogram counts towards.
const CORNERS: usize = 8;

/// Values of [`colour_statistics`]: means, deviations, products with places, histogram.
pub(super) const STATISTICS: usize = 3 + 3 + 3 * PLACES + CORNERS;

/// What an image looks like on the whole, from its regions' mean colours and places, larger regions counting more.
///
/// In order: mean of red, green, blue (0..1); their standard deviations; for each channel its covariance with the place
/// from top (−1) to bottom (1), from left to right, and with the squared distance from the centre; and the share of the
/// image near each corner of the colour cube, where a colour counts towards the corners around it as in trilinear
/// interpolation.
///
/// # Shapes
/// nodes `[regions, 5]` as `region_graph` gives them → `[23]`
pub(super) fn colour_statistics(nodes: &NodeFeatures) -> Vec<f32> {
    let (area, _) = nodes.layout.coverage();
    let total: f64 = area.iter().map(|&area| f64::from(area)).sum::<f64>().max(1.0);
    let regions: Vec<(f64, [f64; 3], [f64; PLACES])> = nodes
        .values
        .chunks_exact(REGION_WIDTH)
        .zip(&area)
        .map(|(values, &area)| {
            let [red, green, blue, y, x] = [0, 1, 2, 3, 4].map(|index| f64::from(values[index]));
            let (down, right) = (2.0 * y - 1.0, 2.0 * x - 1.0);
            (f64::from(area) / total, [red, green, blue], [down, right, down * down + right * right])
        })
        .collect();
    let mean = |of: &dyn Fn(&[f64; 3], &[f64; PLACES]) -> f64| -> f64 {
        regions.iter().map(|(weight, colour, place)| weight * of(colour, place)).sum()
    };
    let colours = [0, 1, 2].map(|channel| mean(&|colour, _| colour[channel]));
    let places = [0, 1, 2].map(|axis| mean(&|_, place| place[axis]));
    let mut statistics = colours.to_vec();
    for channel in 0..3 {
        statistics.push(mean(&|colour, _| (colour[channel] - colours[channel]).powi(2)).sqrt());
    }
    for channel in 0..3 {
        for axis in 0..PLACES {
            let product = mean(&|colour, place| (colour[channel] - colours[channel]) * (place[axis] - places[axis]));
            statistics.push(product);
        }
    }
    for corner in 0..CORNERS {
        statistics.push(mean(&|colour, _| {
            (0..3)
                .map(|channel| if corner >> channel & 1 == 1 { colour[channel] } else { 1.0 - colour[channel] })
                .product()
        }));
    }
    statistics.into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Adjacency, Layout};

    #[test]
    fn statistics_of_a_black_and_a_red_half() {
        // Two rows of a grid: black above, red below.
        let values = vec![0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 0.0, 0.0, 0.75, 0.5];
        let layout = Layout::Grid { rows: 2, columns: 1 };
        let nodes = NodeFeatures { values, channels: REGION_WIDTH, layout, adjacency: Adjacency::Complete };
        let statistics = colour_statistics(&nodes);
        let mut expected = vec![0.0; STATISTICS];
        expected[0] = 0.5; // mean red
        expected[3] = 0.5; // deviation of red
        expected[6] = 0.25; // red lies below
        expected[15] = 0.5; // half is black
        expected[16] = 0.5; // half is red
        assert_eq!(statistics, expected);
    }
}
