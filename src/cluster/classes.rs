//! Clusters against classes that people gave the images.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use serde::Serialize;

use super::{ClusterError, ClusteredImage};
use crate::event::{Event, Observer};
use crate::metrics::Contingency;
use crate::names::tail_matches;

/// Classes that people gave the images of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// Where they are from, for messages.
    pub source: String,
    /// Names of images and their classes.
    pub rows: Vec<(String, String)>,
}

/// How well clusters agree with classes, over the images that have one; fractions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    /// Share of images in the most frequent class of their cluster. Rewards splitting: read it beside the others.
    pub purity: f64,
    /// Mutual information over the mean of the entropies.
    pub nmi: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// Clusters found minus classes there are.
    pub cluster_error: i64,
    /// Number of classes among the images.
    pub classes: usize,
    /// Images with a class, and without.
    pub labelled: usize,
    pub unlabelled: usize,
    /// Names in the file that are of no image, or of several.
    pub unknown_labels: usize,
}

impl Classes {
    /// Holds the clusters of images against the classes.
    ///
    /// Names are paths within the collection, file names, or paths from elsewhere that end as an image's path does, with or
    /// without extension; those of no image, or of several, count nowhere, and the observer is warned of them.
    ///
    /// # Errors
    /// If an image has two classes, or no image has one.
    pub fn score(&self, images: &[ClusteredImage], observer: &dyn Observer) -> Result<ClassScores, ClusterError> {
        let names = Names::new(images, self.rows.iter().map(|(name, _)| name.as_str()));
        let mut classes: Vec<Option<&str>> = vec![None; images.len()];
        let mut unknown: Vec<&str> = Vec::new();
        for (name, class) in &self.rows {
            let Some(image) = names.find(name) else {
                unknown.push(name);
                continue;
            };
            if classes[image].is_some_and(|other| other != class) {
                let image = images[image].name.clone();
                return Err(ClusterError::TwoClasses { classes: self.source.clone(), image });
            }
            classes[image] = Some(class);
        }
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let (mut truth, mut found) = (Vec::new(), Vec::new());
        for (class, image) in classes.iter().zip(images) {
            let Some(class) = class else { continue };
            let next = numbers.len() as u32;
            truth.push(*numbers.entry(class).or_insert(next));
            found.push(image.cluster);
        }
        if truth.is_empty() {
            return Err(ClusterError::NoClass { classes: self.source.clone() });
        }
        if let Some(first) = unknown.first() {
            let verb = if unknown.len() == 1 { "label is" } else { "labels are" };
            let mut of_several = unknown.iter().filter(|name| names.are_several(name));
            let several = of_several.next().map(|first| {
                format!("; {} of them could be of several images, the first of {first}", 1 + of_several.count())
            });
            observer.observe(Event::Warning(format!(
                "{} {verb} of no single image of the collection and not used, the first of {first}{}",
                unknown.len(),
                several.unwrap_or_default()
            )));
        }
        let table = Contingency::from_labels(&truth, &found);
        let clusters: BTreeSet<u32> = images.iter().map(|image| image.cluster).collect();
        Ok(ClassScores {
            purity: table.purity(),
            nmi: table.normalised_mutual_information(),
            ari: table.adjusted_rand_index(),
            cluster_error: clusters.len() as i64 - numbers.len() as i64,
            classes: numbers.len(),
            labelled: truth.len(),
            unlabelled: images.len() - truth.len(),
            unknown_labels: unknown.len(),
        })
    }
}

/// Images by what people call them.
struct Names {
    /// Whole paths, then paths without extension, file names, and file names without extension; none where several images
    /// have the name.
    maps: [BTreeMap<String, Option<usize>>; 4],
    /// Images of names that are in none of these.
    by_tail: BTreeMap<String, usize>,
}

