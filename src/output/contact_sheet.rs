//! Many small pictures on one sheet.

use crate::raster::RgbImage;

const PAPER: [u8; 3] = [255, 255, 255];

/// Lays `tiles` out row by row in `columns` columns on white, `gap_px` apart and from the border.
///
/// All cells are as large as the largest tile; smaller tiles are centred in theirs. No tiles give an empty image.
///
/// # Shapes
/// n tiles of at most `[h, w]` → `[gap + ⌈n / columns⌉ · (h + gap), gap + columns · (w + gap)]`
pub fn contact_sheet(tiles: &[RgbImage], columns: usize, gap_px: usize) -> RgbImage {
    if tiles.is_empty() {
        return RgbImage::filled(0, 0, PAPER);
    }
    let columns = columns.clamp(1, tiles.len());
    let cell_width = tiles.iter().map(|tile| tile.width).max().unwrap_or(0);
    let cell_height = tiles.iter().map(|tile| tile.height).max().unwrap_or(0);
    let width = gap_px + columns * (cell_width + gap_px);
    let height = gap_px + tiles.len().div_ceil(columns) * (cell_height + gap_px);
    let mut sheet = RgbImage::filled(width, height, PAPER);
    for (index, tile) in tiles.iter().enumerate() {
        let left = gap_px + index % columns * (cell_width + gap_px) + (cell_width - tile.width) / 2;
        let top = gap_px + index / columns * (cell_height + gap_px) + (cell_height - tile.height) / 2;
        for (row, values) in tile.values.chunks_exact(tile.width.max(1)).enumerate() {
            let start = (top + row) * width + left;
            sheet.values[start..start + tile.width].copy_from_slice(values);
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_centred_in_equal_cells() {
        let [red, blue, green] = [[255, 0, 0], [0, 0, 255], [0, 255, 0]];
        let tiles = [RgbImage::filled(3, 1, red), RgbImage::filled(1, 2, blue), RgbImage::filled(1, 1, green)];
        let sheet = contact_sheet(&tiles, 2, 1);
        let letters: String = sheet
            .values
            .iter()
            .map(|&pixel| match pixel {
                PAPER => '.',
                pixel if pixel == red => 'r',
                pixel if pixel == blue => 'b',
                _ => 'g',
            })
            .collect();
        assert_eq!((sheet.width, sheet.height), (9, 7));
        assert_eq!(
            letters,
            [".........", ".rrr..b..", "......b..", ".........", "..g......", ".........", "........."].concat()
        );
    }

    #[test]
    fn degenerate_sheets_do_not_panic() {
        assert!(contact_sheet(&[], 4, 2).values.is_empty());
        assert_eq!(contact_sheet(&[RgbImage::filled(0, 0, PAPER)], 0, 2).width, 4);
    }
}
