//! The transformer's products in bytes.
//!
//! Weights are rounded once, when they are read; activations as they come, with scales of their own for every token, so that
//! no images are needed to find any. What has a wide range has several scales: linear layers one for every [group of
//! inputs](linear), attention one for every head. Channels with outliers need no other treatment: they cost their own group,
//! of their own token, its resolution.
//!
//! Sums are exact and what comes before and after them is computed in the same order everywhere, so that all processors
//! agree and only their speed differs.

mod attention;
#[allow(
    unsafe_code,
    reason = "the processor's instructions for bytes are called directly; each block says why it is sound"
)]
mod kernels;
mod linear;
#[allow(unsafe_code, reason = "versions for other instruction sets are called once these are detected")]
mod loops;
#[cfg(test)]
mod tests;

pub use attention::{AttentionBuffers, ByteProjection};
pub use linear::{ByteLinear, LinearBuffers};
pub use loops::gelu;

/// Whether this processor has instructions for bytes: without them everything is computed as well, but slower than in single
/// precision.
pub fn are_bytes_fast() -> bool {
    kernels::Instructions::fastest().are_for_bytes()
}
