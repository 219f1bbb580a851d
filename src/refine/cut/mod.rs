//! The graph cut: moves the boundaries of a mask to where colours change, as far as the network's probabilities allow it.
//!
//! Source: Boykov and Jolly, "Interactive Graph Cuts for Optimal Boundary & Region Segmentation of Objects in N-D Images",
//! ICCV 2001; what a boundary costs: Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004; from coarse to fine: Lombaert,
//! Sun, Grady and Xu, "A Multilevel Banded Graph Cuts Method for Fast Image Segmentation", ICCV 2005.

mod band;
mod config;
#[cfg(test)]
mod tests;

pub use config::CutConfig;

use std::collections::VecDeque;

use super::components::beside;
use super::upscale::neighbours;
use crate::numerics::argmax;
use crate::numerics::expansion::PottsEnergy;
use crate::pixels::{lab_from_rgb, resize_lanczos};
use crate::raster::{LabelMap, Mask, RgbImage};
use band::{Band, Contact};

/// Most pixels that are cut at once, at about 300 bytes each.
const AT_ONCE_PX: usize = 1 << 19;
/// How far the boundaries of a reduced image's mask may move in the image of twice its sides.
const FINE_BAND_PX: usize = 2;
/// How much the network's probabilities are believed, against all labels being alike: nothing is impossible.
const BELIEF: f64 = 0.9;

/// How probable each class is wherever an image has nodes.
#[derive(Debug, Clone, Copy)]
pub struct Shares<'a> {
    /// The node at every position of a raster over the whole image.
    pub nodes: &'a LabelMap,
    /// Row-major `[N, classes]`.
    pub values: &'a [f32],
    /// Number of classes.
    pub classes: usize,
}

/// Fits the boundaries of `mask` to the edges of `image`; `class_of` maps a mask value to its class, a column of `shares`.
///
/// Minimises, over the classes l that the mask has, Σ_p −ln(0.9 s_p(l_p) + 0.1/K) + Σ_pq w_pq [l_p ≠ l_q], with the shares s_p
/// of pixel p interpolated between the nodes' positions, K classes, pairs pq of 8 neighbours and
/// w_pq = `smoothness` · exp(−`contrast` · ‖Δ_pq‖² / (2 mean ‖Δ‖²)) / distance, Δ in CIE L\*a\*b\*. Only pixels up to `band_px`
/// from a boundary change, in squares around it; those beside them count as they are. Two classes have the least energy there is,
/// several one that no class can lower by taking further pixels. Where `outside` is 1 nothing changes and nothing counts.
///
/// A pixel of another class than before takes the value of the nearest pixel of that class, by steps within it.
///
/// An image of more than 2¹⁹ pixels is cut at half its sides first, and what comes of it then moves by up to 2 pixels; where
/// more pixels than that lie around its boundaries, they stay as coarse.
///
/// # Shapes
/// image and mask `[height, width]` → `[height, width]`
pub fn refine(
    image: &RgbImage,
    mask: Mask,
    shares: Shares,
    outside: Option<&Mask>,
    class_of: impl Fn(u8) -> u8,
    config: CutConfig,
) -> Mask {
    let classes = mask.map(class_of);
    let mut is_present = [false; 256];
    classes.values.iter().for_each(|&class| is_present[usize::from(class)] = true);
    let present: Vec<u8> = (0..=u8::MAX).filter(|&class| is_present[usize::from(class)]).collect();
    if present.len() < 2 || shares.values.is_empty() {
        return mask;
    }
    let cut = Cut { shares, classes: &present, config, at_once_px: AT_ONCE_PX };
    let mut refined = cut.coarse_to_fine(image, classes.clone(), outside);
    if let Some(outside) = outside {
        let unknown = refined.values.iter_mut().zip(&classes.values).zip(&outside.values).filter(|(_, out)| **out == 1);
        unknown.for_each(|((refined, class), _)| *refined = *class);
    }
    with_values(mask, &classes, &refined)
}

struct Cut<'a> {
    shares: Shares<'a>,
    /// The classes that a pixel may have, in order.
    classes: &'a [u8],
    config: CutConfig,
    at_once_px: usize,
}

