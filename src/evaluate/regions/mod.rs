//! Whole segmentations against several people's: the BSDS500 protocol.

mod measures;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::table::{Table, some_of};
use super::{Compared, EvaluateError, Notes, Pair, Run, Size, in_size, predictions, read_map, wrong_kind};
use crate::dataset::truth;
use crate::event::counted;
use crate::metrics::{Annotations, BoundaryCounts, RegionScores};
use crate::pixels::QuarterTurn;
use measures::{BOUNDARY, BoundaryMeasure, MEASURES, Measure, ORACLE};

/// What of regions is scored besides the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegionOptions {
    /// Also the best that could be said with the predicted segments.
    pub oracle: bool,
    /// Every image has several segmentations, `ID_k` at the scale k, and is scored at the best one for all images and for itself.
    pub scales: bool,
}

/// The predicted maps of an image by scale.
type Scales = BTreeMap<u32, PathBuf>;

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let path = run.truth();
    let expected = "a folder of region maps ID_k.png, one per annotator k";
    if !path.is_dir() {
        return Err(wrong_kind(path, expected));
    }
    let truth = truth::region_maps(path)?;
    if truth.images.is_empty() {
        return Err(wrong_kind(path, expected));
    }
    run.tell_of_truth(truth.remarks, truth.left_out);
    let RegionOptions { oracle, scales: has_scales } = run.request.regions;
    let measures: Vec<&Measure> = MEASURES.iter().chain(ORACLE.iter().filter(|_| oracle)).collect();
    let segmentations = segmentations(run)?;
    let scales: BTreeSet<u32> = segmentations.iter().flat_map(|(_, maps)| maps.keys().copied()).collect();
    let pairs = run.matched(segmentations, truth.images)?;

    let mut header = vec!["image", "iou", "accuracy", "segments", "annotators"];
    header.extend(measures[2..].iter().map(|measure| measure.column));
    header.extend(BOUNDARY.map(|measure| measure.names[0]));
    header.extend(has_scales.then_some("scale"));
    let mut table = Table::new(&header);
    let mut at_scales: BTreeMap<u32, Tally> = BTreeMap::new();
    let mut at_own_scales = Tally::default();
    let turn = run.turns();
    run.compare(
        &pairs,
        |pair| score(pair, &scales, &turn),
        |pair, of_scales| {
            for (&scale, scores) in scales.iter().zip(&of_scales) {
                let values: Vec<f64> = measures.iter().map(|measure| (measure.of)(scores)).collect();
                let counts = [scores.segment_count, pair.truth.content.len()].map(|count| count as f64);
                let mut row = [&values[..2], &counts, &values[2..]].concat();
                row.extend(BOUNDARY.map(|measure| (measure.of)(&scores.boundary)));
                row.extend(has_scales.then_some(f64::from(scale)));
                table.push(&pair.key, &row.into_iter().map(Some).collect::<Vec<_>>());
                at_scales.entry(scale).or_default().add(&values, scores.boundary);
            }
            let own = |measure: &&Measure| {
                let values = of_scales.iter().map(measure.of);
                values.reduce(|best, value| if measure.is_better(value, best) { value } else { best })
            };
            let values: Option<Vec<f64>> = measures.iter().map(own).collect();
            let boundaries = of_scales.iter().map(|scores| scores.boundary);
            let boundary = boundaries.reduce(|best, own| if own.f_measure() > best.f_measure() { own } else { best });
            if let Some((values, boundary)) = values.zip(boundary) {
                at_own_scales.add(&values, boundary);
            }
            Ok(())
        },
    )?;
    if has_scales {
        report_scales(run, &measures, &at_scales, &at_own_scales);
    } else {
        report(run, &measures, &at_own_scales);
    }
    Ok(table)
}

/// The predicted maps of every image; the only one has scale 0.
fn segmentations(run: &mut Run) -> Result<Vec<(String, Scales)>, EvaluateError> {
    let masks = predictions::masks(run)?;
    if !run.request.regions.scales {
        return Ok(masks.into_iter().map(|(key, path)| (key, BTreeMap::from([(0, path)]))).collect());
    }
    let mut images: BTreeMap<String, Scales> = BTreeMap::new();
    let mut unnumbered = Vec::new();
    for (key, path) in masks {
        match truth::numbered_key(&key) {
            Some((image, scale)) => {
                images.entry(image.to_string()).or_default().insert(scale, path);
            }
            None => unnumbered.push(key),
        }
    }
    if images.is_empty() {
        return Err(EvaluateError::NoScale { folder: run.request.predictions.clone() });
    }
    if !unnumbered.is_empty() {
        let count = counted(unnumbered.len() as u64, "prediction");
        let names = some_of(&unnumbered);
        run.summary.remarks.push(format!("{count} left out, whose names do not end in _ and a scale: {names}"));
    }
    Ok(images.into_iter().collect())
}

