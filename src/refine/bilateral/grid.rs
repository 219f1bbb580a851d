//! The simplified bilateral grid: an image as cells in place and colour, and the neighbours among them.

use std::array::from_fn;

use crate::raster::RgbImage;

/// Dimensions of the grid: column, row, brightness and two colour differences.
const DIMENSIONS: usize = 5;

/// Two in each dimension.
const MOST_NEIGHBOURS: usize = 2 * DIMENSIONS;

/// What the blur multiplies a vertex itself with: 2 for each dimension, against 1 for each neighbour.
pub(super) const BLUR_DIAGONAL: f64 = 2.0 * DIMENSIONS as f64;

/// Bits of one colour coordinate in a key. Coordinates need 8; the ninth keeps a step beyond the last cell from reaching
/// into the next coordinate.
const COORDINATE_BITS: u32 = 9;

/// Bits of a pixel's index in a key.
const PIXEL_BITS: u32 = 32;

/// Steps of a key to the next cell in each dimension of colour.
const COLOUR_STEPS: [u64; 3] = [1 << (2 * COORDINATE_BITS), 1 << COORDINATE_BITS, 1];

/// The vertices are the cells that hold a pixel. They are sorted by row, column, brightness and colour.
#[derive(Debug, Clone)]
pub(super) struct BilateralGrid {
    /// Vertex of every pixel.
    vertices: Vec<u32>,
    /// Pixels of every vertex.
    areas_px: Vec<f64>,
    /// The vertices that have as many neighbours as their place here says.
    by_degree: [Neighbourhoods; MOST_NEIGHBOURS + 1],
}

/// Vertices with equally many neighbours: without a loop of unknown length, a processor blurs twice as fast.
#[derive(Debug, Clone, Default)]
struct Neighbourhoods {
    vertices: Vec<u32>,
    /// The neighbours of every vertex, one after the other.
    neighbours: Vec<u32>,
}

impl BilateralGrid {
    /// Cells of `sigma_spatial` × `sigma_spatial` pixels, `sigma_luma` in Y and `sigma_chroma` in U and V (ITU-R BT.601,
    /// full range). All are at least 1.
    ///
    /// Cells are at most 1 in each dimension away from their neighbours, so a block of pixels that are one cell in place
    /// can be sorted by colour on its own, and neighbours follow by merging sorted lists; nothing is hashed.
    pub(super) fn new(image: &RgbImage, sigma_spatial: f64, sigma_luma: f64, sigma_chroma: f64) -> BilateralGrid {
        let colour_keys: Vec<u32> = image.values.iter().map(|&rgb| colour_key(rgb, sigma_luma, sigma_chroma)).collect();
        let columns = blocks(image.width, sigma_spatial);
        let rows = blocks(image.height, sigma_spatial);

        let mut vertices = vec![0u32; image.values.len()];
        let (mut vertex_keys, mut areas_px): (Vec<u64>, Vec<f64>) = (Vec::new(), Vec::new());
        let mut edges: Vec<[u32; 2]> = Vec::new();
        let mut members: Vec<u64> = Vec::new();
        // Where the vertices of a block begin, for the blocks of this row and of the one above.
        let mut block_starts: Vec<usize> = Vec::new();
        let mut starts_above: Vec<usize> = Vec::new();
        for row in rows.windows(2) {
            block_starts.clear();
            for column in columns.windows(2) {
                members.clear();
                for y in row[0]..row[1] {
                    let place = y * image.width + column[0]..y * image.width + column[1];
                    for (index, &key) in place.clone().zip(&colour_keys[place]) {
                        members.push(u64::from(key) << PIXEL_BITS | index as u64);
                    }
                }
                members.sort_unstable();
                let start = vertex_keys.len();
                for run in members.chunk_by(|a, b| a >> PIXEL_BITS == b >> PIXEL_BITS) {
                    for &member in run {
                        vertices[(member & u64::from(u32::MAX)) as usize] = vertex_keys.len() as u32;
                    }
                    vertex_keys.push(run[0] >> PIXEL_BITS);
                    areas_px.push(run.len() as f64);
                }
                let here = start..vertex_keys.len();
                for step in COLOUR_STEPS {
                    join(&vertex_keys, here.clone(), here.clone(), step, &mut edges);
                }
                if let Some(&left) = block_starts.last() {
                    join(&vertex_keys, left..start, here.clone(), 0, &mut edges);
                }
                let number = block_starts.len();
                if let [above, end, ..] = starts_above[number.min(starts_above.len())..] {
                    join(&vertex_keys, above..end, here, 0, &mut edges);
                }
                block_starts.push(start);
            }
            block_starts.push(vertex_keys.len());
            std::mem::swap(&mut block_starts, &mut starts_above);
        }
        let by_degree = neighbourhoods(vertex_keys.len(), &edges);
        BilateralGrid { vertices, areas_px, by_degree }
    }

