//! The k-means of SLIC, tile by tile.
//!
//! A centre is compared with a tile of 8×8 pixels only if it might be the nearest one for any of them. Bounds on the
//! distance to all pixels of a tile decide that; they leave the result unchanged and spare most comparisons.

use crate::raster::LabelMap;

/// Rounds of assignment and update; the regions hardly move after that (Achanta et al.).
const ROUNDS: usize = 10;

/// Side of a tile in pixels: small against the usual distance of seeds, so that few centres come near it.
const TILE: usize = 8;

/// Pruning must not depend on rounding: bounds may be wrong by this share.
const BOUND_SLACK: f32 = 1.0 + 1e-4;

/// Where the seeds lie and how far their windows reach.
struct SeedGrid {
    rows: Vec<usize>,
    columns: Vec<usize>,
    row_step: usize,
    column_step: usize,
}

impl SeedGrid {
    /// A grid of about `regions` square cells; of cells across the whole short side where squares would not fit.
    fn new(width: usize, height: usize, regions: usize) -> Self {
        let regions = regions.clamp(1, width * height) as f64;
        let side = ((width * height) as f64 / regions).sqrt();
        let (row_step, column_step) = if (height as f64) < side {
            (height as f64, width as f64 / regions)
        } else if (width as f64) < side {
            (height as f64 / regions, width as f64)
        } else {
            (side, side)
        };
        let seeds = |step: f64, size: usize| {
            let rounded = (step.round_ties_even() as usize).max(1);
            let positions: Vec<usize> = ((step / 2.0) as usize..size).step_by(rounded).collect();
            (positions, rounded)
        };
        let (rows, row_step) = seeds(row_step, height);
        let (columns, column_step) = seeds(column_step, width);
        Self { rows, columns, row_step, column_step }
    }

    /// Number of seeds.
    fn seeds(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// The pixels within two steps of a centre.
    fn window(&self, centre: &Centre, step: f32, width: usize, height: usize) -> Window {
        let along = |place: f32, reach: usize, size: usize| {
            let (place, reach) = (place * step, (2 * reach) as f32);
            [(place - reach).max(0.0) as usize, ((place + reach + 1.0) as usize).min(size)]
        };
        [along(centre[0], self.column_step, width), along(centre[1], self.row_step, height)]
    }
}

/// Number of seeds where about `regions` are wanted.
pub(super) fn seeds(width: usize, height: usize, regions: usize) -> usize {
    SeedGrid::new(width, height, regions).seeds()
}

/// How far a centre sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Windows {
    /// All pixels of the tiles that are within two grid steps.
    OfTiles,
    /// The pixels within two steps of a grid of as many cells as there are seeds, and no other, as in scikit-image.
    OfPixels,
}

/// The pixels that a centre sees: from the first to before the second along x, then along y.
type Window = [[usize; 2]; 2];

const EVERYWHERE: Window = [[0, usize::MAX]; 2];

/// Mean place and colour of a cluster, every coordinate in units that make their squares add up to the distance²:
/// x and y divided by the grid step, then the three colour planes as they are.
type Centre = [f32; 5];

/// 8×8 pixels. Past the image's border a tile repeats the last column and row, which count for nothing in the end.
struct Tile {
    left: usize,
    top: usize,
    /// Pixels of the image in the tile.
    columns: usize,
    rows: usize,
    colours: [[[f32; TILE]; TILE]; 3],
    clusters: [[u32; TILE]; TILE],
    /// Smallest and largest coordinate of any pixel.
    lowest: Centre,
    highest: Centre,
    /// Clusters whose window touches the tile, in rising order.
    candidates: Vec<u32>,
}

