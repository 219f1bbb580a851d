//! Binary masks as runs, in memory and as COCO writes them.
//!
//! COCO counts pixels column by column from the top left: so many of background, so many of foreground, and so on,
//! starting with background (which may be 0 pixels). JSON holds the counts as a list, or compressed to a string: each
//! count from the fourth on as its difference from the count two before it (its neighbour of the same kind, mostly of
//! similar length), and each number in groups of five bits, lowest first, one character per group: 48 + group + 32 if
//! more groups follow. The highest bit of the last group is the sign.

use std::ops::Range;

use super::{LabelMap, Mask, Raster, Rectangle};

/// Most pixels of a mask that is read, so that a broken file cannot ask for all memory.
pub(super) const MAX_AREA_PX: usize = 1 << 29;

/// Characters of one number: seven groups of five bits hold every difference of counts up to [`MAX_AREA_PX`].
const MAX_GROUPS: u32 = 7;

/// A binary mask as alternating lengths of background and foreground, column by column.
///
/// The lengths are in their shortest form (only the first may be 0), so equal masks are equal values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLengthMask {
    width: usize,
    height: usize,
    counts: Vec<u64>,
}

/// Runs that are no mask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunLengthError {
    #[error("a mask of {width}x{height} pixels is larger than this program reads; check its size")]
    TooLarge { width: usize, height: usize },

    #[error("the runs do not add up to {width}x{height} pixels; check that size and counts belong together")]
    WrongSum { width: usize, height: usize },

    #[error("run {run} has a negative length; write the counts again")]
    Negative { run: usize },

    #[error("byte {offset} of the counts is no part of a compressed mask; write the counts again")]
    BadCharacter { offset: usize },

    #[error("the number that starts at byte {offset} of the counts is too long; write the counts again")]
    NumberTooLong { offset: usize },

    #[error("the counts end in the middle of a number; write them again")]
    Truncated,
}

impl RunLengthMask {
    /// The runs of the pixels whose value satisfies `inside`.
    ///
    /// # Shapes
    /// - `raster`: `[height, width]`, row-major (the runs go down the columns)
    pub fn encode<T: Copy>(raster: &Raster<T>, inside: impl Fn(T) -> bool) -> Self {
        let mut counts = vec![0];
        for x in 0..raster.width {
            for y in 0..raster.height {
                extend(&mut counts, inside(raster.at(x, y)), 1);
            }
        }
        Self { width: raster.width, height: raster.height, counts }
    }

    /// The masks of the labels 1, 2, …, `count` of a label map, in one pass over it.
    ///
    /// # Shapes
    /// - `labels`: `[height, width]`
    /// - result: `count` masks `[height, width]`
    ///
    /// # Panics
    /// If a label is greater than `count`.
    pub fn encode_labels(labels: &LabelMap, count: usize) -> Vec<Self> {
        let mut runs = vec![vec![0]; count];
        // How far each mask is written.
        let mut written = vec![0u64; count];
        let mut position = 0;
        for x in 0..labels.width {
            for y in 0..labels.height {
                if let Some(index) = (labels.at(x, y) as usize).checked_sub(1) {
                    extend(&mut runs[index], false, position - written[index]);
                    extend(&mut runs[index], true, 1);
                    written[index] = position + 1;
                }
                position += 1;
            }
        }
        let finish = |(mut counts, written): (Vec<u64>, u64)| {
            extend(&mut counts, false, position - written);
            Self { width: labels.width, height: labels.height, counts }
        };
        runs.into_iter().zip(written).map(finish).collect()
    }

    /// A mask from the lengths of its runs, as in COCO's uncompressed form; a length of 0 is allowed anywhere.
    pub fn from_counts(width: usize, height: usize, counts: &[u64]) -> Result<Self, RunLengthError> {
        let mut reader = Reader::new(width, height)?;
        counts.iter().try_for_each(|&length| reader.push(length))?;
        reader.finish()
    }

