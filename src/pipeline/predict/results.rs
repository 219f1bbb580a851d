//! The files of a segmenting run: what an image leaves on disk, and how it is known to be done.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ListedObject, PredictRequest, Prediction};
use crate::config::Settings;
use crate::dataset::Record;
use crate::method::Segmentation;
use crate::output::{
    self, AnnotatedImage, AnnotatedObject, Category, CocoWriter, MaskReport, OutputConfig, SegmentedImage, SkippedFile,
    write_atomically,
};
use crate::pipeline::{PipelineError, portable, remove_outdated};
use crate::pixels::ImageContent;
use crate::raster::{Rectangle, RgbImage, RunLengthMask};
use crate::segment::{Label, Legend};

const MASKS: &str = "masks";
const OVERLAYS: &str = "overlays";
/// Where the probabilities of foreground go; `deepcut eval` reads them too.
pub const SALIENCY: &str = "saliency";
/// The folders below OUT that hold pictures.
pub const PICTURES: [&str; 3] = [MASKS, OVERLAYS, SALIENCY];
const YOLO: &str = "yolo";
const VOC: &str = "voc";
/// What the mask values mean; `deepcut eval` reads it too.
pub const LABELS: &str = "labels.json";
/// One line per image, written when all are through.
pub const TABLE: &str = "predictions.jsonl";
const COCO: &str = "coco.json";
const REPORT: &str = "report.html";

const PROVENANCE_KEYWORD: &str = "deepcut";
const OVERLAY_QUALITY: u8 = 90;

/// The text chunk that a finished mask carries: it proves from what and in which way the mask was made.
#[derive(Serialize, Deserialize)]
struct Provenance {
    origin: String,
    /// How the overlay beside it was drawn, if there is one.
    overlay: Option<OutputConfig>,
    prediction: Prediction,
}

/// What `labels.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct LabelTable {
    /// Identifies everything that the masks follow from besides their images.
    pub origin: String,
    pub labels: Vec<Label>,
}

/// Where results go and what they follow from.
pub struct Results<'a> {
    request: &'a PredictRequest,
    config: &'a Settings,
    /// How the images are segmented, for people.
    description: String,
    labels: Vec<Label>,
    categories: Vec<Category>,
    origin: String,
}

