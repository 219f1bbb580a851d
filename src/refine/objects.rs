//! What a finished mask holds: objects with their boxes, masks and confidences, or none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::components::{Components, components_by, largest_bounds};
use crate::numerics::range::{InvalidSetting, within};
use crate::raster::{LabelMap, Mask, Raster, Rectangle, RunLengthMask, nearest_positions};

/// What counts as an object.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectsConfig {
    /// Tell objects apart. Else all foreground is one object.
    pub instances: bool,
    /// What one object is where they are told apart.
    pub split: Split,
    /// Where components are cut: cuts with a higher normalised-cut value are not made. In [0, 2]; 0 cuts strangers only, 1
    /// is the value of any cut where all affinities are equal.
    pub cut_threshold: f64,
    /// What the box of an image is around; every object has a box of its own besides.
    pub bounds: Bounds,
    /// Objects with less confidence are none, and their pixels become background. In [0, 1]; 0 keeps all.
    pub minimum_confidence: f64,
    /// Objects that cover less of the image are none either. In [0, 1]; 0 keeps all.
    pub minimum_area: f64,
}

/// How objects are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Every 4-connected component of the foreground is one.
    Components,
    /// Components are cut by their features too, recursively, as long as the normalised cut is below `cut_threshold`.
    /// Superpixels stay with components.
    #[default]
    Cut,
}

/// What the box of an image is around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bounds {
    /// The largest 4-connected component of the foreground, as TokenCut and others locate one object in an image: specks
    /// elsewhere do not stretch it.
    #[default]
    Largest,
    /// All foreground; the paper's.
    All,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        ObjectsConfig {
            instances: false,
            split: Split::default(),
            cut_threshold: 0.2,
            bounds: Bounds::default(),
            minimum_confidence: 0.0,
            minimum_area: 0.0,
        }
    }
}

/// What a decision says of its nodes, on their raster.
#[derive(Debug, Clone, Copy)]
pub struct CutNodes<'a> {
    /// Mask values.
    pub values: &'a Mask,
    /// The number of the object that each is part of, from 1 on.
    pub objects: &'a Raster<u32>,
    /// Fewest nodes of an object.
    pub least: usize,
}

/// A piece of a mask.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundObject {
    /// The mask value it is listed under.
    pub label: u16,
    pub bounding_box: Rectangle,
    pub area_px: u64,
    /// Mean probability over its pixels that they are what it is: foreground, or background for a part of that.
    pub confidence: f64,
    pub mask: RunLengthMask,
}

