//! Writing results: what an image leaves on disk, and how it is known to be done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::folder::LabelTable;
use super::{ListedObject, Prediction, ResultsError, ResultsFolder, SaveKinds};
use crate::dataset::Record;
use crate::method::Segmentation;
use crate::output::{
    self, AnnotatedImage, AnnotatedObject, Category, CocoWriter, JsonLines, OutputConfig, remove_outdated,
    write_atomically,
};
use crate::raster::{Rectangle, RgbImage};
use crate::segment::{Label, Legend};

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

/// What lies at an image's place when its turn comes.
pub enum Earlier {
    /// All that is wanted, of the same origin and made from the same bytes.
    Finished(Box<Prediction>),
    /// A mask of the same origin and bytes, and how the overlay beside it was drawn, if there is one; something is
    /// missing or has to be done again.
    Own(Option<OutputConfig>),
    /// Nothing, or what another run or another image has left.
    Foreign,
}

/// Where results go and what they follow from.
pub struct Results {
    folder: ResultsFolder,
    save: SaveKinds,
    overwrite: bool,
    config: OutputConfig,
    labels: Vec<Label>,
    categories: Vec<Category>,
    origin: String,
}

impl Results {
    /// `origin` is everything that masks follow from besides their images; with `overwrite` nothing counts as done.
    pub fn new(
        folder: ResultsFolder,
        save: SaveKinds,
        overwrite: bool,
        config: OutputConfig,
        legend: Legend,
        origin: &serde_json::Value,
    ) -> Results {
        let labels = legend.named();
        let category = |label: &Label| Category {
            id: u32::from(label.value),
            name: label.name.clone(),
            supercategory: if label.role.is_foreground() { "foreground" } else { "background" }.to_string(),
        };
        Results {
            folder,
            save,
            overwrite,
            config,
            categories: labels.iter().filter(|label| label.value > 0).map(category).collect(),
            labels,
            origin: blake3::hash(origin.to_string().as_bytes()).to_hex().to_string(),
        }
    }

    pub fn folder(&self) -> &ResultsFolder {
        &self.folder
    }