/// The scores of one image at every scale, in their order.
fn score(
    pair: &Pair<Scales, Vec<PathBuf>>,
    scales: &BTreeSet<u32>,
    turn: impl Fn(&str, Size, Size) -> Result<Option<QuarterTurn>, EvaluateError>,
) -> Result<Compared<Vec<RegionScores>>, EvaluateError> {
    if let Some(&scale) = scales.iter().find(|scale| !pair.prediction.contains_key(scale)) {
        return Err(EvaluateError::ScaleMissing { scale });
    }
    let mut annotations = pair.truth.content.iter().map(|path| read_map(path)).collect::<Result<Vec<_>, _>>()?;
    // There is at least one: images come from the names of their annotations.
    let drawn = annotations.first().map_or((0, 0), |first| (first.width, first.height));
    if let Some(index) = annotations.iter().position(|map| (map.width, map.height) != drawn) {
        let (path, first) = (pair.truth.content[index].clone(), pair.truth.content[0].clone());
        return Err(EvaluateError::AnnotationsDiffer { path, first });
    }
    let paths = || pair.prediction.values();
    let predictions = paths().map(|path| read_map(path)).collect::<Result<Vec<_>, _>>()?;
    let (mut width, mut height) = drawn;
    let mut notes = Notes { empty: true, ..Notes::default() };
    for (index, prediction) in predictions.iter().enumerate() {
        let size = (prediction.width, prediction.height);
        let turn = turn(&pair.key, drawn, size)?;
        if index == 0
            && let Some(turn) = turn
        {
            notes.turned = true;
            (width, height) = (height, width);
            annotations = annotations.into_iter().map(|map| turn.upright(map)).collect();
        } else if turn.is_some() != notes.turned {
            return Err(EvaluateError::OtherShape { truth: (width, height), prediction: size });
        }
    }
    let annotations = Annotations::of(&annotations);
    let mut result = Vec::new();
    for (path, prediction) in paths().zip(predictions) {
        let (prediction, resized) = in_size(prediction, width, height);
        notes.resized |= resized;
        notes.empty &= prediction.values.iter().all(|&value| value == 0);
        result.push(annotations.score(&prediction).map_err(EvaluateError::incomparable(path))?);
    }
    Ok(Compared { result, notes })
}

/// What the images add up to.
#[derive(Default)]
struct Tally {
    images: usize,
    /// Of every measure.
    sums: Vec<f64>,
    boundary: BoundaryCounts,
}

impl Tally {
    fn add(&mut self, values: &[f64], boundary: BoundaryCounts) {
        self.images += 1;
        self.sums.resize(values.len(), 0.0);
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        self.boundary.add(boundary);
    }

    /// The mean of the measure with this index, none without images.
    fn mean(&self, index: usize) -> Option<f64> {
        self.sums.get(index).map(|sum| sum / self.images as f64)
    }
}

/// The scores of one segmentation per image.
fn report(run: &mut Run, measures: &[&Measure], tally: &Tally) {
    for (index, measure) in measures.iter().enumerate() {
        measure.report(run, 0, tally.mean(index), "");
    }
    for BoundaryMeasure { names, of, definition } in BOUNDARY {
        run.score(names[0], Some(of(&tally.boundary)), definition);
    }
}

/// The scores at the best scale for all images, and at the best one for each.
fn report_scales(run: &mut Run, measures: &[&Measure], at_scales: &BTreeMap<u32, Tally>, at_own_scales: &Tally) {
    const OWN: &str = ", each at its own best scale";
    let for_all = |scale: u32| format!(", all at the best scale for all, k = {scale}");
    for (index, measure) in measures.iter().enumerate() {
        let scores = at_scales.iter().filter_map(|(&scale, tally)| Some((scale, tally.mean(index)?)));
        if let Some((scale, score)) =
            scores.reduce(|best, own| if measure.is_better(own.1, best.1) { own } else { best })
        {
            measure.report(run, 1, Some(score), &for_all(scale));
        }
        measure.report(run, 2, at_own_scales.mean(index), OWN);
    }
    let counts = at_scales.iter().map(|(&scale, tally)| (scale, tally.boundary));
    let best = counts.reduce(|best, own| if own.1.f_measure() > best.1.f_measure() { own } else { best });
    for BoundaryMeasure { names, of, definition } in BOUNDARY {
        if let Some((scale, counts)) = best {
            run.score(names[1], Some(of(&counts)), format!("{definition}; images{} by F", for_all(scale)));
        }
        run.score(names[2], Some(of(&at_own_scales.boundary)), format!("{definition}; images{OWN} by F"));
    }
}