impl ObjectsConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("cut_threshold", self.cut_threshold, 0.0, 2.0)?;
        within("minimum_confidence", self.minimum_confidence, 0.0, 1.0)?;
        within("minimum_area", self.minimum_area, 0.0, 1.0)
    }

    /// Whether the features of nodes have a say in what an object is.
    pub fn cuts(&self) -> bool {
        self.instances && self.split == Split::Cut
    }

    /// The objects of a mask: its components, cut as the nodes are, or all foreground as one.
    ///
    /// A pixel of a component belongs to the object of its node, and where that is of another kind or of none, to the
    /// nearest object within the component. `object_of` maps a mask value to that of the object it is part of, 0 for
    /// background.
    ///
    /// # Shapes
    /// mask `[height, width]` → labels `[height, width]`
    pub fn find(&self, mask: &Mask, cut: Option<CutNodes>, object_of: impl Fn(u8) -> u8) -> Components {
        if !self.instances {
            let labels = mask.map(|value| u32::from(object_of(value) > 0));
            let area_px = labels.values.iter().filter(|&&label| label > 0).count();
            return Components { labels, areas_px: vec![area_px] };
        }
        let components = components_by(mask, &object_of);
        let Some(CutNodes { values, objects, least }) = cut else { return components };
        let node_px = mask.values.len() / values.values.len().max(1);
        let of_nodes = values.resized_nearest(mask.width, mask.height);
        let mut seeds = objects.resized_nearest(mask.width, mask.height);
        for ((seed, &of_node), &value) in seeds.values.iter_mut().zip(&of_nodes.values).zip(&mask.values) {
            if object_of(of_node) != object_of(value) {
                *seed = 0;
            }
        }
        components.divided(seeds, least * node_px)
    }

    /// Turns objects that are too unlikely or too small into background, in the mask and among the objects, and gives the
    /// confidence of what is left: the mean probability of foreground over the foreground's pixels; none without any.
    ///
    /// # Shapes
    /// mask `[height, width]`; `foreground`, the probability of foreground, a raster of any size over the same image
    pub fn decide(&self, mask: &mut Mask, objects: &mut Components, foreground: &Raster<f32>) -> Option<f64> {
        let Components { labels, areas_px } = objects;
        let sums = sums_over(labels, areas_px.len(), foreground);
        let least_px = self.minimum_area * (mask.width * mask.height) as f64;
        let kept: Vec<bool> = sums
            .iter()
            .zip(areas_px.iter())
            .map(|(&sum, &area_px)| {
                area_px > 0 && area_px as f64 >= least_px && sum / area_px as f64 >= self.minimum_confidence
            })
            .collect();
        for (value, label) in mask.values.iter_mut().zip(&mut labels.values) {
            if (*label as usize).checked_sub(1).is_some_and(|object| !kept[object]) {
                (*value, *label) = (0, 0);
            }
        }
        let of_kept = |total: &mut (f64, usize), object: usize| {
            *total = (total.0 + sums[object], total.1 + areas_px[object]);
        };
        let mut total = (0.0, 0);
        (0..kept.len()).filter(|&object| kept[object]).for_each(|object| of_kept(&mut total, object));
        (total.1 > 0).then(|| total.0 / total.1 as f64)
    }

    /// The box of an image, in its pixels; none where there is no foreground.
    pub fn bounds(&self, mask: &Mask, is_foreground: impl Fn(u8) -> bool) -> Option<Rectangle> {
        match self.bounds {
            Bounds::Largest => largest_bounds(mask, is_foreground),
            Bounds::All => Rectangle::bounding(mask, is_foreground),
        }
    }

    /// Lists what is in a mask after [`ObjectsConfig::decide`]: its objects in the order in which they first occur row by
    /// row, or, where objects are not told apart, one entry for every value in use, in order.
    ///
    /// # Shapes
    /// as for [`ObjectsConfig::decide`]
    pub fn list<V: Copy + Default + Into<u16>>(
        &self,
        mask: &Raster<V>,
        objects: Components,
        foreground: &Raster<f32>,
        object_of: impl Fn(V) -> V,
    ) -> Vec<FoundObject> {
        let (labels, names) = if self.instances {
            let Components { labels, areas_px } = objects;
            let mut names = vec![V::default(); areas_px.len()];
            for (&label, &value) in labels.values.iter().zip(&mask.values) {
                if let Some(object) = (label as usize).checked_sub(1) {
                    names[object] = object_of(value);
                }
            }
            (labels, names)
        } else {
            let index = |value: V| usize::from(value.into());
            let most = mask.values.iter().map(|&value| index(value)).max().unwrap_or(0);
            let mut used = vec![None; most + 1];
            mask.values.iter().for_each(|&value| used[index(value)] = Some(value));
            let names: Vec<V> = used.into_iter().skip(1).flatten().collect();
            let mut place = vec![0u32; most + 1];
            names.iter().zip(1..).for_each(|(&value, number)| place[index(value)] = number);
            (mask.map(|value| place[index(value)]), names)
        };
        let sums = sums_over(&labels, names.len(), foreground);
        let masks = RunLengthMask::encode_labels(&labels, names.len());
        let found = names.into_iter().zip(sums).zip(masks).filter_map(|((name, sum), mask)| {
            let area_px = mask.area_px();
            let mean = sum / area_px as f64;
            let confidence = if object_of(name).into() > 0 { mean } else { 1.0 - mean };
            Some(FoundObject { label: name.into(), bounding_box: mask.bounding()?, area_px, confidence, mask })
        });
        found.collect()
    }
}