/// Clusters pixels by colour and place around a grid of about `regions` seeds; `planes` are in units of compactness.
///
/// The image must have pixels. The answer is the cluster of every pixel and the number of seeds; a cluster may be empty or
/// in several pieces.
pub(super) fn clusters(
    planes: &[Vec<f32>; 3],
    width: usize,
    height: usize,
    regions: usize,
    windows: Windows,
) -> (LabelMap, usize) {
    let grid = SeedGrid::new(width, height, regions);
    let step = grid.row_step.max(grid.column_step) as f32;
    let mut tiles = tiles(planes, width, height, step);
    // No colour yet: in the first round all centres are as far from a pixel's colour, so that place alone decides.
    let mut centres: Vec<Centre> = grid
        .rows
        .iter()
        .flat_map(|&y| grid.columns.iter().map(move |&x| [x as f32 / step, y as f32 / step, 0.0, 0.0, 0.0]))
        .collect();
    let reach = match windows {
        Windows::OfTiles => grid,
        Windows::OfPixels => SeedGrid::new(width, height, centres.len()),
    };
    for _ in 0..ROUNDS {
        collect_candidates(&mut tiles, &centres, step, &reach, width, height);
        let windows: Vec<Window> = match windows {
            Windows::OfTiles => vec![EVERYWHERE; centres.len()],
            Windows::OfPixels => centres.iter().map(|centre| reach.window(centre, step, width, height)).collect(),
        };
        let mut changed = false;
        for tile in &mut tiles {
            changed |= assign(tile, &centres, &windows, step);
        }
        // The same clusters have the same centres: nothing would ever change again.
        if !changed {
            break;
        }
        update(&tiles, &mut centres, step);
    }
    let mut labels = LabelMap::filled(width, height, 0);
    for tile in &tiles {
        for (row, clusters) in tile.clusters[..tile.rows].iter().enumerate() {
            let start = (tile.top + row) * width + tile.left;
            labels.values[start..start + tile.columns].copy_from_slice(&clusters[..tile.columns]);
        }
    }
    (labels, centres.len())
}

impl Tile {
    /// Whether a window holds all of the tile's pixels.
    fn is_within(&self, [across, down]: &Window) -> bool {
        let holds = |[first, end]: &[usize; 2], start: usize, count: usize| *first <= start && start + count <= *end;
        holds(across, self.left, self.columns) && holds(down, self.top, self.rows)
    }
}

/// The image cut in tiles, row by row.
fn tiles(planes: &[Vec<f32>; 3], width: usize, height: usize, step: f32) -> Vec<Tile> {
    let mut tiles = Vec::with_capacity(width.div_ceil(TILE) * height.div_ceil(TILE));
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            let colours = planes.each_ref().map(|plane| {
                std::array::from_fn(|row| {
                    let start = (top + row).min(height - 1) * width;
                    std::array::from_fn(|column| plane[start + (left + column).min(width - 1)])
                })
            });
            let end = |start: usize| (start + TILE - 1) as f32 / step;
            let mut lowest = [left as f32 / step, top as f32 / step, 0.0, 0.0, 0.0];
            let mut highest = [end(left), end(top), 0.0, 0.0, 0.0];
            for (channel, values) in colours.iter().enumerate() {
                let values: &[[f32; TILE]; TILE] = values;
                lowest[2 + channel] = values.as_flattened().iter().copied().fold(f32::INFINITY, f32::min);
                highest[2 + channel] = values.as_flattened().iter().copied().fold(f32::NEG_INFINITY, f32::max);
            }
            tiles.push(Tile {
                left,
                top,
                columns: TILE.min(width - left),
                rows: TILE.min(height - top),
                colours,
                clusters: [[0; TILE]; TILE],
                lowest,
                highest,
                candidates: Vec::new(),
            });
        }
    }
    tiles
}

/// Tells every tile which centres are within two steps of a grid of it.
fn collect_candidates(tiles: &mut [Tile], centres: &[Centre], step: f32, grid: &SeedGrid, width: usize, height: usize) {
    tiles.iter_mut().for_each(|tile| tile.candidates.clear());
    let across = width.div_ceil(TILE);
    for (cluster, centre) in centres.iter().enumerate() {
        let window = |position: f32, reach: usize, size: usize| {
            let (position, reach) = (position * step, (2 * reach) as f32);
            let last = ((position + reach) as usize).min(size - 1);
            (position - reach).max(0.0) as usize / TILE..=last / TILE
        };
        for row in window(centre[1], grid.row_step, height) {
            for column in window(centre[0], grid.column_step, width) {
                tiles[row * across + column].candidates.push(cluster as u32);
            }
        }
    }
}