    /// Writes what does not depend on any image, and begins what collects all of them.
    pub fn begin(&self) -> Result<Collected<'_>, ResultsError> {
        let folder = &self.folder;
        let table = JsonLines::create(&folder.table())?;
        let before = folder.read_label_table().ok().flatten();
        if before.is_none_or(|before| before.origin != self.origin) {
            // What describes a run of another origin would describe masks that this run replaces one by one.
            [folder.table(), folder.coco(), folder.report()].iter().try_for_each(|path| remove_outdated(path))?;
        }
        let labels = LabelTable { origin: self.origin.clone(), labels: self.labels.clone() };
        let labels = serde_json::to_string_pretty(&labels).unwrap_or_default();
        write_atomically(&folder.labels(), |writer| writeln!(writer, "{labels}"))?;
        if self.save.yolo {
            let data = output::yolo_data(&self.categories, "images", "images");
            write_atomically(&folder.yolo_data(), |writer| writer.write_all(data.as_bytes()))?;
        }
        let coco = self.save.coco.then(|| CocoWriter::create(&folder.coco(), &self.categories)).transpose()?;
        Ok(Collected { table, coco, folder })
    }

    /// What is there of an image whose file has the blake3 `content_hash`.
    pub fn earlier(&self, record: &Record, content_hash: &str) -> Earlier {
        let Some(Provenance { overlay, prediction, .. }) = self.own_mask(record, content_hash) else {
            return Earlier::Foreign;
        };
        let save = self.save;
        let missing = self.beside_mask(record).iter().any(|(wanted, path)| *wanted && !path.exists());
        let listed = prediction.result.as_ref().is_some_and(|measures| measures.objects.is_some());
        if self.overwrite
            || !save.masks
            || missing
            || (save.annotations() && !listed)
            || (save.overlays && overlay.as_ref() != Some(&self.config))
        {
            return Earlier::Own(overlay);
        }
        // The same image may have been moved within the collection.
        Earlier::Finished(Box::new(prediction.of(record)))
    }

    /// What the mask of an image says of itself, if it was made from these bytes in this run's way.
    fn own_mask(&self, record: &Record, content_hash: &str) -> Option<Provenance> {
        let text = output::read_png_text(&self.folder.mask(&record.output), PROVENANCE_KEYWORD).ok()??;
        let found: Provenance = serde_json::from_str(&text).ok()?;
        let same = found.origin == self.origin && found.prediction.content_hash.as_deref() == Some(content_hash);
        same.then_some(found)
    }

    /// The files of an image besides its mask, and whether they are wanted.
    fn beside_mask(&self, record: &Record) -> [(bool, PathBuf); 4] {
        let (folder, save, output) = (&self.folder, self.save, &record.output);
        [
            (save.overlays, folder.overlay(output)),
            (save.saliency, folder.saliency(output)),
            (save.yolo, folder.yolo(output)),
            (save.voc, folder.voc(output)),
        ]
    }

    /// Draws and encodes everything of one image, at whose place `earlier` was found.
    pub fn draw(
        &self,
        record: &Record,
        image: &RgbImage,
        found: &Segmentation,
        prediction: &Prediction,
        earlier: &Earlier,
    ) -> Result<Drawn, ResultsError> {
        let encoding = |source| ResultsError::Draw { image: record.path.clone(), source };
        let (folder, save, place) = (&self.folder, self.save, &record.output);
        let mut drawn = Drawn { replaces: matches!(earlier, Earlier::Foreign), files: Vec::new() };
        if save.overlays {
            let overlay = output::overlay(image, &found.mask, self.config.overlay_side_px);
            let bytes = output::encode_jpeg(&overlay, OVERLAY_QUALITY).map_err(encoding)?;
            drawn.files.push((folder.overlay(place), bytes));
        }
        if save.saliency {
            let grey = found.saliency.map(|probability| (255.0 * probability).round() as u8);
            let bytes = output::encode_grey_png(&grey.resized_nearest(image.width, image.height)).map_err(encoding)?;
            drawn.files.push((folder.saliency(place), bytes));
        }
        if save.yolo || save.voc {
            let annotated = annotated(prediction, folder)?;
            if save.yolo {
                drawn.files.push((folder.yolo(place), output::yolo_labels(&annotated).into()));
            }
            if save.voc {
                let text = output::voc_annotation(&annotated, &self.categories);
                drawn.files.push((folder.voc(place), text.into()));
            }
        }
        if save.masks {
            let overlay = match earlier {
                _ if save.overlays => Some(self.config.clone()),
                Earlier::Own(overlay) => overlay.clone(),
                Earlier::Finished(_) | Earlier::Foreign => None,
            };
            let provenance = Provenance { origin: self.origin.clone(), overlay, prediction: prediction.clone() };
            let text = serde_json::to_string(&provenance).unwrap_or_default();
            let bytes = output::encode_indexed_png(&found.mask, &[(PROVENANCE_KEYWORD, &text)]).map_err(encoding)?;
            drawn.files.push((folder.mask(place), bytes));
        }
        Ok(drawn)
    }

    /// Writes what was drawn of one image, the mask last: a finished mask means that everything is there.
    pub fn write(&self, record: &Record, drawn: &Drawn) -> Result<(), ResultsError> {
        if drawn.replaces {
            // First the old mask, so that nothing half done looks finished, then what would lie beside the new one.
            remove_outdated(&self.folder.mask(&record.output))?;
            self.beside_mask(record).iter().try_for_each(|(_, path)| remove_outdated(path))?;
        }
        for (path, bytes) in &drawn.files {
            write_atomically(path, |writer| writer.write_all(bytes))?;
        }
        Ok(())
    }
}

/// The files of one image, ready to be written in their order.
pub struct Drawn {
    /// Whether what is there is of another run or another image.
    replaces: bool,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Files that hold all images of a run; dropped before [`Collected::finish`] they leave nothing behind.
pub struct Collected<'a> {
    table: JsonLines,
    coco: Option<CocoWriter>,
    folder: &'a ResultsFolder,
}

impl Collected<'_> {
    /// Adds an image.
    pub fn push(&mut self, prediction: &Prediction) -> Result<(), ResultsError> {
        self.table.push(prediction)?;
        if let (Some(coco), Some(_)) = (&mut self.coco, &prediction.result) {
            coco.push(&annotated(prediction, self.folder)?)?;
        }
        Ok(())
    }

    /// Writes what holds all images, the table last.
    pub fn finish(self) -> Result<(), ResultsError> {
        if let Some(coco) = self.coco {
            coco.finish()?;
        }
        Ok(self.table.finish()?)
    }
}

/// A prediction as annotation writers take it.
fn annotated(prediction: &Prediction, folder: &ResultsFolder) -> Result<AnnotatedImage, ResultsError> {
    let object = |listed: &ListedObject| {
        let [x, y, width, height] = listed.bounding_box;
        Ok(AnnotatedObject {
            category: u32::from(listed.label),
            bounding_box: Rectangle { x, y, width, height },
            area_px: listed.area_px,
            score: Some(listed.confidence),
            mask: listed.segmentation.decode()?,
        })
    };
    let measures = prediction.result.as_ref();
    let objects = measures.and_then(|measures| measures.objects.as_deref()).unwrap_or_default();
    let objects = objects.iter().map(object).collect::<Result<_, _>>().map_err(|source| {
        ResultsError::BrokenObject { image: prediction.path.clone(), masks: folder.masks_folder(), source }
    })?;
    Ok(AnnotatedImage {
        path: prediction.path.clone(),
        width: measures.map_or(0, |measures| measures.width),
        height: measures.map_or(0, |measures| measures.height),
        objects,
    })
}
