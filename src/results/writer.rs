//! Writing results: what an image leaves on disk, and how it is known to be done.

#[cfg(feature = "parquet")]
mod row;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::LabelTable;
use super::kind::{ImageFile, yolo_checksum};
use super::{ListedObject, Prediction, ResultsError, ResultsFolder, SaveKinds};
use crate::dataset::Record;
use crate::files;
use crate::manifest::Made;
use crate::method::Segmentation;
use crate::output::{
    self, AnnotatedImage, AnnotatedObject, Category, CocoWriter, FileState, JsonLines, OutputConfig, OutputFolder,
    Sealed,
};
use crate::raster::{Rectangle, RgbImage};
use crate::segment::{Label, Legend};

const PROVENANCE_KEYWORD: &str = "deepcut";
const OVERLAY_QUALITY: u8 = 90;

/// What of numbered regions no list of values tells.
const NUMBERED: &str = "the regions of every image are numbered by themselves; where they are more than 255, the mask has 16 bits, \
                        and higher values are regions, too";

/// The text chunk that a finished mask carries: it proves from what and in which way the mask was made.
#[derive(Serialize, Deserialize)]
pub(super) struct Provenance {
    origin: String,
    /// How the overlay beside it was drawn, if there is one.
    overlay: Option<OutputConfig>,
    /// The checksum of the YOLO labels beside it, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yolo: Option<String>,
    prediction: Prediction,
}

/// What lies at an image's place when its turn comes.
pub enum Earlier {
    /// All that is wanted, intact, of the same origin and made from the same bytes.
    Finished(Box<Prediction>),
    /// A mask of the same origin and bytes, and what it says of what lies beside it; something is missing or damaged or
    /// has to be done again.
    Own { overlay: Option<OutputConfig>, yolo: Option<String> },
    /// Nothing, or what another run or another image has left.
    Foreign,
    /// This file would be replaced, and somebody has changed it.
    Changed(PathBuf),
}

/// Where results go and what they follow from.
pub struct Results {
    out: OutputFolder,
    folder: ResultsFolder,
    save: SaveKinds,
    overwrite: bool,
    config: OutputConfig,
    labels: Vec<Label>,
    /// Values say nothing but that a region of an image is not another one.
    is_numbered: bool,
    categories: Vec<Category>,
    origin: String,
}

impl Results {
    /// Results in a folder that was opened with [`ResultsFolder::claims`] for `save`. `origin` is everything that masks follow
    /// from besides their images; with `overwrite` nothing counts as done.
    pub fn new(
        out: OutputFolder,
        save: SaveKinds,
        overwrite: bool,
        config: OutputConfig,
        legend: Legend,
        origin: &serde_json::Value,
    ) -> Results {
        let origin = blake3::hash(origin.to_string().as_bytes()).to_hex().to_string();
        Results::labelled(out, save, overwrite, config, legend.named(), legend.is_numbered(), origin)
    }

