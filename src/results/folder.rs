//! Where everything lies below an output folder, and what is there already.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ResultsError, SaveKinds, TableLine};
use crate::dataset::truth::{FoundMaps, files_below, image_key, maps_below};
use crate::files;
use crate::output::Claim;
use crate::segment::Label;

/// The largest table that is read into memory at once, for scores.
const MOST_BYTES: u64 = 16 << 30;

const MASKS: &str = "masks";
const OVERLAYS: &str = "overlays";
const SALIENCY: &str = "saliency";
const VOC: &str = "voc";
const YOLO: &str = "yolo";
const YOLO_DATA: &str = "yolo/data.yaml";
const COCO: &str = "coco.json";
const PARQUET: &str = "predictions.parquet";
const REPORT: &str = "report.html";
const TABLE: &str = "predictions.jsonl";
const LABELS: &str = "labels.json";

/// What `labels.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LabelTable {
    /// Identifies everything that the masks follow from besides their images.
    pub origin: String,
    pub labels: Vec<Label>,
    /// What a reader of the masks should know besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// The output folder of a segmenting run.
///
/// `output` is always the place of an image's results; see [`Record::output`](crate::dataset::Record::output).
#[derive(Debug, Clone)]
pub struct ResultsFolder {
    root: PathBuf,
}

impl ResultsFolder {
    pub fn new(root: impl Into<PathBuf>) -> ResultsFolder {
        ResultsFolder { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn mask(&self, output: &Path) -> PathBuf {
        self.masks_folder().join(extended(output, "png"))
    }

    pub fn overlay(&self, output: &Path) -> PathBuf {
        self.root.join(OVERLAYS).join(extended(output, "jpg"))
    }

    pub fn saliency(&self, output: &Path) -> PathBuf {
        self.root.join(SALIENCY).join(extended(output, "png"))
    }

    /// Where trainers look for it: beside a folder `images`, under the same name.
    pub fn yolo(&self, output: &Path) -> PathBuf {
        self.root.join(YOLO).join("labels").join(extended(output, "txt"))
    }

    pub fn yolo_data(&self) -> PathBuf {
        self.root.join(YOLO_DATA)
    }

    pub fn voc(&self, output: &Path) -> PathBuf {
        self.root.join(VOC).join(extended(output, "xml"))
    }

    pub fn coco(&self) -> PathBuf {
        self.root.join(COCO)
    }

    /// One row per image.
    pub fn parquet(&self) -> PathBuf {
        self.root.join(PARQUET)
    }

    /// One page for people.
    pub fn report(&self) -> PathBuf {
        self.root.join(REPORT)
    }

    /// One line per image.
    pub fn table(&self) -> PathBuf {
        self.root.join(TABLE)
    }

    /// What the mask values mean.
    pub fn labels(&self) -> PathBuf {
        self.root.join(LABELS)
    }

    pub fn masks_folder(&self) -> PathBuf {
        self.root.join(MASKS)
    }

    /// The names that a run writes which saves this.
    pub fn claims(save: SaveKinds) -> Vec<Claim> {
        let claims = [
            (true, Claim::file(LABELS)),
            (true, Claim::file(TABLE)),
            (save.masks, Claim::folder(MASKS)),
            (save.overlays, Claim::folder(OVERLAYS)),
            (save.saliency, Claim::folder(SALIENCY)),
            (save.report, Claim::file(REPORT)),
            (save.coco, Claim::file(COCO)),
            (save.writes_parquet(), Claim::file(PARQUET)),
            (save.yolo, Claim::folder(YOLO)),
            (save.yolo, Claim::file(YOLO_DATA)),
            (save.voc, Claim::folder(VOC)),
        ];
        claims.into_iter().filter_map(|(written, claim)| written.then_some(claim)).collect()
    }

    /// The names of what describes all images of a run but the meaning of masks.
    pub(super) fn descriptions() -> [&'static str; 4] {
        [TABLE, COCO, PARQUET, REPORT]
    }

    /// What the mask values mean; none without a table of labels.
    pub fn read_labels(&self) -> Result<Option<Vec<Label>>, ResultsError> {
        Ok(self.read_label_table()?.map(|table| table.labels))
    }

    pub(super) fn read_label_table(&self) -> Result<Option<LabelTable>, ResultsError> {
        let path = self.labels();
        let Some(bytes) = read_if_there(&path, files::read)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| ResultsError::BrokenLabels { path, source })
    }

    /// The lines of the table by the images' keys (see [`image_key`]); none without a table.
    pub fn read_table(&self) -> Result<Option<BTreeMap<String, TableLine>>, ResultsError> {
        let path = self.table();
        let Some(text) = read_if_there(&path, files::read_text)? else { return Ok(None) };
        let mut lines: BTreeMap<String, TableLine> = BTreeMap::new();
        for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let (path, number) = (path.clone(), index + 1);
            let line: TableLine = match serde_json::from_str(text) {
                Ok(line) => line,
                Err(source) => return Err(ResultsError::BrokenLine { path, line: number, source }),
            };
            let key = line.key();
            if line.is_done() && lines.get(&key).is_some_and(TableLine::is_done) {
                return Err(ResultsError::SecondLine { path, line: number, image: key });
            }
            // A file that is no image may have the name of one that is.
            if line.is_done() || !lines.contains_key(&key) {
                lines.insert(key, line);
            }
        }
        Ok(Some(lines))
    }

    /// The folder of masks and the masks in it; without a run's own folder of masks those in the folder itself, so that plain
    /// folders of masks can be read too.
    pub fn find_masks(&self) -> Result<(PathBuf, FoundMaps), ResultsError> {
        let inner = self.masks_folder();
        let folder = if inner.is_dir() || self.table().is_file() { inner } else { self.root.clone() };
        let none = FoundMaps { maps: Vec::new(), remark: None };
        let found = if folder.is_dir() { maps_below(&folder)? } else { none };
        Ok((folder, found))
    }

    /// The saliency maps by the images' keys; none where there are no such maps.
    pub fn find_saliency(&self) -> Result<BTreeMap<String, PathBuf>, ResultsError> {
        let folder = self.root.join(SALIENCY);
        let files = if folder.is_dir() { files_below(&folder, &["png"])? } else { Vec::new() };
        Ok(files.into_iter().map(|relative| (image_key(&relative), folder.join(&relative))).collect())
    }
}

/// The extension is added and replaces none: an image's place may end in one.
fn extended(output: &Path, extension: &str) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// What `read` gives; none if the file is not there.
fn read_if_there<'a, T>(path: &'a Path, read: fn(&'a Path, u64) -> io::Result<T>) -> Result<Option<T>, ResultsError> {
    match read(path, MOST_BYTES) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ResultsError::Unreadable { path: path.to_path_buf(), source }),
    }
}