    /// A mask from COCO's compressed string.
    pub fn from_compressed(width: usize, height: usize, text: &str) -> Result<Self, RunLengthError> {
        let mut reader = Reader::new(width, height)?;
        // The lengths of the last three runs, the oldest first.
        let mut recent = [0i64; 3];
        let (mut run, mut start) = (0, 0);
        let (mut number, mut groups) = (0i64, 0u32);
        for (offset, &byte) in text.as_bytes().iter().enumerate() {
            let Some(symbol) = byte.checked_sub(48).filter(|&symbol| symbol < 64) else {
                return Err(RunLengthError::BadCharacter { offset });
            };
            if groups == 0 {
                start = offset;
            } else if groups == MAX_GROUPS {
                return Err(RunLengthError::NumberTooLong { offset: start });
            }
            number |= i64::from(symbol & 31) << (5 * groups);
            groups += 1;
            if symbol & 32 != 0 {
                continue;
            }
            if symbol & 16 != 0 {
                number -= 1 << (5 * groups);
            }
            // Below 2³⁵ plus a length that has passed `push`, so no overflow.
            let length = if run > 2 { number + recent[1] } else { number };
            reader.push(u64::try_from(length).map_err(|_| RunLengthError::Negative { run })?)?;
            recent = [recent[1], recent[2], length];
            run += 1;
            (number, groups) = (0, 0);
        }
        if groups > 0 {
            return Err(RunLengthError::Truncated);
        }
        reader.finish()
    }

    /// COCO's compressed string.
    pub fn compressed(&self) -> String {
        let mut text = String::with_capacity(2 * self.counts.len());
        for (run, &length) in self.counts.iter().enumerate() {
            // Lengths are numbers of pixels in memory, far below 2⁶³.
            let mut number = length as i64;
            if run > 2 {
                number -= self.counts[run - 2] as i64;
            }
            loop {
                let group = (number & 31) as u8;
                number >>= 5;
                // Done when the rest is nothing but the sign that the reader infers from the group's highest bit.
                let rest_is_sign = number == if group & 16 != 0 { -1 } else { 0 };
                text.push(char::from(48 + group + if rest_is_sign { 0 } else { 32 }));
                if rest_is_sign {
                    break;
                }
            }
        }
        text
    }

    /// The mask pixel by pixel: 1 inside, 0 outside.
    ///
    /// # Shapes
    /// - result: `[height, width]`
    pub fn decode(&self) -> Mask {
        let mut mask = Mask::filled(self.width, self.height, 0);
        for (x, rows) in self.column_pieces() {
            for y in rows {
                mask.values[y * self.width + x] = 1;
            }
        }
        mask
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The lengths of the runs, background first.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Number of pixels inside.
    pub fn area_px(&self) -> u64 {
        self.counts.iter().skip(1).step_by(2).sum()
    }

    /// Number of pixels inside both masks.
    ///
    /// # Panics
    /// If `other` has another size.
    pub fn intersection_px(&self, other: &Self) -> u64 {
        assert_eq!((self.width, self.height), (other.width, other.height), "masks of one size are compared");
        let (mut own, mut others) = (self.inside_runs(), other.inside_runs());
        let (mut one, mut two) = (own.next(), others.next());
        let mut both_px = 0;
        while let (Some(first), Some(second)) = (&one, &two) {
            both_px += first.end.min(second.end).saturating_sub(first.start.max(second.start)) as u64;
            if first.end <= second.end { one = own.next() } else { two = others.next() }
        }
        both_px
    }

    /// The smallest rectangle around the pixels inside; none if there are none (where COCO writes `[0, 0, 0, 0]`).
    pub fn bounding(&self) -> Option<Rectangle> {
        let mut bounds: Option<[usize; 4]> = None;
        for (x, rows) in self.column_pieces() {
            let [left, top, _, bottom] = bounds.unwrap_or([x, rows.start, x, rows.end]);
            // Pieces come from left to right.
            bounds = Some([left, top.min(rows.start), x, bottom.max(rows.end)]);
        }
        bounds.map(|[left, top, right, bottom]| Rectangle {
            x: left,
            y: top,
            width: right - left + 1,
            height: bottom - top,
        })
    }

    /// The runs of foreground, as positions down the columns.
    fn inside_runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut position = 0usize;
        let runs = self.counts.iter().enumerate().map(move |(run, &length)| {
            let start = position;
            // The lengths add up to width · height, a number of pixels in memory or below `MAX_AREA_PX`.
            position += length as usize;
            (run, start..position)
        });
        runs.filter(|(run, range)| run % 2 == 1 && !range.is_empty()).map(|(_, range)| range)
    }

