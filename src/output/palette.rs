//! One fixed colour per cluster, the same in masks and pictures.

/// Neighbouring numbers differ strongly, and all of them stand out from natural images.
const CHOSEN: [[u8; 3]; 20] = [
    [0, 176, 246],
    [255, 110, 58],
    [238, 62, 160],
    [122, 205, 40],
    [255, 204, 40],
    [128, 90, 226],
    [0, 196, 154],
    [226, 52, 52],
    [96, 134, 255],
    [204, 232, 92],
    [255, 160, 180],
    [0, 124, 112],
    [182, 112, 52],
    [208, 150, 220],
    [38, 86, 202],
    [255, 226, 154],
    [132, 150, 58],
    [152, 30, 84],
    [132, 224, 236],
    [164, 164, 180],
];

/// The colour of a mask value: black for the background 0, otherwise the cluster's own.
///
/// Values above the hand-chosen ones step the hue by the golden angle, the step that keeps any run of hues far apart,
/// and cycle through three brightnesses and two saturations.
pub fn cluster_colour(value: impl Into<u16>) -> [u8; 3] {
    match value.into() {
        0 => [0, 0, 0],
        value @ 1..=20 => CHOSEN[usize::from(value) - 1],
        value => {
            let step = u32::from(value);
            // The golden angle is 137.508°; a whole turn here is 6 · 256 = 1536 units.
            let hue = step * 587 % 1536;
            let brightness = [250, 200, 150][(step % 3) as usize];
            let saturation = [230, 150][(step % 2) as usize];
            rgb_from_hue(hue, saturation, brightness)
        }
    }
}

/// Hue (0..1536 for a turn), saturation and brightness (0..=255) to RGB, in integers so that it is the same everywhere.
fn rgb_from_hue(hue: u32, saturation: u32, brightness: u32) -> [u8; 3] {
    let (sector, rising) = (hue / 256, hue % 256);
    let pure = match sector {
        0 => [255, rising, 0],
        1 => [255 - rising, 255, 0],
        2 => [0, 255, rising],
        3 => [0, 255 - rising, 255],
        4 => [rising, 0, 255],
        _ => [255, 0, 255 - rising],
    };
    // Every factor is at most 255, so the quotient fits in a byte.
    pure.map(|channel| ((255 * 255 - saturation * (255 - channel)) * brightness / (255 * 255)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_distinct_and_neighbours_far_apart() {
        let colours: Vec<[u8; 3]> = (0..=255u8).map(cluster_colour).collect();
        let mut unique = colours.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 256);
        for (value, pair) in colours.windows(2).enumerate() {
            let distance: u32 = (0..3).map(|channel| u32::from(pair[0][channel].abs_diff(pair[1][channel]))).sum();
            assert!(distance > 120, "{value} and {} differ by {distance} only", value + 1);
        }
    }
}
