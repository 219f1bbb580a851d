//! What a segmenting run leaves on disk, and how it is read back: one format, one writer, one reader.
//!
//! | below the output folder | what it holds |
//! |---|---|
//! | `masks/` | indexed PNG; each tells what it was made from |
//! | `overlays/`, `saliency/` | pictures for people, the probability of foreground as grey PNG |
//! | `labels.json` | what the values of the masks mean |
//! | `predictions.jsonl` | a line per image ([`Prediction`]), written when all are through |
//! | `predictions.parquet` | the same with objects, for programs that work on tables |
//! | `coco.json`, `yolo/`, `voc/` | annotations |
//! | `report.html` | one page for people |
//!
//! [`Results`] writes them and recognises what an earlier run has done; [`ResultsFolder`] knows the names and reads;
//! [`verify()`] holds all of it against the checksums that the files carry.

mod error;
mod folder;
mod kind;
mod table;
mod verify;
mod writer;

pub use error::ResultsError;
pub use folder::ResultsFolder;
pub use table::{ListedObject, Measures, Prediction, RunLengthText, Status, TableLine};
pub use verify::{Fault, Verification, verify};
pub use writer::{Collected, Drawn, Earlier, Results};

use serde::{Deserialize, Serialize};

/// What is written besides the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveKinds {
    pub masks: bool,
    pub overlays: bool,
    /// The probability of foreground as grey pictures.
    pub saliency: bool,
    /// One page for people with figures, a sample and the least sure images.
    pub report: bool,
    /// One COCO JSON file with the masks and boxes of all images.
    pub coco: bool,
    /// YOLO boxes, one text file per image.
    pub yolo: bool,
    /// Pascal VOC boxes, one XML file per image.
    pub voc: bool,
    /// One Parquet file with everything that is known of all images.
    #[cfg(feature = "parquet")]
    pub parquet: bool,
}

impl SaveKinds {
    /// Whether anything is written that lists objects one by one.
    pub fn annotations(self) -> bool {
        self.coco || self.yolo || self.voc || self.writes_parquet()
    }

    /// Whether a Parquet file is written.
    fn writes_parquet(self) -> bool {
        #[cfg(feature = "parquet")]
        return self.parquet;
        #[cfg(not(feature = "parquet"))]
        return false;
    }
}
