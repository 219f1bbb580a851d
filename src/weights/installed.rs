//! Weights that are kept for all runs.

use std::path::PathBuf;

/// Where weights are installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The folder that is searched; none on a system without a home folder.
    pub folder: Option<PathBuf>,
    /// The weights used when none are given.
    pub found: Option<PathBuf>,
}

/// The name of installed weights, without extension.
pub const INSTALLED_NAME: &str = "backbone";
pub const EXTENSIONS: [&str; 3] = ["safetensors", "pth", "pt"];

/// Looks for installed weights: `backbone.safetensors`, `.pth` or `.pt` in `$DEEPCUT_HOME`, or else in
/// `$XDG_DATA_HOME/deepcut`, or else in `~/.local/share/deepcut`.
pub fn installed() -> Installed {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("DEEPCUT_HOME")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("deepcut")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/deepcut")));
    let found = folder.as_ref().and_then(|folder| {
        EXTENSIONS
            .iter()
            .map(|extension| folder.join(INSTALLED_NAME).with_extension(extension))
            .find(|path| path.is_file())
    });
    Installed { folder, found }
}
