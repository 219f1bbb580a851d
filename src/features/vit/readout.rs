//! What is read off the transformer.

use super::config::Facet;

/// What is read off the transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readout<'a> {
    /// The tokens as they enter the first block.
    Embedded,
    /// The facet of some blocks, ascending, for every token.
    Facets { layers: &'a [usize], facet: Facet },
    /// The class token after the last block and the final normalisation.
    ClassToken,
}
