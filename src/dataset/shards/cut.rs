//! Cutting the list of a collection into shards of about equal size, in one pass and without holding it.

use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use super::ShardRange;
use super::list::bytes_in;

/// What shards have about equally much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Images.
    #[default]
    Files,
    /// Bytes of the images' files.
    Bytes,
}

/// Cuts a list of `images` lines, whose files have `bytes` together, into `shards` ranges; none is empty.
///
/// Every shard takes images as long as the middle of the next one lies within an equal share of what is left. That needs no
/// more than the totals, is the same for the same list, and no shard is off its share by more than half an image.
///
/// # Errors
/// If the list cannot be read.
pub fn cut(mut list: impl BufRead, shards: usize, by: Balance, images: u64, bytes: u64) -> io::Result<Vec<ShardRange>> {
    // An empty file is an image too.
    let weight = |bytes: u64| match by {
        Balance::Files => 1,
        Balance::Bytes => bytes + 1,
    };
    let total = match by {
        Balance::Files => u128::from(images),
        Balance::Bytes => u128::from(bytes) + u128::from(images),
    };
    let mut left = Left { shards, images, weight: total };
    let mut ranges = Vec::new();
    let mut open = Open::default();
    let mut line = Vec::new();
    while list.read_until(b'\n', &mut line)? > 0 {
        let bytes = bytes_in(&line).unwrap_or(0);
        if left.is_full(&open, weight(bytes)) {
            left.give(&open);
            let end = open.offset + open.length;
            ranges.push(std::mem::take(&mut open).close());
            open.offset = end;
        }
        open.images += 1;
        open.bytes += bytes;
        open.weight += u128::from(weight(bytes));
        open.length += line.len() as u64;
        open.hasher.update(&line);
        line.clear();
    }
    ranges.push(open.close());
    Ok(ranges)
}

/// What the open shard and those after it have together.
struct Left {
    shards: usize,
    images: u64,
    weight: u128,
}

/// The shard that takes images.
#[derive(Default)]
struct Open {
    images: u64,
    bytes: u64,
    weight: u128,
    offset: u64,
    length: u64,
    hasher: blake3::Hasher,
}

impl Left {
    /// Whether the next image, of this weight, is the first of another shard.
    fn is_full(&self, open: &Open, next: u64) -> bool {
        if open.images == 0 || self.shards == 1 {
            return false;
        }
        let is_needed_there = self.images - open.images < self.shards as u64;
        is_needed_there || (2 * open.weight + u128::from(next)) * self.shards as u128 > 2 * self.weight
    }

    fn give(&mut self, open: &Open) {
        self.shards -= 1;
        self.images -= open.images;
        self.weight -= open.weight;
    }
}

impl Open {
    fn close(self) -> ShardRange {
        let Open { images, bytes, offset, length, hasher, .. } = self;
        ShardRange { images, bytes, offset, length, blake3: hasher.finalize().to_hex().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images and bytes of every shard of files of these sizes.
    fn cut_of(sizes: &[u64], shards: usize, by: Balance) -> Vec<(u64, u64)> {
        let list: String = sizes.iter().map(|bytes| format!("{{\"image\":\"a\",\"bytes\":{bytes}}}\n")).collect();
        let ranges = cut(list.as_bytes(), shards, by, sizes.len() as u64, sizes.iter().sum()).unwrap();
        assert_eq!(ranges.len(), shards, "{sizes:?}");
        let mut offset = 0;
        for range in &ranges {
            let lines = &list.as_bytes()[offset as usize..(offset + range.length) as usize];
            assert_eq!((range.offset, range.blake3.as_str()), (offset, blake3::hash(lines).to_hex().as_str()));
            offset += range.length;
        }
        assert_eq!(offset, list.len() as u64, "every line is in a shard");
        ranges.iter().map(|range| (range.images, range.bytes)).collect()
    }

    #[test]
    fn shards_are_equal_by_number_or_by_bytes_and_none_is_empty() {
        let images = |ranges: Vec<(u64, u64)>| ranges.into_iter().map(|(images, _)| images).collect::<Vec<_>>();
        for (count, shards, expected) in
            [(30, 5, vec![6; 5]), (10, 4, vec![3, 2, 3, 2]), (3, 3, vec![1; 3]), (7, 1, vec![7])]
        {
            assert_eq!(images(cut_of(&vec![9; count], shards, Balance::Files)), expected);
        }
        let by_bytes = |sizes: &[u64], shards| cut_of(sizes, shards, Balance::Bytes);
        assert_eq!(by_bytes(&[100, 1, 1], 3), [(1, 100), (1, 1), (1, 1)]);
        assert_eq!(by_bytes(&[1, 1, 100], 3), [(1, 1), (1, 1), (1, 100)]);
        assert_eq!(by_bytes(&[10, 10, 10, 30, 60], 2), [(4, 60), (1, 60)]);
        assert_eq!(by_bytes(&[0, 0, 0, 0], 2), [(2, 0), (2, 0)]);
    }

    #[test]
    fn no_shard_is_far_from_its_share() {
        let sizes: Vec<u64> =
            (0..5000).map(|number: u64| 1000 + number.wrapping_mul(2_654_435_761) % 100_000).collect();
        for shards in [2, 7, 40, 333] {
            let (ranges, share) = (cut_of(&sizes, shards, Balance::Bytes), sizes.iter().sum::<u64>() / shards as u64);
            assert!(ranges.iter().all(|(_, bytes)| bytes.abs_diff(share) <= 101_000), "{shards}: {ranges:?}");
        }
    }
}
