//! Sums of products on x86-64: vectors of 16 and of 8 lanes.

/// Vectors of 16 lanes.
pub mod wide {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
    };

    use super::super::{LANES, Quad, Right};

    const VECTOR: usize = 16;

    /// The sums of at most [`PANEL`](super::super::PANEL) outputs; `right` ends with the last quad that is read.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn panel(sums: &mut [i32], strip: &[Quad], right: Right, tokens: usize) {
        // SAFETY: the sums have as many rows of LANES lanes as there are outputs, of which the vectors cover at most all, the
        // strip has whole rows, and `right` reaches to the last quad.
        unsafe {
            match tokens.div_ceil(VECTOR).min(LANES / VECTOR) {
                0 => {}
                1 => of_outputs!(sums.len() / LANES, tile, 1, sums, strip, right),
                2 => of_outputs!(sums.len() / LANES, tile, 2, sums, strip, right),
                3 => of_outputs!(sums.len() / LANES, tile, 3, sums, strip, right),
                _ => of_outputs!(sums.len() / LANES, tile, 4, sums, strip, right),
            }
        }
    }

    /// `OUTPUTS` outputs for `VECTORS` vectors of lanes, all sums in registers.
    ///
    /// # Safety
    /// `sums` must hold `OUTPUTS` rows of [`LANES`] lanes, `strip` whole rows of them, `VECTORS` must not exceed
    /// `LANES / VECTOR`, and `right` must hold the last output's last quad.
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn tile<const OUTPUTS: usize, const VECTORS: usize>(sums: &mut [i32], strip: &[Quad], right: Right) {
        let mut totals = [[_mm512_setzero_si512(); VECTORS]; OUTPUTS];
        let (mut row, mut column) = (strip.as_ptr(), right.quads.as_ptr());
        // SAFETY: every address below is inside its slice by this function's requirements.
        unsafe {
            for _ in 0..strip.len() / LANES {
                let mut left = [_mm512_setzero_si512(); VECTORS];
                for (vector, left) in left.iter_mut().enumerate() {
                    *left = _mm512_loadu_si512(row.add(vector * VECTOR).cast());
                }
                for (output, totals) in totals.iter_mut().enumerate() {
                    let factors = _mm512_set1_epi32((*column.add(output * right.output_stride)).cast_signed());
                    for (total, &left) in totals.iter_mut().zip(&left) {
                        *total = _mm512_dpbusd_epi32(*total, left, factors);
                    }
                }
                row = row.wrapping_add(LANES);
                column = column.wrapping_add(right.quad_stride);
            }
            for (output, totals) in totals.iter().enumerate() {
                for (vector, &total) in totals.iter().enumerate() {
                    _mm512_storeu_si512(sums.as_mut_ptr().add(output * LANES + vector * VECTOR).cast(), total);
                }
            }
        }
    }
}

/// Vectors of 8 lanes, two at a time, with one of the ways to add four products to every lane.
macro_rules! narrow {
    ($(#[$attribute:meta])* mod $name:ident, $features:literal, $($item:item)*) => {
        $(#[$attribute])*
        pub mod $name {
            use std::arch::x86_64::*;

            use super::super::{LANES, Quad, Right};

            const VECTOR: usize = 8;

            $($item)*

            /// The sums of at most [`PANEL`](super::super::PANEL) outputs; `right` ends with the last quad that is read.
            #[target_feature(enable = $features)]
            pub fn panel(sums: &mut [i32], strip: &[Quad], right: Right, tokens: usize) {
                for first in (0..tokens.min(LANES)).step_by(2 * VECTOR) {
                    // SAFETY: the sums have as many rows of LANES lanes as there are outputs, two vectors from a multiple of
                    // 16 below LANES are inside a row, the strip has whole rows, and `right` reaches to the last quad.
                    unsafe { of_outputs!(sums.len() / LANES, tile, 2, sums, strip, right, first) }
                }
            }

            /// `OUTPUTS` outputs for `VECTORS` vectors of lanes from lane `first` on.
            ///
            /// # Safety
            /// `sums` must hold `OUTPUTS` rows of [`LANES`] lanes, `strip` whole rows of them, the vectors must end
            /// within a row, and `right` must hold the last output's last quad.
            #[target_feature(enable = $features)]
            unsafe fn tile<const OUTPUTS: usize, const VECTORS: usize>(
                sums: &mut [i32],
                strip: &[Quad],
                right: Right,
                first: usize,
            ) {
                let mut totals = [[_mm256_setzero_si256(); VECTORS]; OUTPUTS];
                let (mut row, mut column) = (strip.as_ptr().wrapping_add(first), right.quads.as_ptr());
                // SAFETY: every address below is inside its slice by this function's requirements.
                unsafe {
                    for _ in 0..strip.len() / LANES {
                        let mut left = [left_of(_mm256_setzero_si256()); VECTORS];
                        for (vector, left) in left.iter_mut().enumerate() {
                            *left = left_of(_mm256_loadu_si256(row.add(vector * VECTOR).cast()));
                        }
                        for (output, totals) in totals.iter_mut().enumerate() {
                            let quad = *column.add(output * right.output_stride);
                            let factors = factors_of(_mm256_set1_epi32(quad.cast_signed()));
                            for (total, &left) in totals.iter_mut().zip(&left) {
                                *total = add(*total, left, factors);
                            }
                        }
                        row = row.wrapping_add(LANES);
                        column = column.wrapping_add(right.quad_stride);
                    }
                    for (output, totals) in totals.iter().enumerate() {
                        for (vector, &total) in totals.iter().enumerate() {
                            let target = sums.as_mut_ptr().add(output * LANES + first + vector * VECTOR);
                            _mm256_storeu_si256(target.cast(), total);
                        }
                    }
                }
            }
        }
    };
}

narrow! {
    /// One instruction as in [`wide`].
    mod vnni, "avx2,avxvnni",

    #[inline]
    fn left_of(values: __m256i) -> __m256i {
        values
    }

    #[inline]
    fn factors_of(factors: __m256i) -> __m256i {
        factors
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    fn add(total: __m256i, left: __m256i, factors: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(total, left, factors)
    }
}

narrow! {
    /// Even and odd bytes apart as 16 bits, so that no sum of two products is cut off as it would be at 16 bits.
    mod madd, "avx2",

    #[inline]
    #[target_feature(enable = "avx2")]
    fn left_of(values: __m256i) -> [__m256i; 2] {
        [_mm256_and_si256(values, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(values)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn factors_of(factors: __m256i) -> [__m256i; 2] {
        [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(factors)), _mm256_srai_epi16::<8>(factors)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(total: __m256i, left: [__m256i; 2], factors: [__m256i; 2]) -> __m256i {
        let even = _mm256_madd_epi16(left[0], factors[0]);
        _mm256_add_epi32(total, _mm256_add_epi32(even, _mm256_madd_epi16(left[1], factors[1])))
    }
}