    /// The same as those of the run that wrote `of`, of which labels and origin are taken.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn like(
        of: &ResultsFolder,
        out: OutputFolder,
        save: SaveKinds,
        config: OutputConfig,
    ) -> Result<Results, ResultsError> {
        let missing = || ResultsError::Unreadable { path: of.labels(), source: io::ErrorKind::NotFound.into() };
        let LabelTable { origin, labels, remark } = of.read_label_table()?.ok_or_else(missing)?;
        Ok(Results::labelled(out, save, false, config, labels, remark.is_some(), origin))
    }

    fn labelled(
        out: OutputFolder,
        save: SaveKinds,
        overwrite: bool,
        config: OutputConfig,
        labels: Vec<Label>,
        is_numbered: bool,
        origin: String,
    ) -> Results {
        let category = |label: &Label| Category {
            id: u32::from(label.value),
            name: label.name.clone(),
            supercategory: if label.role.is_foreground() { "foreground" } else { "background" }.to_string(),
        };
        let categories = match is_numbered {
            true => vec![Category { id: 1, name: "region".to_string(), supercategory: "foreground".to_string() }],
            false => labels.iter().filter(|label| label.value > 0).map(category).collect(),
        };
        let folder = ResultsFolder::new(out.root());
        Results { out, folder, save, overwrite, config, labels, is_numbered, categories, origin }
    }

    /// blake3 of everything that masks follow from besides their images.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub fn folder(&self) -> &ResultsFolder {
        &self.folder
    }

    /// Whether masks divide whole images into regions.
    pub fn is_of_regions(&self) -> bool {
        self.labels.iter().any(|label| label.role.is_region())
    }

    pub fn out(&self) -> &OutputFolder {
        &self.out
    }

    /// Whether results of earlier runs can lie where those of this run go.
    pub fn is_begun(&self) -> bool {
        let folders = ResultsFolder::claims(self.save).into_iter().filter(|claim| claim.made == Made::Folder);
        let mut entries = folders.filter_map(|claim| std::fs::read_dir(self.out.root().join(claim.name)).ok());
        entries.any(|mut entries| entries.next().is_some())
    }

    /// A file that this run would replace and that is not from a run, as far as a short look can tell.
    pub fn foreign_in_the_way(&self, record: &Record) -> Result<Option<PathBuf>, ResultsError> {
        for kind in ImageFile::ALL.into_iter().filter(|kind| kind.is_saved(self.save)) {
            let path = kind.path(&self.folder, &record.output);
            let look = || -> io::Result<bool> {
                match path.symlink_metadata() {
                    Ok(metadata) if metadata.is_file() && kind.sealed().is_some() && Sealed::is_marked(&path)? => {
                        Ok(false)
                    }
                    Ok(_) => Ok(kind.state(&self.folder, &record.output)? == FileState::Changed),
                    Err(error) if files::says_absent(&error) => Ok(false),
                    Err(error) => Err(error),
                }
            };
            if look().map_err(|source| ResultsError::Unreadable { path: path.clone(), source })? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Writes what does not depend on any image, and begins what collects all of them.
    pub fn begin(&self) -> Result<Collected<'_>, ResultsError> {
        let Results { folder, out, .. } = self;
        let table = JsonLines::create(out, &folder.table())?;
        let before = folder.read_label_table().ok().flatten();
        if before.is_none_or(|before| before.origin != self.origin) {
            // What describes a run of another origin would describe masks that this run replaces one by one. Those that
            // somebody has changed since are somebody's.
            out.set_images(None)?;
            for name in ResultsFolder::descriptions() {
                out.remove_outdated(name)?;
            }
        }
        let labels = LabelTable {
            origin: self.origin.clone(),
            labels: self.labels.clone(),
            remark: self.is_numbered.then(|| NUMBERED.to_string()),
        };
        let labels = serde_json::to_string_pretty(&labels).unwrap_or_default();
        out.write(&folder.labels(), |writer| writeln!(writer, "{labels}"))?;
        if self.save.yolo {
            let data = output::yolo_data(&self.categories, "images", "images");
            out.write(&folder.yolo_data(), |writer| writer.write_all(data.as_bytes()))?;
        }
        let coco = self.save.coco.then(|| CocoWriter::create(out, &folder.coco(), &self.categories)).transpose()?;
        #[cfg(feature = "parquet")]
        let parquet = self.save.parquet.then(|| output::ParquetTable::create(out, &folder.parquet())).transpose()?;
        Ok(Collected {
            table,
            coco,
            #[cfg(feature = "parquet")]
            parquet,
            results: self,
        })
    }

    /// What is there of an image whose file has the blake3 `content_hash`.
    pub fn earlier(&self, record: &Record, content_hash: &str) -> Result<Earlier, ResultsError> {
        let mask = self.folder.mask(&record.output);
        let unreadable = |path: PathBuf| move |source| ResultsError::Unreadable { path, source };
        let found = provenance(&mask).filter(|found| {
            found.origin == self.origin && found.prediction.content_hash.as_deref() == Some(content_hash)
        });
        let mut all_intact = true;
        for kind in ImageFile::ALL {
            let path = kind.path(&self.folder, &record.output);
            let wanted = kind.is_saved(self.save);
            // What lies beside a mask of another run is removed with it.
            if !wanted && (found.is_some() || !self.out.owns(&path)) {
                continue;
            }
            let state = kind.state(&self.folder, &record.output).map_err(unreadable(path.clone()))?;
            if state == FileState::Changed {
                return Ok(Earlier::Changed(path));
            }
            all_intact &= !wanted || state == FileState::Intact;
        }
        let Some(Provenance { overlay, yolo, prediction, .. }) = found else { return Ok(Earlier::Foreign) };
        let save = self.save;
        let listed = prediction.result.as_ref().is_some_and(|measures| measures.objects.is_some());
        if self.overwrite
            || !save.masks
            || !all_intact
            || (save.annotations() && !listed)
            || (save.overlays && overlay.as_ref() != Some(&self.config))
        {
            return Ok(Earlier::Own { overlay, yolo });
        }
        // The same image may have been moved within the collection.
        Ok(Earlier::Finished(Box::new(prediction.of(record))))
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
        let save = self.save;
        let mut drawn = Drawn { replaces: matches!(earlier, Earlier::Foreign), files: Vec::new() };
        let mut add = |kind: ImageFile, bytes: Vec<u8>| {
            let bytes = match kind.sealed() {
                Some(format) => format.seal(bytes),
                None => bytes,
            };
            drawn.files.push((kind.path(&self.folder, &record.output), bytes));
        };
        if save.overlays {
            let side_px = self.config.overlay_side_px;
            let overlay = match &found.numbered {
                Some(numbered) => output::overlay(image, numbered, side_px),
                None => output::overlay(image, &found.mask, side_px),
            };
            add(ImageFile::Overlay, output::encode_jpeg(&overlay, OVERLAY_QUALITY).map_err(encoding)?);
        }
        if save.saliency {
            let grey = found.saliency.map(|probability| (255.0 * probability).round() as u8);
            let grey = grey.resized_nearest(image.width, image.height);
            add(ImageFile::Saliency, output::encode_grey_png(&grey).map_err(encoding)?);
        }
        let mut yolo = None;
        if save.yolo || save.voc {
            let annotated = self.annotated(prediction)?;
            if save.yolo {
                let labels = output::yolo_labels(&annotated);
                yolo = Some(yolo_checksum(&labels));
                add(ImageFile::Yolo, labels.into());
            }
            if save.voc {
                add(ImageFile::Voc, output::voc_annotation(&annotated, &self.categories).into());
            }
        }
        if save.masks {
            // What lies beside an own mask and is not drawn now stays, and stays known.
            let (kept_overlay, kept_yolo) = match earlier {
                Earlier::Own { overlay, yolo } => (overlay.clone(), yolo.clone()),
                Earlier::Finished(_) | Earlier::Foreign | Earlier::Changed(_) => (None, None),
            };
            let overlay = save.overlays.then(|| self.config.clone()).or(kept_overlay);
            let yolo = yolo.or(kept_yolo);
            let provenance = Provenance { origin: self.origin.clone(), overlay, yolo, prediction: prediction.clone() };
            let text = serde_json::to_string(&provenance).unwrap_or_default();
            let text = [(PROVENANCE_KEYWORD, text.as_str())];
            let bytes = match &found.numbered {
                Some(numbered) => output::encode_wide_png(numbered, &text),
                None => output::encode_indexed_png(&found.mask, &text),
            };
            let bytes = bytes.map_err(encoding)?;
            add(ImageFile::Mask, bytes);
        }
        Ok(drawn)
    }

    /// Writes what was drawn of one image, the mask last: a finished mask means that everything is there.
    pub fn write(&self, record: &Record, drawn: &Drawn) -> Result<(), ResultsError> {
        if drawn.replaces {
            // And what would lie beside the new mask.
            self.remove_own(record)?;
        }
        for (path, bytes) in &drawn.files {
            self.out.write(path, |writer| writer.write_all(bytes))?;
        }
        Ok(())
    }

    /// Gives the files of an image in another folder of results, which were made in the same way, their places in this one; the
    /// mask last. Says how many were placed, and how many of these are copies.
    ///
    /// # Errors
    /// [`output::OutputError::Changed`] if somebody has changed what is in such a place.
    pub fn adopt(&self, record: &Record, content_hash: &str, from: &ResultsFolder) -> Result<[u64; 2], ResultsError> {
        let kinds = || ImageFile::ALL.into_iter().rev().filter(|kind| kind.is_saved(self.save));
        let paths = |kind: ImageFile| (kind.path(from, &record.output), kind.path(&self.folder, &record.output));
        if kinds().map(paths).all(|(source, target)| files::is_same(&source, &target)) {
            return Ok([0, 0]);
        }
        match self.earlier(record, content_hash)? {
            Earlier::Finished(_) => return Ok([0, 0]),
            Earlier::Changed(path) => return Err(output::OutputError::Changed { path }.into()),
            Earlier::Foreign => self.remove_own(record)?,
            Earlier::Own { .. } => {
                let own = ImageFile::ALL.into_iter().filter(|kind| kind.is_saved(self.save));
                own.map(paths).try_for_each(|(_, target)| self.out.remove(&target))?;
            }
        }
        let mut placed = [0, 0];
        for (source, target) in kinds().map(paths) {
            placed[0] += 1;
            placed[1] += u64::from(!self.out.link(&source, &target)?);
        }
        Ok(placed)
    }

    /// Removes what runs have left of an image: first the mask, so that nothing half done looks finished.
    fn remove_own(&self, record: &Record) -> Result<(), ResultsError> {
        for kind in ImageFile::ALL {
            let path = kind.path(&self.folder, &record.output);
            if self.out.owns(&path) {
                self.out.remove(&path)?;
            }
        }
        Ok(())
    }

    /// A prediction as annotation writers take it.
    fn annotated(&self, prediction: &Prediction) -> Result<AnnotatedImage, ResultsError> {
        let object = |listed: &ListedObject| {
            let [x, y, width, height] = listed.bounding_box;
            Ok(AnnotatedObject {
                // Numbers are no categories.
                category: if self.is_numbered { 1 } else { u32::from(listed.label) },
                bounding_box: Rectangle { x, y, width, height },
                area_px: listed.area_px,
                score: Some(listed.confidence),
                mask: listed.segmentation.decode()?,
            })
        };
        let measures = prediction.result.as_ref();
        let objects = measures.and_then(|measures| measures.objects.as_deref()).unwrap_or_default();
        let objects = objects.iter().map(object).collect::<Result<_, _>>().map_err(|source| {
            ResultsError::BrokenObject { image: prediction.path.clone(), masks: self.folder.masks_folder(), source }
        })?;
        Ok(AnnotatedImage {
            path: prediction.path.clone(),
            width: measures.map_or(0, |measures| measures.width),
            height: measures.map_or(0, |measures| measures.height),
            objects,
        })
    }
}