impl Cut<'_> {
    /// Masks of classes to masks of classes.
    fn coarse_to_fine(&self, image: &RgbImage, mask: Mask, outside: Option<&Mask>) -> Mask {
        let (width, height) = (image.width, image.height);
        if width * height <= self.at_once_px {
            return self.cut(image, mask, outside, self.config.band_px);
        }
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let halved = |mask: &Mask| mask.resized_nearest(half_width, half_height);
        let coarse = self.coarse_to_fine(
            &resize_lanczos(image, half_width, half_height),
            halved(&mask),
            outside.map(halved).as_ref(),
        );
        drop(mask);
        self.cut(image, coarse.resized_nearest(width, height), outside, FINE_BAND_PX)
    }

    /// The cheapest mask that differs in the band only.
    fn cut(&self, image: &RgbImage, mut mask: Mask, outside: Option<&Mask>, reach_px: usize) -> Mask {
        let Some(band) = Band::around(&mask, outside, reach_px, self.at_once_px) else { return mask };
        let changing: Vec<usize> =
            band.pixels.iter().zip(&band.is_within).filter(|(_, within)| **within).map(|(&pixel, _)| pixel).collect();
        let label_of = |pixel: usize| self.classes.partition_point(|&class| class < mask.values[pixel]);
        let energy = self.energy(image, &band, &changing, label_of);
        let labelling = if self.classes.len() == 2 {
            energy.cheapest_of_two()
        } else {
            energy.expanded(changing.iter().map(|&pixel| label_of(pixel)).collect(), |_| ())
        };
        for (pixel, label) in changing.into_iter().zip(labelling) {
            mask.values[pixel] = self.classes[label];
        }
        mask
    }

    fn energy(
        &self,
        image: &RgbImage,
        band: &Band,
        changing: &[usize],
        label_of: impl Fn(usize) -> usize,
    ) -> PottsEnergy {
        let labels = self.classes.len();
        let mut costs = self.costs(changing, image.width, image.height);
        let contacts = band.contacts(image.width);
        let prices = self.prices(image, band, &contacts);
        let mut numbers = vec![0u32; band.pixels.len()];
        let within = numbers.iter_mut().zip(&band.is_within).filter(|(_, within)| **within);
        within.zip(0..).for_each(|((number, _), next)| *number = next);
        let (mut edges, mut weights) = (Vec::with_capacity(contacts.len()), Vec::with_capacity(contacts.len()));
        for (&Contact { one, other, .. }, price) in contacts.iter().zip(prices) {
            if band.is_within[one] && band.is_within[other] {
                edges.push((numbers[one], numbers[other]));
                weights.push(price);
                continue;
            }
            // A neighbour that stays makes every other label dearer.
            let (changes, stays) = if band.is_within[one] { (one, other) } else { (other, one) };
            let stays = label_of(band.pixels[stays]);
            let first = numbers[changes] as usize * labels;
            for (label, cost) in costs[first..first + labels].iter_mut().enumerate() {
                *cost += if label == stays { 0.0 } else { price };
            }
        }
        PottsEnergy::of_reals(&costs, labels, edges, &weights)
    }

    /// What every label costs by its share. → `[pixels, labels]`
    fn costs(&self, pixels: &[usize], width: usize, height: usize) -> Vec<f64> {
        let Shares { nodes, values, classes } = self.shares;
        let (across, down) = (neighbours(width, nodes.width), neighbours(height, nodes.height));
        let labels = self.classes.len();
        let mut costs = Vec::with_capacity(pixels.len() * labels);
        let mut shares = vec![0.0f64; labels];
        for pixel in pixels {
            shares.fill(0.0);
            for (y, down) in down[pixel / width] {
                for (x, across) in across[pixel % width] {
                    let node = nodes.at(x, y) as usize * classes;
                    for (share, &class) in shares.iter_mut().zip(self.classes) {
                        *share += f64::from((down * across * values[node + usize::from(class)]).max(0.0));
                    }
                }
            }
            let total: f64 = shares.iter().sum();
            let share = |share: &f64| if total > 0.0 { share / total } else { 1.0 / labels as f64 };
            costs.extend(shares.iter().map(|of| -(BELIEF * share(of) + (1.0 - BELIEF) / labels as f64).ln()));
        }
        costs
    }

    /// What a boundary between every two pixels costs.
    fn prices(&self, image: &RgbImage, band: &Band, contacts: &[Contact]) -> Vec<f64> {
        let colours: Vec<[u8; 3]> = band.pixels.iter().map(|&pixel| image.values[pixel]).collect();
        let lab = lab_from_rgb(&RgbImage::from_values(colours.len(), 1, colours)).values;
        let mut prices: Vec<f64> = contacts
            .iter()
            .map(|contact| {
                let pairs = lab[contact.one].iter().zip(lab[contact.other]);
                pairs.map(|(one, other)| f64::from((one - other) * (one - other))).sum()
            })
            .collect();
        let mean = prices.iter().sum::<f64>() / prices.len().max(1) as f64;
        let CutConfig { smoothness, contrast, .. } = self.config;
        for (price, contact) in prices.iter_mut().zip(contacts) {
            let difference = if mean > 0.0 { *price / (2.0 * mean) } else { 0.0 };
            let distance = if contact.is_diagonal { std::f64::consts::SQRT_2 } else { 1.0 };
            *price = smoothness.max(0.0) * (-contrast * difference).exp() / distance;
        }
        prices
    }
}

/// The values of a mask of the classes `refined`, where `mask` has those of `classes`.
fn with_values(mut mask: Mask, classes: &Mask, refined: &Mask) -> Mask {
    let mut counts = vec![[0usize; 256]; 256];
    for (&class, &value) in classes.values.iter().zip(&mask.values) {
        counts[usize::from(class)][usize::from(value)] += 1;
    }
    let mut open: Vec<bool> = refined.values.iter().zip(&classes.values).map(|(new, old)| new != old).collect();
    let changed: Vec<usize> = (0..open.len()).filter(|&pixel| open[pixel]).collect();
    // The most frequent value of the class, where no way within it leads to another.
    let usual: Vec<u8> = counts.iter().map(|counts| argmax(counts) as u8).collect();
    changed.iter().for_each(|&pixel| mask.values[pixel] = usual[usize::from(refined.values[pixel])]);
    if counts.iter().all(|counts| counts.iter().filter(|&&count| count > 0).count() <= 1) {
        return mask;
    }
    let around = |pixel| beside(pixel, refined.width, refined.height);
    let is_alike = |one: usize, other: usize| refined.values[one] == refined.values[other];
    let mut values = mask.values;
    let mut queue = VecDeque::new();
    for pixel in changed {
        if let Some(nearest) = around(pixel).find(|&other| !open[other] && is_alike(pixel, other)) {
            values[pixel] = values[nearest];
            queue.push_back(pixel);
        }
    }
    queue.iter().for_each(|&pixel| open[pixel] = false);
    while let Some(pixel) = queue.pop_front() {
        for other in around(pixel) {
            if open[other] && is_alike(pixel, other) {
                values[other] = values[pixel];
                open[other] = false;
                queue.push_back(other);
            }
        }
    }
    Mask::from_values(refined.width, refined.height, values)
}