/// Gives every pixel of the tile to its nearest candidate, the earliest of several, and tells whether any changed.
///
/// A tile without candidates keeps its clusters, and so does a pixel that no centre sees.
fn assign(tile: &mut Tile, centres: &[Centre], windows: &[Window], step: f32) -> bool {
    // Every pixel is at most this far from its nearest centre.
    let mut limit = f32::INFINITY;
    for &cluster in &tile.candidates {
        if tile.is_within(&windows[cluster as usize]) {
            limit = limit.min(farthest(&centres[cluster as usize], tile));
        }
    }
    let limit = limit * BOUND_SLACK;
    let mut distances = [[f32::INFINITY; TILE]; TILE];
    let mut clusters = tile.clusters;
    for &cluster in &tile.candidates {
        let centre = &centres[cluster as usize];
        if nearest(centre, tile) <= limit {
            offer(centre, cluster, tile, &windows[cluster as usize], step, &mut distances, &mut clusters);
        }
    }
    let changed = clusters != tile.clusters;
    tile.clusters = clusters;
    changed
}

/// Lower bound on the distance² of `centre` to any pixel of the tile.
fn nearest(centre: &Centre, tile: &Tile) -> f32 {
    let gap = |axis: usize| (tile.lowest[axis] - centre[axis]).max(centre[axis] - tile.highest[axis]).max(0.0);
    (0..centre.len()).map(|axis| gap(axis).powi(2)).sum()
}

/// Upper bound on the distance² of `centre` to any pixel of the tile.
fn farthest(centre: &Centre, tile: &Tile) -> f32 {
    let reach = |axis: usize| (centre[axis] - tile.lowest[axis]).max(tile.highest[axis] - centre[axis]);
    (0..centre.len()).map(|axis| reach(axis).powi(2)).sum()
}

/// Gives those pixels to `cluster` that are nearer to its centre than to any before. Fixed sizes and no branch: this is
/// where the time goes, and so it compiles to vector instructions.
fn offer(
    centre: &Centre,
    cluster: u32,
    tile: &Tile,
    window: &Window,
    step: f32,
    distances: &mut [[f32; TILE]; TILE],
    clusters: &mut [[u32; TILE]; TILE],
) {
    // What is not seen is infinitely far.
    let along = |axis: usize, place: usize| {
        let is_seen = (window[axis][0]..window[axis][1]).contains(&place);
        if is_seen { (place as f32 / step - centre[axis]).powi(2) } else { f32::INFINITY }
    };
    let column_distances: [f32; TILE] = std::array::from_fn(|column| along(0, tile.left + column));
    let [first, second, third] = &tile.colours;
    for row in 0..TILE {
        let row_distance = along(1, tile.top + row);
        let offered: [f32; TILE] = std::array::from_fn(|column| {
            row_distance
                + column_distances[column]
                + (first[row][column] - centre[2]).powi(2)
                + (second[row][column] - centre[3]).powi(2)
                + (third[row][column] - centre[4]).powi(2)
        });
        for column in 0..TILE {
            // All ones where the offer is nearer.
            let mask = u32::from(offered[column] < distances[row][column]).wrapping_neg();
            clusters[row][column] ^= (clusters[row][column] ^ cluster) & mask;
            distances[row][column] = distances[row][column].min(offered[column]);
        }
    }
}