    /// How many cells hold a pixel.
    pub(super) fn vertices(&self) -> usize {
        self.areas_px.len()
    }

    /// How many pixels each cell holds: the splat of 1.
    pub(super) fn areas_px(&self) -> &[f64] {
        &self.areas_px
    }

    /// S x of several x, whose values at a pixel `values` gives: the sum over each vertex's pixels. `[pixels]` → `[vertices]`
    pub(super) fn splat<const N: usize>(&self, values: impl Iterator<Item = [f64; N]>) -> Vec<[f64; N]> {
        let mut sums = vec![[0.0; N]; self.vertices()];
        for (&vertex, values) in self.vertices.iter().zip(values) {
            sums[vertex as usize].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sums
    }

    /// Sᵀ y: every pixel takes its vertex's value. `[vertices]` → `[pixels]`
    pub(super) fn slice<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.vertices.iter().map(|&vertex| values[vertex as usize]).collect()
    }

    /// B y of several y: in every dimension the two neighbours and twice the vertex itself. `[vertices]` → `[vertices]`
    pub(super) fn blur<const N: usize>(&self, values: &[[f64; N]], blurred: &mut [[f64; N]]) {
        let [none, one, two, three, four, five, six, seven, eight, nine, ten] = &self.by_degree;
        none.blur::<N, 0>(values, blurred);
        one.blur::<N, 1>(values, blurred);
        two.blur::<N, 2>(values, blurred);
        three.blur::<N, 3>(values, blurred);
        four.blur::<N, 4>(values, blurred);
        five.blur::<N, 5>(values, blurred);
        six.blur::<N, 6>(values, blurred);
        seven.blur::<N, 7>(values, blurred);
        eight.blur::<N, 8>(values, blurred);
        nine.blur::<N, 9>(values, blurred);
        ten.blur::<N, 10>(values, blurred);
    }
}

impl Neighbourhoods {
    /// The blur of these vertices, each of which has `DEGREE` neighbours.
    fn blur<const N: usize, const DEGREE: usize>(&self, values: &[[f64; N]], blurred: &mut [[f64; N]]) {
        let mut neighbours = self.neighbours.chunks_exact(DEGREE.max(1));
        for &vertex in &self.vertices {
            let around: [u32; DEGREE] =
                neighbours.next().and_then(|around| around.try_into().ok()).unwrap_or([0; DEGREE]);
            let sums = around.iter().fold([0.0; N], |sums, &neighbour| {
                let values = &values[neighbour as usize];
                from_fn(|place| sums[place] + values[place])
            });
            let own = &values[vertex as usize];
            blurred[vertex as usize] = from_fn(|place| BLUR_DIAGONAL * own[place] + sums[place]);
        }
    }
}

/// Where each block of pixels that fall into the same cell of width `sigma` begins, and the end.
fn blocks(size: usize, sigma: f64) -> Vec<usize> {
    let cell = |position: usize| (position as f64 / sigma) as usize;
    let mut starts: Vec<usize> = (0..size).filter(|&at| at == 0 || cell(at) != cell(at - 1)).collect();
    starts.push(size);
    starts
}