    /// The foreground as (column, rows) from left to right, each run cut where it passes from one column to the next.
    fn column_pieces(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        self.inside_runs().flat_map(move |Range { start, end }| {
            (start / self.height..=(end - 1) / self.height).map(move |x| {
                let top = x * self.height;
                (x, start.max(top) - top..end.min(top + self.height) - top)
            })
        })
    }
}

/// Goes on with runs so that they stay in their shortest form; they begin as `[0]`.
fn extend(counts: &mut Vec<u64>, inside: bool, length: u64) {
    let current = counts.len() - 1;
    if inside == (current % 2 == 1) {
        counts[current] += length;
    } else if length > 0 {
        counts.push(length);
    }
}

/// Collects runs from outside, and holds them against the size they must have.
struct Reader {
    width: usize,
    height: usize,
    rest_px: u64,
    next_is_inside: bool,
    counts: Vec<u64>,
}

impl Reader {
    fn new(width: usize, height: usize) -> Result<Self, RunLengthError> {
        let area_px = width.checked_mul(height).filter(|&area_px| area_px <= MAX_AREA_PX);
        let rest_px = area_px.ok_or(RunLengthError::TooLarge { width, height })? as u64;
        Ok(Self { width, height, rest_px, next_is_inside: false, counts: vec![0] })
    }

    fn push(&mut self, length: u64) -> Result<(), RunLengthError> {
        let Some(rest_px) = self.rest_px.checked_sub(length) else {
            return Err(RunLengthError::WrongSum { width: self.width, height: self.height });
        };
        self.rest_px = rest_px;
        extend(&mut self.counts, self.next_is_inside, length);
        self.next_is_inside = !self.next_is_inside;
        Ok(())
    }

