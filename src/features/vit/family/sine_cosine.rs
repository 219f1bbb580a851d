//! Positions that were computed, not trained.

use crate::weights::StateDict;

/// Which axis the first half of a table's channels tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    Columns,
    Rows,
}

/// Files in half precision round the table to this.
const TOLERANCE: f32 = 5e-3;

/// Whether the stored positions are the sines and cosines of a square grid with a class token, all zero, before it.
///
/// Of each axis a quarter of the channels are sines of place / 10000^(i / quarter), and a quarter are cosines.
///
/// Source: Chen et al. 2021 (MoCo-v3, arXiv 2104.02057) and He et al. 2021 (MAE, arXiv 2111.06377), which differ in the axis
/// that comes first.
pub fn is_table(state: &StateDict, first: First) -> bool {
    let Ok(&[1, count, width]) = state.shape("pos_embed") else { return false };
    let side = count.saturating_sub(1).isqrt();
    if side < 2 || side * side + 1 != count || !width.is_multiple_of(4) {
        return false;
    }
    let Ok(values) = state.values("pos_embed", &[1, count, width]) else { return false };
    let (class, places) = values.split_at(width);
    let quarter = width / 4;
    let expected = |place: usize, channel: usize| {
        let (row, column) = (place / side, place % side);
        let along_columns = (channel < 2 * quarter) == (first == First::Columns);
        let along = if along_columns { column } else { row };
        let angle = along as f64 / 10_000f64.powf((channel % quarter) as f64 / quarter as f64);
        (if (channel / quarter).is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
    };
    class.iter().all(|value| *value == 0.0)
        && places.iter().enumerate().all(|(index, value)| {
            let difference = value - expected(index / width, index % width);
            difference.abs() <= TOLERANCE
        })
}
