//! What a user may choose about objectives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Objective;
use crate::numerics::range::{InvalidSetting, within};

/// What the network is trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// The objective of the first stage. Default: association for `train`, ncut, the paper's, for `segment`.
    pub kind: Option<ObjectiveKind>,
    /// The objective of parts. Default: that of the objects; for `train` with a transformer, where none is chosen, cc.
    pub parts: Option<ObjectiveKind>,
    /// ncut only: weight of the balance term; the paper uses 1.
    pub balance: f64,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        ObjectiveConfig { kind: None, parts: None, balance: 1.0 }
    }
}

/// A clustering objective by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectiveKind {
    /// Normalised association: the normalised cut with a ratio of its own for every cluster.
    Association,
    /// Normalised cut as in the paper: one ratio for all clusters and a balance term.
    Ncut,
    /// Correlation clustering.
    Cc,
}

impl ObjectiveKind {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            ObjectiveKind::Association => "association",
            ObjectiveKind::Ncut => "ncut",
            ObjectiveKind::Cc => "cc",
        }
    }
}

impl ObjectiveConfig {
    /// The objective by name, which every run makes explicit before it begins.
    pub fn kind(&self) -> ObjectiveKind {
        self.kind.unwrap_or(ObjectiveKind::Association)
    }

    /// The objective of parts by name.
    pub fn parts(&self) -> ObjectiveKind {
        self.parts.unwrap_or_else(|| self.kind())
    }

    /// The objective of this name with the weights that were chosen.
    pub fn weighted(&self, kind: ObjectiveKind) -> Objective {
        match kind {
            ObjectiveKind::Association => Objective::Association,
            ObjectiveKind::Ncut => Objective::Ncut { balance: self.balance },
            ObjectiveKind::Cc => Objective::Cc,
        }
    }

    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("balance", self.balance, 0.0, 1e6)
    }
}