impl<'a> Results<'a> {
    pub fn new(
        request: &'a PredictRequest,
        config: &'a Settings,
        description: String,
        labels: Legend,
        origin: &serde_json::Value,
    ) -> Results<'a> {
        let origin = serde_json::json!([env!("CARGO_PKG_VERSION"), origin, config.refine, config.objects]);
        let labels = labels.named();
        let category = |label: &Label| Category {
            id: u32::from(label.value),
            name: label.name.clone(),
            supercategory: if label.role.is_foreground() { "foreground" } else { "background" }.to_string(),
        };
        Results {
            request,
            config,
            description,
            categories: labels.iter().filter(|label| label.value > 0).map(category).collect(),
            labels,
            origin: blake3::hash(origin.to_string().as_bytes()).to_hex().to_string(),
        }
    }

    /// Writes what does not depend on any image, and begins what collects all of them.
    pub fn begin(&self) -> Result<Collected<'_>, PipelineError> {
        let (out, save) = (&self.request.out, self.request.save);
        let (path, origin) = (out.join(LABELS), self.origin.clone());
        let before = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<LabelTable>(&bytes).ok());
        if before.is_none_or(|before| before.origin != origin) {
            // What describes a run of another origin would describe masks that this run replaces one by one.
            [TABLE, COCO, REPORT].iter().try_for_each(|name| remove_outdated(&out.join(name)))?;
        }
        let table = LabelTable { origin, labels: self.labels.clone() };
        let table = serde_json::to_string_pretty(&table).unwrap_or_default();
        write_atomically(&path, |writer| writeln!(writer, "{table}"))?;
        if save.yolo {
            let data = output::yolo_data(&self.categories, "images", "images");
            write_atomically(&out.join(YOLO).join("data.yaml"), |writer| writer.write_all(data.as_bytes()))?;
        }
        let coco = save.coco.then(|| CocoWriter::create(&out.join(COCO), &self.categories)).transpose()?;
        let report = save.report.then(|| MaskReport::new(&self.request.data.display().to_string(), &self.description));
        Ok(Collected { coco, report, results: self })
    }

    /// The prediction of an earlier run of the same origin on the same bytes, if all its results are there.
    pub fn finished(&self, record: &Record, content_hash: &str) -> Option<Prediction> {
        let save = self.request.save;
        let missing = self.beside_mask(record).iter().any(|(wanted, path)| *wanted && !path.exists());
        if self.request.overwrite || !save.masks || missing {
            return None;
        }
        let Provenance { overlay, prediction, .. } = self.own_mask(record, content_hash)?;
        let listed = prediction.result.as_ref().is_some_and(|measures| measures.objects.is_some());
        let complete =
            (!save.annotations() || listed) && (!save.overlays || overlay.as_ref() == Some(&self.config.output));
        // The same image may have been moved within the collection.
        complete.then(|| Prediction { path: portable(&record.relative), ..prediction })
    }

    /// What the mask of an image says of itself, if it was made from these bytes in this run's way.
    fn own_mask(&self, record: &Record, content_hash: &str) -> Option<Provenance> {
        let text = output::read_png_text(&self.mask_path(record), PROVENANCE_KEYWORD).ok()??;
        let found: Provenance = serde_json::from_str(&text).ok()?;
        let same = found.origin == self.origin && found.prediction.content_hash.as_deref() == Some(content_hash);
        same.then_some(found)
    }

    /// The files of an image besides its mask, and whether they are wanted.
    fn beside_mask(&self, record: &Record) -> [(bool, PathBuf); 4] {
        let save = self.request.save;
        [
            (save.overlays, self.overlay_path(record)),
            (save.saliency, self.saliency_path(record)),
            (save.yolo, self.yolo_path(record)),
            (save.voc, self.voc_path(record)),
        ]
    }

    /// Draws and encodes everything of one image.
    pub fn draw(
        &self,
        record: &Record,
        image: &RgbImage,
        found: &Segmentation,
        prediction: &Prediction,
    ) -> Result<Drawn, PipelineError> {
        let encoding = |error: output::EncodeError| {
            PipelineError::InputOutput(format!("cannot draw {}: {error}", record.path.display()))
        };
        let save = self.request.save;
        let own = self.own_mask(record, prediction.content_hash.as_deref().unwrap_or_default());
        let mut drawn = Drawn { replaces: own.is_none(), files: Vec::new() };
        if save.overlays {
            let overlay = output::overlay(image, &found.mask, self.config.output.overlay_side_px);
            let bytes = output::encode_jpeg(&overlay, OVERLAY_QUALITY).map_err(encoding)?;
            drawn.files.push((self.overlay_path(record), bytes));
        }
        if save.saliency {
            let grey = found.saliency.map(|probability| (255.0 * probability).round() as u8);
            let bytes = output::encode_grey_png(&grey.resized_nearest(image.width, image.height)).map_err(encoding)?;
            drawn.files.push((self.saliency_path(record), bytes));
        }
        if save.yolo || save.voc {
            let annotated = annotated(prediction, &self.request.out)?;
            if save.yolo {
                drawn.files.push((self.yolo_path(record), output::yolo_labels(&annotated).into()));
            }
            if save.voc {
                let text = output::voc_annotation(&annotated, &self.categories);
                drawn.files.push((self.voc_path(record), text.into()));
            }
        }
        if save.masks {
            let overlay =
                if save.overlays { Some(self.config.output.clone()) } else { own.and_then(|own| own.overlay) };
            let provenance = Provenance { origin: self.origin.clone(), overlay, prediction: prediction.clone() };
            let text = serde_json::to_string(&provenance).unwrap_or_default();
            let bytes = output::encode_indexed_png(&found.mask, &[(PROVENANCE_KEYWORD, &text)]).map_err(encoding)?;
            drawn.files.push((self.mask_path(record), bytes));
        }
        Ok(drawn)
    }

    /// Writes what was drawn of one image, the mask last: a finished mask means that everything is there.
    pub fn write(&self, record: &Record, drawn: &Drawn) -> Result<(), PipelineError> {
        if drawn.replaces {
            // First the old mask, so that nothing half done looks finished, then what would lie beside the new one.
            remove_outdated(&self.mask_path(record))?;
            self.beside_mask(record).iter().try_for_each(|(_, path)| remove_outdated(path))?;
        }
        for (path, bytes) in &drawn.files {
            write_atomically(path, |writer| writer.write_all(bytes))?;
        }
        Ok(())
    }

    /// A small overlay from the image and its mask on disk; none where they cannot be read.
    fn thumbnail(&self, prediction: &Prediction, source: &Path) -> Option<Vec<u8>> {
        let mask = self.request.out.join(MASKS).join(Path::new(&prediction.path).with_extension("png"));
        let image = ImageContent::read(source, &self.config.pixels).ok()?.decode(&self.config.pixels).ok()?;
        let picture = output::overlay(&image, &output::read_mask(&mask).ok()?, output::THUMBNAIL_SIDE_PX);
        output::thumbnail(&picture, output::THUMBNAIL_SIDE_PX).ok()
    }

    fn mask_path(&self, record: &Record) -> PathBuf {
        self.request.out.join(MASKS).join(record.output_name())
    }

    fn overlay_path(&self, record: &Record) -> PathBuf {
        self.request.out.join(OVERLAYS).join(record.output_name().with_extension("jpg"))
    }

    fn saliency_path(&self, record: &Record) -> PathBuf {
        self.request.out.join(SALIENCY).join(record.output_name())
    }

    /// Where trainers look for it: beside a folder `images`, under the same name.
    fn yolo_path(&self, record: &Record) -> PathBuf {
        self.request.out.join(YOLO).join("labels").join(record.output_name().with_extension("txt"))
    }

    fn voc_path(&self, record: &Record) -> PathBuf {
        self.request.out.join(VOC).join(record.output_name().with_extension("xml"))
    }
}