/// What the mask at `path` says of itself, if it says anything.
pub(super) fn provenance(path: &Path) -> Option<Provenance> {
    let text = output::read_png_text(path, PROVENANCE_KEYWORD).ok()??;
    serde_json::from_str(&text).ok()
}

/// The files of one image, ready to be written in their order.
pub struct Drawn {
    /// Whether what is there is of another run or another image.
    replaces: bool,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Files that hold all images of a run; dropped before [`Collected::finish`] they leave nothing behind.
pub struct Collected<'a> {
    table: JsonLines<'a>,
    coco: Option<CocoWriter<'a>>,
    #[cfg(feature = "parquet")]
    parquet: Option<output::ParquetTable<'a>>,
    results: &'a Results,
}

impl Collected<'_> {
    /// Adds an image, which is in `shard` where the collection was planned in shards.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(unused_variables, reason = "only the table in Parquet tells of shards")
    )]
    pub fn push(&mut self, prediction: &Prediction, shard: Option<usize>) -> Result<(), ResultsError> {
        self.table.push(prediction)?;
        if let (Some(coco), Some(_)) = (&mut self.coco, &prediction.result) {
            coco.push(&self.results.annotated(prediction)?)?;
        }
        #[cfg(feature = "parquet")]
        if let Some(parquet) = &mut self.parquet {
            parquet.push(&self.results.row(prediction, &prediction.place(), shard))?;
        }
        Ok(())
    }

    /// Writes what holds all images, the table last.
    pub fn finish(self) -> Result<(), ResultsError> {
        // Nothing may say that an image is done before that outlasts a power cut.
        self.results.out.sync()?;
        if let Some(coco) = self.coco {
            coco.finish()?;
        }
        #[cfg(feature = "parquet")]
        if let Some(parquet) = self.parquet {
            parquet.finish()?;
        }
        self.table.finish()?;
        self.results.out.sync()?;
        let save = self.results.save;
        let kinds = ImageFile::ALL.into_iter().filter(|kind| kind.is_saved(save)).map(|kind| kind.name().to_string());
        Ok(self.results.out.set_images(Some(kinds.collect()))?)
    }
}