/// Moves every centre to the mean of its pixels; one without pixels stays.
fn update(tiles: &[Tile], centres: &mut [Centre], step: f32) {
    // Sums over a large region would lose digits in f32.
    let mut sums = vec![[0.0f64; 6]; centres.len()];
    for tile in tiles {
        let [first, second, third] = &tile.colours;
        for row in 0..tile.rows {
            let y = (tile.top + row) as f64;
            for column in 0..tile.columns {
                let sums = &mut sums[tile.clusters[row][column] as usize];
                let colour = [first[row][column], second[row][column], third[row][column]].map(f64::from);
                let values = [1.0, (tile.left + column) as f64, y, colour[0], colour[1], colour[2]];
                for axis in 0..values.len() {
                    sums[axis] += values[axis];
                }
            }
        }
    }
    let step = f64::from(step);
    for (centre, [count, x, y, colour @ ..]) in centres.iter_mut().zip(sums) {
        if count > 0.0 {
            let [first, second, third] = colour.map(|sum| (sum / count) as f32);
            *centre = [(x / count / step) as f32, (y / count / step) as f32, first, second, third];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three planes of deterministic noise on a slope.
    fn noise(width: usize, height: usize) -> [Vec<f32>; 3] {
        let mut state = 7u32;
        std::array::from_fn(|channel| {
            (0..width * height)
                .map(|pixel| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / 2f32.powi(24) + (pixel % width * channel) as f32 * 0.02
                })
                .collect()
        })
    }

    #[test]
    fn pruning_changes_nothing() {
        let (width, height) = (45, 30);
        let planes = noise(width, height);
        let grid = SeedGrid::new(width, height, 40);
        let step = grid.row_step.max(grid.column_step) as f32;
        let mut tiles = tiles(&planes, width, height, step);
        let centres: Vec<Centre> =
            (0..60).map(|i| std::array::from_fn(|axis| ((i * 37 + axis * 11) % 60) as f32 / 12.0)).collect();
        collect_candidates(&mut tiles, &centres, step, &grid, width, height);
        for tile in &mut tiles {
            assign(tile, &centres, &vec![EVERYWHERE; centres.len()], step);
            for row in 0..TILE {
                for column in 0..TILE {
                    let place = [(tile.left + column) as f32 / step, (tile.top + row) as f32 / step];
                    let pixel: Vec<f32> =
                        place.into_iter().chain(tile.colours.map(|plane| plane[row][column])).collect();
                    let distance = |cluster: u32| -> f32 {
                        centres[cluster as usize].iter().zip(&pixel).map(|(a, b)| (a - b).powi(2)).sum()
                    };
                    let best = tile.candidates.iter().map(|&cluster| distance(cluster)).fold(f32::INFINITY, f32::min);
                    let found = distance(tile.clusters[row][column]);
                    assert!(tile.candidates.is_empty() || found <= best * 1.00001, "{found} instead of {best}");
                }
            }
        }
    }

    #[test]
    fn windows_of_pixels_are_kept_to_the_pixel() {
        let (width, height) = (45, 30);
        let planes = noise(width, height);
        let grid = SeedGrid::new(width, height, 40);
        let step = grid.row_step.max(grid.column_step) as f32;
        let mut tiles = tiles(&planes, width, height, step);
        let centres: Vec<Centre> =
            (0..60).map(|i| std::array::from_fn(|axis| ((i * 37 + axis * 11) % 60) as f32 / 12.0)).collect();
        let windows: Vec<Window> = centres.iter().map(|centre| grid.window(centre, step, width, height)).collect();
        collect_candidates(&mut tiles, &centres, step, &grid, width, height);
        for tile in &mut tiles {
            assign(tile, &centres, &windows, step);
            for place in 0..tile.rows * tile.columns {
                let (row, column) = (place / tile.columns, place % tile.columns);
                let (x, y) = (tile.left + column, tile.top + row);
                let distance = |centre: &Centre| -> f32 {
                    let colours = tile.colours.map(|plane| plane[row][column]);
                    let pixel = [x as f32 / step, y as f32 / step, colours[0], colours[1], colours[2]];
                    centre.iter().zip(pixel).map(|(a, b)| (a - b).powi(2)).sum()
                };
                let sees =
                    |[across, down]: &Window| (across[0]..across[1]).contains(&x) && (down[0]..down[1]).contains(&y);
                let seen = centres.iter().zip(&windows).filter(|(_, window)| sees(window));
                let best = seen.map(|(centre, _)| distance(centre)).fold(f32::INFINITY, f32::min);
                let found = tile.clusters[row][column] as usize;
                assert!(best.is_infinite() || sees(&windows[found]), "({x}, {y}) is of a centre that does not see it");
                assert!(best.is_infinite() || distance(&centres[found]) <= best * 1.00001, "({x}, {y})");
            }
        }
    }

    #[test]
    fn seeds_lie_in_the_middle_of_their_cells() {
        for (width, height, regions, rows, columns) in [
            (384, 360, 100, vec![18, 55, 92, 129, 166, 203, 240, 277, 314, 351], 10),
            (40, 40, 16, vec![5, 15, 25, 35], 4),
            (200, 3, 10, vec![1], 10),
            (1, 1, 400, vec![0], 1),
            (3, 2, 400, vec![0, 1], 3),
            (4, 4, 0, vec![2], 1),
        ] {
            let grid = SeedGrid::new(width, height, regions);
            assert_eq!((grid.rows, grid.columns.len()), (rows, columns), "{width}x{height}");
        }
    }
}