/// The sum of `values` over the pixels of each label 1, 2, …, `count`; every pixel has the value of the position that
/// its centre falls into.
fn sums_over(labels: &LabelMap, count: usize, values: &Raster<f32>) -> Vec<f64> {
    let mut sums = vec![0.0; count];
    let columns = nearest_positions(labels.width, values.width);
    let rows = labels.values.chunks_exact(labels.width.max(1));
    for (row, source) in rows.zip(nearest_positions(labels.height, values.height)) {
        for (&label, &column) in row.iter().zip(&columns) {
            if let Some(object) = (label as usize).checked_sub(1) {
                sums[object] += f64::from(values.at(column, source));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 6;

    /// Two objects of one kind, one of another that touches the first, and a part of the background.
    #[rustfmt::skip]
    fn mask() -> Mask {
        Mask::from_values(WIDTH, 3, vec![
            1, 1, 0, 0, 1, 4,
            1, 2, 2, 0, 0, 4,
            0, 2, 2, 0, 0, 4,
        ])
    }

    /// Half the mask's width, a third of its height: likely on the left, unlikely on the right.
    fn foreground() -> Raster<f32> {
        Raster::from_values(3, 1, vec![0.75, 0.5, 0.25])
    }

    fn object_of(value: u8) -> u8 {
        if value <= 2 { value } else { 0 }
    }

    /// The mask after the decision, the confidence of what is left, and the objects.
    fn decided(config: ObjectsConfig, cut: Option<CutNodes>) -> (Mask, Option<f64>, Vec<FoundObject>) {
        let mut mask = mask();
        let mut objects = config.find(&mask, cut, object_of);
        let confidence = config.decide(&mut mask, &mut objects, &foreground());
        let found = config.list(&mask, objects, &foreground(), object_of);
        (mask, confidence, found)
    }

    fn rounded(objects: &[FoundObject]) -> Vec<(u16, [usize; 4], u64, f64)> {
        let rounded = |object: &FoundObject| {
            let Rectangle { x, y, width, height } = object.bounding_box;
            (object.label, [x, y, width, height], object.area_px, (object.confidence * 1000.0).round() / 1000.0)
        };
        objects.iter().map(rounded).collect()
    }

    #[test]
    fn instances_are_components_and_labels_are_not() {
        let config = ObjectsConfig { instances: true, ..Default::default() };
        // 3 pixels of value 1 at 0.75, 1 at 0.25, of value 2 two at 0.75 and two at 0.5.
        let (decided, confidence, found) = decided(config, None);
        assert_eq!((decided, confidence), (mask(), Some(5.0 / 8.0)));
        let expected = [(1, [0, 0, 2, 2], 3, 0.75), (1, [4, 0, 1, 1], 1, 0.25), (2, [1, 1, 2, 2], 4, 0.625)];
        assert_eq!(rounded(&found), expected);
        assert_eq!(found[2].mask, RunLengthMask::encode(&mask(), |value| value == 2));

        let (_, _, all) = self::decided(ObjectsConfig::default(), None);
        let expected = [(1, [0, 0, 5, 2], 4, 0.625), (2, [1, 1, 2, 2], 4, 0.625), (4, [5, 0, 1, 3], 3, 0.75)];
        assert_eq!(rounded(&all), expected);
    }

    #[test]
    fn components_are_cut_as_their_nodes_are() {
        let config = ObjectsConfig { instances: true, minimum_confidence: 0.6, ..Default::default() };
        // Two columns of the mask to a node. Its kind is that of value 2 but in the first node.
        let (values, objects) = (Mask::from_values(3, 1, vec![1, 2, 2]), Raster::from_values(3, 1, vec![1, 2, 3]));
        let (left, confidence, found) =
            decided(config, Some(CutNodes { values: &values, objects: &objects, least: 0 }));
        // The pixels of value 2 in the first node go to the second node's object, whose likelihood they lift.
        assert_eq!(rounded(&found), [(1, [0, 0, 2, 2], 3, 0.75), (2, [1, 1, 2, 2], 4, 0.625)]);
        assert_eq!((left.at(4, 0), confidence.map(|value| (value * 1e4).round())), (0, Some(6786.0)));
    }

    #[test]
    fn unlikely_and_small_objects_become_background() {
        // (settings, values that are left, confidence of what is left)
        let cases = [
            ((true, 0.3, 0.0), vec![1, 2], Some(0.6786)),
            ((true, 0.7, 0.0), vec![1], Some(0.75)),
            ((true, 0.9, 0.0), vec![], None),
            ((true, 0.0, 0.2), vec![2], Some(0.625)),
            ((false, 0.6, 0.0), vec![1, 2], Some(0.625)),
            ((false, 0.63, 0.0), vec![], None),
            ((false, 0.0, 0.5), vec![], None),
        ];
        for ((instances, minimum_confidence, minimum_area), left, confidence) in cases {
            let config = ObjectsConfig { instances, minimum_confidence, minimum_area, ..Default::default() };
            let (decided, confidence_left, _) = decided(config, None);
            assert_eq!(confidence_left.map(|value| (value * 1e4).round() / 1e4), confidence, "{config:?}");
            let values: std::collections::BTreeSet<u8> = decided.values.iter().copied().filter(|&v| v > 0).collect();
            let expected: Vec<u8> = left.into_iter().chain([4]).collect();
            assert_eq!(values.into_iter().collect::<Vec<_>>(), expected, "{config:?}");
        }
    }

    #[test]
    fn empty_masks_hold_nothing() {
        for (width, height) in [(0, 0), (3, 2)] {
            for instances in [false, true] {
                let config = ObjectsConfig { instances, ..Default::default() };
                let mut empty = Mask::filled(width, height, 0);
                let mut objects = config.find(&empty, None, object_of);
                assert_eq!(config.decide(&mut empty, &mut objects, &foreground()), None);
                assert!(config.list(&empty, objects, &foreground(), object_of).is_empty());
            }
        }
    }
}