    fn finish(self) -> Result<RunLengthMask, RunLengthError> {
        let Self { width, height, rest_px, counts, .. } = self;
        if rest_px > 0 {
            return Err(RunLengthError::WrongSum { width, height });
        }
        Ok(RunLengthMask { width, height, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_encoded_together_are_each_encoded_alone() {
        let labels = LabelMap::from_values(4, 3, vec![1, 1, 0, 3, 0, 1, 3, 3, 4, 4, 4, 0]);
        let together = RunLengthMask::encode_labels(&labels, 5);
        let alone: Vec<_> = (1..=5).map(|label| RunLengthMask::encode(&labels, |value| value == label)).collect();
        assert_eq!(together, alone);
        assert!(RunLengthMask::encode_labels(&LabelMap::filled(0, 0, 0), 0).is_empty());
    }

    #[test]
    fn runs_go_down_the_columns_and_start_with_background() {
        // 0 1 1      columns: 0 1 | 1 1 | 1 0
        // 1 1 0
        let mask = Mask::from_values(3, 2, vec![0, 1, 9, 1, 1, 0]);
        let runs = RunLengthMask::encode(&mask, |value| value > 0);
        assert_eq!((runs.counts(), runs.area_px()), (&[1, 4, 1][..], 4));
        assert_eq!(runs.bounding(), Some(Rectangle { x: 0, y: 0, width: 3, height: 2 }));
        assert_eq!(runs.compressed(), "141");
        assert_eq!(runs.decode(), mask.map(|value| u8::from(value > 0)));
        assert_eq!((runs.width(), runs.height()), (3, 2));
    }

    #[test]
    fn empty_and_full_masks() {
        for (width, height, inside, counts, area_px) in
            [(0, 0, 0u8, vec![0], 0), (0, 5, 1, vec![0], 0), (4, 3, 0, vec![12], 0), (4, 3, 1, vec![0, 12], 12)]
        {
            let mask = Mask::filled(width, height, inside);
            let runs = RunLengthMask::encode(&mask, |value| value > 0);
            assert_eq!((runs.counts(), runs.area_px()), (&counts[..], area_px));
            assert_eq!(runs.bounding(), Rectangle::bounding(&mask, |value| value > 0));
            assert_eq!(RunLengthMask::from_compressed(width, height, &runs.compressed()), Ok(runs.clone()));
            assert_eq!(runs.decode(), mask);
        }
    }

    #[test]
    fn zero_lengths_are_merged_away() {
        let expected = RunLengthMask::from_counts(1, 7, &[2, 3, 2]).unwrap();
        for counts in [&[2, 1, 0, 2, 2][..], &[0, 0, 2, 3, 1, 0, 1], &[2, 3, 2, 0, 0]] {
            assert_eq!(RunLengthMask::from_counts(1, 7, counts).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn broken_runs_are_errors() {
        use RunLengthError::*;
        let wrong = WrongSum { width: 2, height: 3 };
        for counts in [&[][..], &[5], &[7], &[3, u64::MAX], &[u64::MAX, u64::MAX], &[1, 2, 4]] {
            assert_eq!(RunLengthMask::from_counts(2, 3, counts), Err(wrong.clone()), "{counts:?}");
        }
        let large = |width, height| Err(TooLarge { width, height });
        assert_eq!(RunLengthMask::from_counts(usize::MAX, 2, &[0]), large(usize::MAX, 2));
        assert_eq!(RunLengthMask::from_compressed(1 << 20, 1 << 20, "0"), large(1 << 20, 1 << 20));
        for (text, expected) in [
            ("", wrong.clone()),
            ("5", wrong.clone()),
            ("51 ", BadCharacter { offset: 2 }),
            ("1p", BadCharacter { offset: 1 }),
            ("1é", BadCharacter { offset: 1 }),
            ("O", Negative { run: 0 }),
            ("011N", Negative { run: 3 }),
            ("1Q", Truncated),
            ("1ooooooo0", NumberTooLong { offset: 1 }),
            ("oooooo?", wrong),
        ] {
            assert_eq!(RunLengthMask::from_compressed(2, 3, text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn masks_survive_both_forms(
            (width, height, values) in (0usize..12, 0usize..12, 1u8..9).prop_flat_map(|(width, height, density)| {
                let values = proptest::collection::vec(0..=density, width * height);
                (Just(width), Just(height), values)
            }),
        ) {
            let mask = Mask::from_values(width, height, values).map(|value| u8::from(value == 0));
            let runs = RunLengthMask::encode(&mask, |value| value > 0);
            prop_assert_eq!(&runs.decode(), &mask);
            prop_assert_eq!(runs.area_px(), mask.values.iter().filter(|&&value| value > 0).count() as u64);
            let shifted = mask.values.iter().cycle().skip(width / 2).take(width * height).copied().collect();
            let other = Mask::from_values(width, height, shifted);
            let both = mask.values.iter().zip(&other.values).filter(|(one, two)| **one + **two == 2).count() as u64;
            prop_assert_eq!(runs.intersection_px(&RunLengthMask::encode(&other, |value| value > 0)), both);
            prop_assert_eq!(runs.bounding(), Rectangle::bounding(&mask, |value| value > 0));
            prop_assert_eq!(RunLengthMask::from_counts(width, height, runs.counts()), Ok(runs.clone()));
            prop_assert_eq!(RunLengthMask::from_compressed(width, height, &runs.compressed()), Ok(runs));
        }

        #[test]
        fn long_runs_survive_compression(lengths in proptest::collection::vec(1u64..40_000_000, 1..12)) {
            let total = lengths.iter().sum::<u64>() as usize;
            let runs = RunLengthMask::from_counts(1, total, &lengths).unwrap();
            prop_assert_eq!(RunLengthMask::from_compressed(1, total, &runs.compressed()), Ok(runs));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~é]{0,24}", width in 0usize..9, height in 0usize..9) {
            if let Ok(runs) = RunLengthMask::from_compressed(width, height, &text) {
                prop_assert_eq!(runs.decode().values.len(), width * height);
            }
        }
    }
}
