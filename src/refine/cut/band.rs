//! The pixels around the boundaries of a mask.

use crate::raster::Mask;

/// The pixels that lie within some distance of another label, and those that touch them.
#[derive(Debug, Clone)]
pub(super) struct Band {
    /// The pixels' places in the image, in order.
    pub pixels: Vec<usize>,
    /// Which of them are of the band; the others only touch it.
    pub is_within: Vec<bool>,
}

/// Two pixels of a band's list that touch, at least one of them within.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contact {
    pub one: usize,
    pub other: usize,
    pub is_diagonal: bool,
}

impl Band {
    /// Pixels from which another label is at most `reach_px` columns and rows away; none if they are more than `most`. Where
    /// `outside` is 1 there are no pixels, and none touch any there.
    pub fn around(labels: &Mask, outside: Option<&Mask>, reach_px: usize, most: usize) -> Option<Band> {
        let mut within = at_boundaries(labels, outside);
        spread(&mut within, labels.width, reach_px.saturating_sub(1));
        if let Some(outside) = outside {
            within.iter_mut().zip(&outside.values).for_each(|(within, outside)| *within &= *outside == 0);
        }
        if within.iter().filter(|within| **within).count() > most {
            return None;
        }
        let mut listed = within.clone();
        spread(&mut listed, labels.width, 1);
        let is_listed = |&pixel: &usize| listed[pixel] && outside.is_none_or(|outside| outside.values[pixel] == 0);
        let pixels: Vec<usize> = (0..listed.len()).filter(is_listed).collect();
        let is_within = pixels.iter().map(|&pixel| within[pixel]).collect();
        Some(Band { pixels, is_within })
    }

    /// Every pair of pixels that are beside, above or diagonal to one another, once.
    pub fn contacts(&self, width: usize) -> Vec<Contact> {
        let mut contacts = Vec::with_capacity(4 * self.pixels.len());
        // The first listed pixel that may touch one of the row below; it only moves forwards.
        let mut below = 0;
        for (one, &pixel) in self.pixels.iter().enumerate() {
            let column = pixel % width;
            let mut touch = |other: usize, is_diagonal: bool| {
                if self.is_within[one] || self.is_within[other] {
                    contacts.push(Contact { one, other, is_diagonal });
                }
            };
            if column + 1 < width && self.pixels.get(one + 1) == Some(&(pixel + 1)) {
                touch(one + 1, false);
            }
            while self.pixels.get(below).is_some_and(|&place| place + 1 < pixel + width) {
                below += 1;
            }
            for (other, &place) in self.pixels.iter().enumerate().skip(below).take(3) {
                let left = place + 1 == pixel + width && column > 0;
                let right = place == pixel + width + 1 && column + 1 < width;
                if left || right || place == pixel + width {
                    touch(other, left || right);
                }
            }
        }
        contacts
    }
}

/// The pixels that touch one of another label.
fn at_boundaries(labels: &Mask, outside: Option<&Mask>) -> Vec<bool> {
    let (width, height) = (labels.width, labels.height);
    let is_inside = |pixel: usize| outside.is_none_or(|outside| outside.values[pixel] == 0);
    let mut marked = vec![false; labels.values.len()];
    for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
        let pixel = y * width + x;
        let further = [
            (x + 1 < width).then(|| pixel + 1),
            (y + 1 < height && x > 0).then(|| pixel + width - 1),
            (y + 1 < height).then(|| pixel + width),
            (y + 1 < height && x + 1 < width).then(|| pixel + width + 1),
        ];
        for other in further.into_iter().flatten() {
            if labels.values[pixel] != labels.values[other] && is_inside(pixel) && is_inside(other) {
                (marked[pixel], marked[other]) = (true, true);
            }
        }
    }
    marked
}

/// Marks what is at most `reach` columns and rows away from something marked.
fn spread(marked: &mut [bool], width: usize, reach: usize) {
    if reach == 0 || width == 0 {
        return;
    }
    for row in marked.chunks_exact_mut(width) {
        let mut left = 0;
        row.iter_mut().for_each(|marked| carry(marked, &mut left, reach));
        left = 0;
        row.iter_mut().rev().for_each(|marked| carry(marked, &mut left, reach));
    }
    let mut left = vec![0; width];
    for row in marked.chunks_exact_mut(width) {
        row.iter_mut().zip(&mut left).for_each(|(marked, left)| carry(marked, left, reach));
    }
    left.fill(0);
    for row in marked.chunks_exact_mut(width).rev() {
        row.iter_mut().zip(&mut left).for_each(|(marked, left)| carry(marked, left, reach));
    }
}

/// One step along a line, on which the last mark reaches `left` places further. Going there and back marks no more than that:
/// what the way there has marked lies between marks that reach as far.
fn carry(marked: &mut bool, left: &mut usize, reach: usize) {
    if *marked {
        *left = reach;
    } else if *left > 0 {
        *left -= 1;
        *marked = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_what_another_label_is_near_to() {
        let labels = [0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        for (width, height) in [(31, 1), (1, 31), (5, 6), (6, 5), (2, 15), (3, 10)] {
            let labels = Mask::from_values(width, height, labels[..width * height].to_vec());
            for (reach_px, columns_outside) in [(1, 0), (2, 0), (4, 0), (50, 0), (1, 1), (3, 2)] {
                let outside = Mask::from_values(
                    width,
                    height,
                    (0..width * height).map(|pixel| u8::from(pixel % width < columns_outside)).collect(),
                );
                let is_inside = |pixel: usize| outside.values[pixel] == 0;
                let distance = |one: usize, other: usize| {
                    (one % width).abs_diff(other % width).max((one / width).abs_diff(other / width))
                };
                let all = 0..width * height;
                let others = |one: usize| all.clone().filter(move |&other| other != one && is_inside(other));
                let at_boundary = |one: usize| {
                    let differs = |other: usize| labels.values[other] != labels.values[one];
                    is_inside(one) && others(one).any(|other| distance(one, other) == 1 && differs(other))
                };
                let is_within = |one: usize| {
                    is_inside(one) && all.clone().any(|other| at_boundary(other) && distance(one, other) < reach_px)
                };
                let band = Band::around(&labels, Some(&outside), reach_px, usize::MAX).unwrap();
                let found = band.pixels.iter().zip(&band.is_within).filter(|(_, within)| **within);
                let expected: Vec<usize> = all.clone().filter(|&one| is_within(one)).collect();
                assert_eq!(found.map(|(pixel, _)| *pixel).collect::<Vec<_>>(), expected, "{labels:?} {reach_px}");

                let touching = |&(one, other): &(usize, usize)| {
                    one < other && distance(one, other) == 1 && (is_within(one) || is_within(other))
                };
                let pairs = all.clone().filter(|&one| is_inside(one));
                let mut expected: Vec<_> =
                    pairs.flat_map(|one| others(one).map(move |other| (one, other))).filter(touching).collect();
                let place = |contact: &Contact| (band.pixels[contact.one], band.pixels[contact.other]);
                let contacts = band.contacts(width);
                for contact in &contacts {
                    let (one, other) = place(contact);
                    assert_eq!(contact.is_diagonal, one % width != other % width && one / width != other / width);
                }
                let mut found: Vec<_> = contacts.iter().map(place).collect();
                expected.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, expected, "{labels:?} {reach_px}");
                assert!(expected.is_empty() || Band::around(&labels, Some(&outside), reach_px, 1).is_none());
            }
        }
    }
}
