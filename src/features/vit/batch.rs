//! What goes into the transformer and what comes out.

use super::config::Facet;

/// Normalised images of one size.
#[derive(Debug, Clone, Copy)]
pub struct ImageBatch<'a> {
    /// Row-major `[images, 3, height, width]`.
    pub values: &'a [f32],
    pub images: usize,
    pub height: usize,
    pub width: usize,
}

/// Vectors of every token of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptors {
    /// Row-major `[images, tokens, width]`; first the leading tokens, then the patches row by row.
    pub values: Vec<f32>,
    pub images: usize,
    pub tokens: usize,
    /// Tokens that lie nowhere in the image: the class token, then registers.
    pub leading: usize,
    pub width: usize,
}

/// The patches of an image: `rows` × `columns`, every `stride` pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    pub rows: usize,
    pub columns: usize,
    pub stride: usize,
}

/// What is read off the transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readout<'a> {
    /// The tokens as they enter the first block.
    Embedded,
    /// The facet of some blocks, ascending, for every token.
    Facets { layers: &'a [usize], facet: Facet },
    /// The class token after the last block and the final normalisation; where there is none, the mean of all tokens.
    Image,
}