/// The cell of a colour, brightness first.
fn colour_key(rgb: [u8; 3], sigma_luma: f64, sigma_chroma: f64) -> u32 {
    const MILLION: f64 = 1e6;
    let [y, u, v] = yuv_millionths(rgb);
    let cell = |millionths: i32, sigma: f64| (f64::from(millionths) / (sigma * MILLION)) as u32;
    cell(y, sigma_luma) << (2 * COORDINATE_BITS) | cell(u, sigma_chroma) << COORDINATE_BITS | cell(v, sigma_chroma)
}

/// Brightness and the two colour differences (ITU-R BT.601, full range, 0 to 255.5), times a million.
///
/// Cells end at round numbers, where rounding would scatter the greys over two cells: U = V = 128 for all of them. So the
/// matrix is applied in whole millionths, which is exact, and only the quotient by the cell's size is rounded.
fn yuv_millionths([red, green, blue]: [u8; 3]) -> [i32; 3] {
    let [red, green, blue] = [red, green, blue].map(i32::from);
    [
        299_000 * red + 587_000 * green + 114_000 * blue,
        -168_736 * red - 331_264 * green + 500_000 * blue + 128_000_000,
        500_000 * red - 418_688 * green - 81_312 * blue + 128_000_000,
    ]
}

/// Adds an edge between every vertex of `first` and the vertex of `second` whose key is `step` more.
fn join(
    keys: &[u64],
    first: std::ops::Range<usize>,
    second: std::ops::Range<usize>,
    step: u64,
    edges: &mut Vec<[u32; 2]>,
) {
    let mut candidate = second.start;
    for vertex in first {
        let sought = keys[vertex] + step;
        while candidate < second.end && keys[candidate] < sought {
            candidate += 1;
        }
        if candidate < second.end && keys[candidate] == sought {
            edges.push([vertex as u32, candidate as u32]);
        }
    }
}

/// Turns edges, each listed once, into the neighbours of every vertex, sorted by how many they are.
fn neighbourhoods(vertices: usize, edges: &[[u32; 2]]) -> [Neighbourhoods; MOST_NEIGHBOURS + 1] {
    let mut degrees = vec![0u8; vertices];
    let mut neighbours = vec![[0u32; MOST_NEIGHBOURS]; vertices];
    for &[first, second] in edges {
        for (from, to) in [(first, second), (second, first)] {
            let degree = &mut degrees[from as usize];
            neighbours[from as usize][usize::from(*degree)] = to;
            *degree += 1;
        }
    }
    let mut by_degree: [Neighbourhoods; MOST_NEIGHBOURS + 1] = Default::default();
    for (vertex, (&degree, around)) in degrees.iter().zip(&neighbours).enumerate() {
        let Neighbourhoods { vertices, neighbours } = &mut by_degree[usize::from(degree)];
        vertices.push(vertex as u32);
        neighbours.extend(&around[..usize::from(degree)]);
    }
    by_degree
}

#[cfg(test)]
mod tests {
    use super::*;

    impl BilateralGrid {
        fn neighbours_of(&self, vertex: u32) -> Vec<u32> {
            let found = self.by_degree.iter().enumerate().find_map(|(degree, of_degree)| {
                let place = of_degree.vertices.iter().position(|&other| other == vertex)?;
                Some(of_degree.neighbours[place * degree..(place + 1) * degree].to_vec())
            });
            found.unwrap()
        }
    }

