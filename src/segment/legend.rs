//! What the values of masks mean.

use serde::{Deserialize, Serialize};

/// The ranges of mask values: 0 is background, then come the clusters of the foreground, its parts, and the parts of the
/// background. No two ranges share a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legend {
    objects: u8,
    parts: u8,
    background_parts: u8,
    /// The clusters are regions that together cover the image.
    of_regions: bool,
    /// They are numbered anew in every image, and may be more than those here.
    is_numbered: bool,
}

/// One mask value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub value: u16,
    pub name: String,
    pub role: Role,
}

/// What kind of thing a mask value stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Background,
    /// A cluster of the foreground.
    Object,
    /// One of the regions into which a whole image is divided.
    Region,
    /// A part of an object.
    Part,
    BackgroundPart,
}

impl Role {
    pub fn is_foreground(self) -> bool {
        matches!(self, Role::Object | Role::Part | Role::Region)
    }

    pub fn is_region(self) -> bool {
        self == Role::Region
    }
}

impl Legend {
    /// Legend of `clusters` clusters of foreground, which a second stage divides into `parts`, and the background into
    /// `background_parts`; 0 stands for no second stage. None if masks of 8 bits have too few values.
    ///
    /// Where parts are sought, the foreground is one: it is divided as a whole, whichever clusters it comes from.
    pub fn new(clusters: usize, parts: usize, background_parts: usize) -> Option<Legend> {
        let objects = if parts > 0 { 1 } else { clusters };
        (objects + parts + background_parts <= usize::from(u8::MAX)).then_some(Legend {
            objects: objects as u8,
            parts: parts as u8,
            background_parts: background_parts as u8,
            of_regions: false,
            is_numbered: false,
        })
    }

    /// Legend of images that are divided into regions of up to `labels` kinds as a whole: 1, 2, … are regions, and 0 is where
    /// an image has no data. None if masks of 8 bits have too few values.
    pub fn regions(labels: usize) -> Option<Legend> {
        Legend::new(labels, 0, 0).map(|legend| Legend { of_regions: true, ..legend })
    }

    /// Legend of images whose regions are numbered, each image's by themselves. They may be more than the values of masks of 8
    /// bits, which this names.
    pub fn numbered_regions() -> Legend {
        Legend { objects: u8::MAX, parts: 0, background_parts: 0, of_regions: true, is_numbered: true }
    }

    pub fn is_of_regions(&self) -> bool {
        self.of_regions
    }

    /// Whether a value says nothing but that a region of an image is not another one.
    pub fn is_numbered(&self) -> bool {
        self.is_numbered
    }

    /// How probable the most probable cluster of background is in every node, or of each object: rows of the values that
    /// [`Legend::of_clusters`] gives, in order. The largest of a row is thus that of the node's most probable cluster.
    ///
    /// # Shapes
    /// probabilities `[N, K]`, which clusters are background `[K]` → `[N, 1 + objects]`
    pub fn shares(&self, probabilities: &[f32], background: &[bool]) -> Vec<f32> {
        let (of_clusters, classes) = (self.of_clusters(background), 1 + usize::from(self.objects));
        let mut shares = vec![0.0; probabilities.len() / background.len() * classes];
        for (row, shares) in probabilities.chunks_exact(background.len()).zip(shares.chunks_exact_mut(classes)) {
            for (&probability, &value) in row.iter().zip(&of_clusters) {
                let share: &mut f32 = &mut shares[usize::from(value)];
                *share = share.max(probability);
            }
        }
        shares
    }

    /// The value of every node, given its cluster and which clusters are background.
    ///
    /// # Shapes
    /// clusters `[N]`, background `[K]` → `[N]`
    pub fn of_nodes(&self, clusters: &[usize], background: &[bool]) -> Vec<u8> {
        let of_clusters = self.of_clusters(background);
        clusters.iter().map(|&cluster| of_clusters[cluster]).collect()
    }

    /// The value of every cluster, given which are background: 0 for these, for the others 1, 2, … in order, or 1 if all
    /// foreground is one.
    pub fn of_clusters(&self, background: &[bool]) -> Vec<u8> {
        let mut next = 0;
        let mut value = |is_background: bool| {
            if is_background {
                return 0;
            }
            next = if self.parts > 0 { 1 } else { next + 1 };
            next
        };
        background.iter().map(|&is_background| value(is_background)).collect()
    }

