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

/// The value of an environment variable that is set to something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The same of one that holds a path.
pub(super) fn path_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `$DEEPCUT_HOME`, or else `$XDG_DATA_HOME/deepcut`, or else `~/.local/share/deepcut`.
pub fn home_folder() -> Option<PathBuf> {
    path_variable("DEEPCUT_HOME")
        .or_else(|| path_variable("XDG_DATA_HOME").map(|data| data.join("deepcut")))
        .or_else(|| path_variable("HOME").map(|home| home.join(".local/share/deepcut")))
}

/// Looks for installed weights: `backbone.safetensors`, `.pth` or `.pt` in [`home_folder`].
pub fn installed() -> Installed {
    let folder = home_folder();
    let found = folder.as_ref().and_then(|folder| {
        EXTENSIONS
            .iter()
            .map(|extension| folder.join(INSTALLED_NAME).with_extension(extension))
            .find(|path| path.is_file())
    });
    Installed { folder, found }
}