    #[test]
    fn colours_fall_into_their_cells() {
        // Brightness is the grey itself, and the colour differences lie exactly on the edge between two cells.
        for grey in 0..=255u8 {
            let expected = (u32::from(grey) / 4) << 18 | 32 << 9 | 32;
            assert_eq!(colour_key([grey; 3], 4.0, 4.0), expected, "{grey}");
        }
        for (rgb, expected) in [
            ([255, 0, 0], [76_245_000, 84_972_320, 255_500_000]),
            ([0, 255, 0], [149_685_000, 43_527_680, 21_234_560]),
            ([0, 0, 255], [29_070_000, 255_500_000, 107_265_440]),
        ] {
            assert_eq!(yuv_millionths(rgb), expected, "{rgb:?}");
        }
        // The ends of the two colour differences.
        assert_eq!(colour_key([0, 0, 255], 1.0, 1.0), 29 << 18 | 255 << 9 | 107);
        assert_eq!(colour_key([255, 255, 0], 1.0, 1.0), 225 << 18 | 148);
    }

    #[test]
    fn neighbours_differ_by_one_in_one_dimension() {
        // Two columns of three pixels with cells of one pixel; brightness steps by 1 in cells of 4 with colours fixed.
        let [a, b, c] = [0u8, 4, 12].map(|grey| [grey; 3]);
        let image = RgbImage::from_values(2, 3, vec![a, a, b, a, c, b]);
        let grid = BilateralGrid::new(&image, 1.0, 4.0, 4.0);
        assert_eq!(grid.vertices(), 6);
        let mut blurred = vec![[0.0]; 6];
        let unit = |at: usize| (0..6).map(|index| [f64::from(u8::from(index == at))]).collect::<Vec<_>>();
        // Same colour side by side, same colour one below the other; a step in place and colour at once is none.
        for (vertex, expected) in [
            (0, [10.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
            (1, [1.0, 10.0, 0.0, 1.0, 0.0, 0.0]),
            (2, [0.0, 0.0, 10.0, 0.0, 0.0, 0.0]),
            (5, [0.0, 0.0, 0.0, 0.0, 0.0, 10.0]),
        ] {
            grid.blur(&unit(vertex), &mut blurred);
            assert_eq!(blurred.as_flattened(), expected, "vertex {vertex}");
        }
        // In one cell in place the brightnesses 0 and 4 are neighbours, 12 has none.
        let grid = BilateralGrid::new(&image, 8.0, 4.0, 4.0);
        assert_eq!(grid.areas_px(), [3.0, 2.0, 1.0]);
        grid.blur(&[[1.0], [0.0], [100.0]], &mut blurred[..3]);
        assert_eq!(blurred[..3], [[10.0], [1.0], [1000.0]]);
        assert_eq!(grid.splat((1..=6).map(|value| [f64::from(value)])), [[7.0], [9.0], [5.0]]);
        assert_eq!(grid.slice(&[7.0, 9.0, 5.0]), [7.0, 7.0, 9.0, 7.0, 5.0, 9.0]);
    }

    #[test]
    fn neighbours_are_those_of_an_exhaustive_search() {
        let (width, height) = (23, 17);
        let value = |index: usize, factor: usize| (index * factor % 61) as u8 * 2;
        let pixels = (0..width * height).map(|index| [value(index, 7), value(index, 5), value(index, 11)]).collect();
        let image = RgbImage::from_values(width, height, pixels);
        let grid = BilateralGrid::new(&image, 4.0, 16.0, 32.0);
        let cell = |index: usize| {
            let key = colour_key(image.values[index], 16.0, 32.0);
            let place = [index / width / 4, index % width / 4];
            [place[0] as u32, place[1] as u32, key >> 18, key >> 9 & 511, key & 511]
        };
        let mut cells: Vec<_> = (0..width * height).map(cell).collect();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!(grid.vertices(), cells.len());
        let mut edges = 0;
        for (vertex, here) in cells.iter().enumerate() {
            let apart = |other: &[u32; 5]| here.iter().zip(other).map(|(&a, &b)| a.abs_diff(b)).sum::<u32>();
            let expected: Vec<u32> =
                (0..cells.len() as u32).filter(|&other| apart(&cells[other as usize]) == 1).collect();
            let mut found = grid.neighbours_of(vertex as u32);
            found.sort_unstable();
            assert_eq!(found, expected, "{here:?}");
            edges += found.len();
        }
        assert!(edges > 100, "{edges}");
    }
}
