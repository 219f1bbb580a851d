//! Published backbones by name: where they are, under which licence, how images are prepared for them, and with which
//! settings they do well.

use std::path::Path;
use std::sync::OnceLock;

use serde::Deserialize;

const LIST: &str = include_str!("../../configs/backbones.toml");

/// The backbone that is fetched when none is named: the paper's.
pub const DEFAULT_NAME: &str = "dino-vits8";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    backbone: Vec<Published>,
}

/// Weights that somebody has published.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// What users call it.
    pub name: String,
    /// Architecture and training: `dino`, `dinov2`, …
    pub family: String,
    /// On the Hugging Face Hub: organisation/name, a branch or a commit, and the file's path.
    repository: Option<String>,
    revision: Option<String>,
    file: Option<String>,
    /// Anywhere else.
    address: Option<String>,
    /// What the original files are called.
    #[serde(default)]
    file_names: Vec<String>,
    /// Of the weights.
    pub licence: String,
    /// Where access is asked for; none if nobody has to.
    pub access: Option<String>,
    /// Whether the file has been fetched and tried.
    pub fetched: bool,
    /// In hexadecimal digits, where it is known beforehand.
    pub sha256: Option<String>,
    /// In bytes, where it is known beforehand.
    pub size: Option<u64>,
    /// Of the red, green and blue training pixels, on 0..1.
    pub mean: [f32; 3],
    /// Of the red, green and blue training pixels, on 0..1.
    pub standard_deviation: [f32; 3],
    /// Side of the training images in pixels.
    pub native_side: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Pixels per side that images are resized to where the user says nothing.
    pub input_side: usize,
    /// Step between patches in pixels where the user says nothing.
    pub stride: usize,
    /// The blocks that describe patches where the user says nothing.
    pub layers: Vec<i64>,
    /// Their vector that does, as configurations write it.
    pub facet: String,
    /// Channels of a head, where the tensors cannot tell.
    pub head_width: Option<usize>,
    /// Why these settings.
    pub settings_source: String,
}

/// Where a file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// On the Hugging Face Hub.
    Hub { repository: &'a str, revision: &'a str, file: &'a str },
    /// At a plain address.
    Address(&'a str),
}

impl Published {
    /// Where it is published.
    pub fn source(&self) -> Source<'_> {
        match (&self.repository, &self.file, &self.address) {
            (Some(repository), Some(file), None) => {
                Source::Hub { repository, revision: self.revision.as_deref().unwrap_or("main"), file }
            }
            (_, _, Some(address)) => Source::Address(address),
            _ => unreachable!("a test holds that {} has a source", self.name),
        }
    }

    /// What its file is called where it has no folder of its own: the name with the published file's extension.
    pub fn file_name(&self) -> String {
        let (Source::Hub { file, .. } | Source::Address(file)) = self.source();
        let last = file.rsplit('/').next().unwrap_or(file);
        let extension = last.split_once('.').map_or("safetensors", |(_, extension)| extension);
        format!("{}.{extension}", self.name)
    }

    /// Whether the original file has the name of the file at `path`.
    pub fn is_called_as(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.file_names.iter().any(|known| name == known.as_str()))
    }
}

/// All published backbones that are known, the preferred ones first.
pub fn published() -> &'static [Published] {
    static PUBLISHED: OnceLock<Vec<Published>> = OnceLock::new();
    PUBLISHED.get_or_init(|| match toml::from_str::<List>(LIST) {
        Ok(list) => list.backbone,
        Err(error) => unreachable!("a test reads the same list: {error}"),
    })
}

/// The one of that name.
pub fn named(name: &str) -> Option<&'static Published> {
    published().iter().find(|published| published.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_published_backbone_is_complete() {
        let names: BTreeSet<&str> = published().iter().map(|published| published.name.as_str()).collect();
        assert_eq!(names.len(), published().len());
        assert!(names.contains(DEFAULT_NAME));
        for expected in [
            "dino-vits8",
            "dino-vits16",
            "dino-vitb8",
            "dino-vitb16",
            "dinov2-vits14",
            "dinov2-vitb14",
            "dinov2-vits14-reg",
            "dinov2-vitb14-reg",
            "dinov3-vits16",
            "dinov3-vitb16",
            "mae-vitb16",
            "mocov3-vits16",
            "mocov3-vitb16",
            "ibot-vits16",
        ] {
            assert!(names.contains(expected), "{expected}");
        }
        let mut file_names = BTreeSet::new();
        for one in published() {
            let name = &one.name;
            let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            assert!(is_plain(name) && name.starts_with(&one.family) && !name.contains('.'), "{name}");
            match one.source() {
                Source::Hub { repository, revision, file } => {
                    let (organisation, repository) = repository.split_once('/').unwrap();
                    assert!([organisation, repository, revision].iter().all(|part| is_plain(part)), "{name}");
                    assert!(file.split('/').all(is_plain), "{name}");
                }
                Source::Address(address) => assert!(address.starts_with("https://"), "{name}"),
            }
            assert!(!one.licence.is_empty() && one.settings_source.len() > 20, "{name}");
            assert!(one.access.as_ref().is_none_or(|access| access.starts_with("https://")), "{name}");
            // Of what was never fetched nothing is known that only the bytes can tell.
            assert!(one.fetched || (one.sha256.is_none() && one.size.is_none()), "{name}");
            assert!(one.sha256.as_ref().is_none_or(|digits| digits.len() == 64), "{name}");
            assert!(one.patch.is_multiple_of(one.stride) && one.native_side.is_multiple_of(one.patch), "{name}");
            assert!(one.file_names.iter().all(|file| file_names.insert(file)), "{name}");
        }
    }
}