    /// The value of the foreground's part `part`, counted from 0.
    pub fn of_part(&self, part: usize) -> u8 {
        self.objects + 1 + part as u8
    }

    /// The value of the background's part `part`, counted from 0.
    pub fn of_background_part(&self, part: usize) -> u8 {
        self.objects + self.parts + 1 + part as u8
    }

    /// The value of the object that a value is part of: its own without parts, 0 for background.
    pub fn object_of(&self, value: u8) -> u8 {
        match value {
            _ if value <= self.objects => value,
            _ if value <= self.objects + self.parts => 1,
            _ => 0,
        }
    }

    /// All values with their names, in order.
    pub fn named(&self) -> Vec<Label> {
        self.named_up_to(u16::from(self.objects + self.parts + self.background_parts))
    }

    /// The values up to `last` with their names, in order.
    pub fn named_up_to(&self, last: u16) -> Vec<Label> {
        let [objects, parts] = [self.objects, self.parts].map(u16::from);
        let label = |value: u16| {
            let (name, role) = match value {
                0 if self.of_regions => ("no data".to_string(), Role::Background),
                0 => ("background".to_string(), Role::Background),
                _ if self.of_regions => (format!("region {value}"), Role::Region),
                _ if value <= objects && objects == 1 => ("object".to_string(), Role::Object),
                _ if value <= objects => (format!("cluster {value}"), Role::Object),
                _ if value <= objects + parts => (format!("part {}", value - objects), Role::Part),
                _ => (format!("background part {}", value - objects - parts), Role::BackgroundPart),
            };
            Label { value, name, role }
        };
        (0..=last).map(label).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_disjoint_and_named() {
        // (clusters of foreground, parts, parts of background) → names in order
        let cases = [
            ((1, 0, 0), vec!["background", "object"]),
            ((2, 0, 1), vec!["background", "cluster 1", "cluster 2", "background part 1"]),
            ((3, 2, 2), vec!["background", "object", "part 1", "part 2", "background part 1", "background part 2"]),
            ((0, 0, 0), vec!["background"]),
        ];
        for ((clusters, parts, background_parts), names) in cases {
            let labels = Legend::new(clusters, parts, background_parts).unwrap();
            let named = labels.named();
            assert_eq!(named.iter().map(|label| label.name.as_str()).collect::<Vec<_>>(), names);
            assert!(named.iter().zip(0u16..).all(|(label, value)| label.value == value));
            for label in &named {
                assert_eq!(labels.object_of(label.value as u8) > 0, label.role.is_foreground(), "{label:?}");
            }
            (0..parts).for_each(|part| assert_eq!(named[usize::from(labels.of_part(part))].role, Role::Part));
            (0..background_parts).for_each(|part| {
                assert_eq!(named[usize::from(labels.of_background_part(part))].role, Role::BackgroundPart);
            });
        }
        let regions = Legend::regions(2).unwrap().named();
        assert_eq!(
            regions.iter().map(|label| label.name.as_str()).collect::<Vec<_>>(),
            ["no data", "region 1", "region 2"]
        );
        assert!(regions[1].role.is_foreground() && !regions[0].role.is_foreground());
        let numbered = Legend::numbered_regions();
        let names = |last: usize| numbered.named_up_to(last as u16)[last].name.clone();
        assert_eq!((numbered.named().len(), names(3), names(700)), (256, "region 3".into(), "region 700".into()));
        assert_eq!(Legend::new(200, 0, 56), None);
        assert!(Legend::new(200, 0, 55).is_some());
    }

    #[test]
    fn the_largest_share_is_that_of_the_most_probable_cluster() {
        let (background, probabilities) = ([true, false, true, false], [0.3, 0.1, 0.2, 0.4]);
        assert_eq!(Legend::new(2, 0, 0).unwrap().shares(&probabilities, &background), [0.3, 0.1, 0.4]);
        assert_eq!(Legend::new(2, 4, 0).unwrap().shares(&probabilities, &background), [0.3, 0.4]);
    }

    #[test]
    fn clusters_are_numbered_in_order_or_are_one() {
        let background = [true, false, true, false];
        assert_eq!(Legend::new(2, 0, 0).unwrap().of_clusters(&background), [0, 1, 0, 2]);
        assert_eq!(Legend::new(2, 4, 0).unwrap().of_clusters(&background), [0, 1, 0, 1]);
    }
}