/// The files of one image, ready to be written in their order.
pub struct Drawn {
    /// Whether what is there is of another run or another image.
    replaces: bool,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Files that hold all images of a run.
pub struct Collected<'a> {
    coco: Option<CocoWriter>,
    report: Option<MaskReport>,
    results: &'a Results<'a>,
}

impl Collected<'_> {
    /// Adds an image, whose file is `source`.
    pub fn push(&mut self, prediction: &Prediction, source: &Path) -> Result<(), PipelineError> {
        let results = self.results;
        let Some(measures) = &prediction.result else {
            if let Some(report) = &mut self.report {
                let reason = prediction.reason.as_deref().unwrap_or_default();
                report.push_skipped(&SkippedFile { path: &prediction.path, reason });
            }
            return Ok(());
        };
        if let Some(coco) = &mut self.coco {
            coco.push(&annotated(prediction, &results.request.out)?)?;
        }
        if let Some(report) = &mut self.report {
            let area_px = (measures.width * measures.height).max(1);
            let image = SegmentedImage {
                path: &prediction.path,
                confidence: measures.confidence,
                foreground_share: measures.foreground_area_px as f64 / area_px as f64,
            };
            report.push(&image, || results.thumbnail(prediction, source));
        }
        Ok(())
    }

    /// Writes what holds all images.
    pub fn finish(self) -> Result<(), PipelineError> {
        if let Some(coco) = self.coco {
            coco.finish()?;
        }
        if let Some(report) = self.report {
            let page = report.finish();
            write_atomically(&self.results.request.out.join(REPORT), |writer| writer.write_all(page.as_bytes()))?;
        }
        Ok(())
    }
}

/// A prediction as annotation writers take it.
fn annotated(prediction: &Prediction, out: &Path) -> Result<AnnotatedImage, PipelineError> {
    let object = |listed: &ListedObject| {
        let [height, width] = listed.segmentation.size;
        let mask = RunLengthMask::from_compressed(width, height, &listed.segmentation.counts)?;
        let [x, y, width, height] = listed.bounding_box;
        Ok(AnnotatedObject {
            category: u32::from(listed.label),
            bounding_box: Rectangle { x, y, width, height },
            area_px: listed.area_px,
            score: Some(listed.confidence),
            mask,
        })
    };
    let measures = prediction.result.as_ref();
    let objects = measures.and_then(|measures| measures.objects.as_deref()).unwrap_or_default();
    let objects =
        objects.iter().map(object).collect::<Result<_, crate::raster::RunLengthError>>().map_err(|error| {
            PipelineError::Untrusted(format!(
                "the mask of {} in {} lists a broken object ({error}); remove it and repeat the command",
                prediction.path,
                out.join(MASKS).display()
            ))
        })?;
    Ok(AnnotatedImage {
        path: prediction.path.clone(),
        width: measures.map_or(0, |measures| measures.width),
        height: measures.map_or(0, |measures| measures.height),
        objects,
    })
}