impl Names {
    /// The images as `called` names them.
    fn new<'a>(images: &[ClusteredImage], called: impl Iterator<Item = &'a str>) -> Names {
        let mut maps: [BTreeMap<String, Option<usize>>; 4] = Default::default();
        for (index, image) in images.iter().enumerate() {
            for (map, name) in maps.iter_mut().zip(Names::of(&image.name)) {
                map.entry(name).and_modify(|known| *known = None).or_insert(Some(index));
            }
        }
        let mut names = Names { maps, by_tail: BTreeMap::new() };
        let called: BTreeSet<&str> = called.collect();
        if called.iter().all(|name| names.find(name).is_some()) {
            return names;
        }
        // As they are, then both without extensions.
        let called: Vec<&str> = called.into_iter().collect();
        let stems: Vec<String> = called.iter().map(|name| without_extension(name)).collect();
        let [paths, bare]: [Vec<&str>; 2] =
            [images.iter().map(|image| image.name.as_str()).collect(), stems.iter().map(String::as_str).collect()];
        let image_stems: Vec<String> = paths.iter().map(|path| without_extension(path)).collect();
        let image_stems: Vec<&str> = image_stems.iter().map(String::as_str).collect();
        let found = tail_matches(&called, &paths).into_iter().zip(tail_matches(&bare, &image_stems));
        let found = found.map(|(whole, bare)| whole.or(bare)).zip(&called);
        names.by_tail = found.filter_map(|(image, name)| Some((name.to_string(), image?))).collect();
        names
    }

    fn of(name: &str) -> [String; 4] {
        let path = Path::new(name);
        let text = |part: &OsStr| part.to_string_lossy().into_owned();
        let [file, stem] = [path.file_name(), path.file_stem()].map(|part| text(part.unwrap_or_default()));
        [name.to_string(), text(path.with_extension("").as_os_str()), file, stem]
    }

    fn find(&self, name: &str) -> Option<usize> {
        let plain = name.trim_start_matches("./");
        let known = self.maps.iter().find_map(|map| map.get(plain)).copied();
        known.flatten().or_else(|| self.by_tail.get(name).copied())
    }

    /// Whether several images end as the name does.
    fn are_several(&self, name: &str) -> bool {
        let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
        self.maps[2..].iter().any(|map| map.get(last).is_some_and(Option::is_none))
    }
}

/// A path of any system without the extension of its last part.
fn without_extension(name: &str) -> String {
    let last = name.rfind(['/', '\\']).map_or(0, |slash| slash + 1);
    match name[last..].rfind('.') {
        Some(dot) if dot > 0 => name[..last + dot].to_string(),
        _ => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    fn images(names: &[(&str, u32)]) -> Vec<ClusteredImage> {
        let image = |&(name, cluster): &(&str, u32)| ClusteredImage {
            name: name.to_string(),
            cluster,
            confidence: 1.0,
            place: [0.0; 2],
        };
        names.iter().map(image).collect()
    }

    fn classes(rows: &[(&str, &str)]) -> Classes {
        let rows = rows.iter().map(|(name, class)| (name.to_string(), class.to_string())).collect();
        Classes { source: "classes.csv".into(), rows }
    }

    #[test]
    fn names_may_be_paths_or_file_names_and_only_labelled_images_count() {
        let images = images(&[("a/1.jpg", 0), ("b/1.jpg", 0), ("b/2.jpg", 1), ("3.x.png", 2), ("4.jpg", 2)]);
        let rows = [("a/1.jpg", "x"), ("./b/1", "y"), ("2", "z"), ("3.x", "z"), ("1", "x"), ("nobody", "z")];
        let scores = classes(&rows).score(&images, &Silent).unwrap();
        assert_eq!((scores.labelled, scores.unlabelled, scores.unknown_labels, scores.classes), (4, 1, 2, 3));
        assert_eq!((scores.purity, scores.cluster_error), (0.75, 0));
    }

    #[test]
    fn paths_from_elsewhere_are_of_the_image_that_ends_alike() {
        let images = images(&[("dogs/1.jpg", 0), ("cats/1.jpg", 1), ("2.jpg", 1), ("x/3.jpg", 0)]);
        let rows = [
            ("/data/all/dogs/1.jpg", "dog"),
            ("C:\\all\\cats\\1.jpg", "cat"),
            ("images\\2", "cat"),
            ("old/3.png", "dog"),
            ("old/1.jpg", "cow"),
            ("9.jpg", "cow"),
        ];
        let said = std::sync::Mutex::new(Vec::new());
        struct Listener<'a>(&'a std::sync::Mutex<Vec<Event>>);
        impl Observer for Listener<'_> {
            fn observe(&self, event: Event) {
                self.0.lock().unwrap().push(event);
            }
        }
        let scores = classes(&rows).score(&images, &Listener(&said)).unwrap();
        assert_eq!((scores.labelled, scores.unknown_labels, scores.classes), (4, 2, 2));
        let expected = "2 labels are of no single image of the collection and not used, the first of old/1.jpg; 1 of them could \
                        be of several images, the first of old/1.jpg";
        assert_eq!(said.into_inner().unwrap(), [Event::Warning(expected.into())]);
    }

    #[test]
    fn contradictions_and_files_about_other_images_are_refused() {
        let images = images(&[("1.jpg", 0), ("2.jpg", 0)]);
        let twice = classes(&[("1", "x"), ("1.jpg", "y")]).score(&images, &Silent);
        assert!(matches!(twice, Err(ClusterError::TwoClasses { .. })));
        let none = classes(&[("7", "x")]).score(&images, &Silent);
        assert!(matches!(none, Err(ClusterError::NoClass { .. })));
    }
}
