//! Collections without a number of clusters, the paper's experiment (Table 5): random classes, random images, every method
//! on the same vectors.
//!
//! ```sh
//! cargo run --release --example kless_protocol -- --data IMAGES --labels LABELS.csv --label-column NAME \
//!     --classes Topwear,Shoes,Bags,Eyewear,Belts --weights VIT.safetensors --config configs/vit-tiny.toml
//! ```
//!
//! For 3, 4 and 5 classes and 10 repeats: the classes are drawn in random order, of every class a random 80 % of its images
//! (500 images at most), and every method groups them. Printed: mean ± standard deviation over the repeats, in percent.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use deepcut::cluster::{ClusterConfig, ClusterModel, ClusterNetwork, Method, Provenance, Scaling, Vectors};
use deepcut::config::{self, Settings};
use deepcut::dataset::truth::{image_key, labels, name_key};
use deepcut::event::Silent;
use deepcut::features::vit::VitExtractor;
use deepcut::features::{Extractor, SuperpixelExtractor};
use deepcut::metrics::Contingency;
use deepcut::numerics::random;
use deepcut::weights::StateDict;
use deepcut::{dataset, pixels, tensor};
use rayon::prelude::*;

const REPEATS: u64 = 10;
const SHARE: f64 = 0.8;
const MOST_IMAGES: usize = 500;
const METHODS: [(&str, Method); 4] = [
    ("correlation", Method::Correlation),
    ("spectral, eigengap", Method::Spectral),
    ("components", Method::Components),
    ("k-means, true k", Method::Kmeans),
];

/// Purity, NMI, ARI and number of clusters of one repeat.
type Scores = [f64; 4];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let needed = |name: &str| value(name).ok_or_else(|| format!("give {name}; the top of this example shows how"));
    let config = config::resolve(value("--config").map(PathBuf::from).as_deref(), &[])?;
    let rows = labels(Path::new(&needed("--labels")?), value("--label-column").as_deref(), &|_| false)?.rows;
    let weights = value("--weights").map(PathBuf::from);
    let (vectors, width, images) = image_vectors(Path::new(&needed("--data")?), weights.as_deref(), &config)?;
    let classes = by_class(rows, &images, value("--classes").as_deref());
    println!("{} classes: {}", classes.len(), counts(&classes));

    println!("\n| classes | method | purity | NMI | ARI | K |\n|---|---|---|---|---|---|");
    for count in 3..=classes.len().min(5) {
        let mut scores: Vec<Vec<Scores>> = vec![Vec::new(); METHODS.len()];
        for repeat in 0..REPEATS {
            let (rows, truth) = draw(&classes, count, repeat);
            let values = rows.iter().flat_map(|&row| &vectors[row * width..][..width]).copied().collect();
            let drawn = Vectors::new(values, width)?;
            let scaling = match (config.cluster.scaling, &weights) {
                (Scaling::Auto, Some(_)) => Scaling::Unit,
                (Scaling::Auto, None) => Scaling::Standardised,
                (chosen, _) => chosen,
            };
            let network = ClusterNetwork { hidden: config.model.hidden, dropout: config.model.dropout };
            for ((_, method), scores) in METHODS.iter().zip(&mut scores) {
                let clusters = if *method == Method::Kmeans { Some(count) } else { config.cluster.clusters };
                let settings =
                    ClusterConfig { method: *method, clusters, scaling, seed: repeat, ..config.cluster.clone() };
                let from = Provenance::default();
                let found = ClusterModel::fit(&drawn, &settings, &network, from, &tensor::cpu(), &Silent)?;
                let table = Contingency::from_labels(&truth, &found.clusters);
                let nmi = table.normalised_mutual_information();
                scores.push([table.purity(), nmi, table.adjusted_rand_index(), found.model.count() as f64]);
            }
        }
        for ((name, _), scores) in METHODS.iter().zip(&scores) {
            let column = |index: usize, scale: f64| {
                let (mean, deviation) = mean_and_deviation(scores.iter().map(|row| scale * row[index]));
                format!("{mean:.1} ± {deviation:.1}")
            };
            let cells = [column(0, 100.0), column(1, 100.0), column(2, 100.0), column(3, 1.0)];
            println!("| {count} | {name} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

/// The vectors of all images, row-major, their width, and the images' names.
type Described = (Vec<f32>, usize, Vec<PathBuf>);

/// Describes every image of a collection.
fn image_vectors(data: &Path, weights: Option<&Path>, config: &Settings) -> Result<Described, Box<dyn Error>> {
    let extractor: Box<dyn Extractor + Send + Sync> = match weights {
        Some(path) => Box::new(VitExtractor::new(&StateDict::open(path)?, config.vit.clone(), tensor::cpu())?),
        None => Box::new(SuperpixelExtractor::new(config.superpixel)),
    };
    let records = dataset::open(data)?.records().collect::<Result<Vec<_>, _>>()?;
    let vector = |record: &dataset::Record| -> Result<Vec<f32>, Box<dyn Error + Send + Sync>> {
        let image = pixels::decode(&std::fs::read(&record.path)?, &config.pixels)?;
        Ok(extractor.image_vector(&image, image.outside.as_ref()))
    };
    let vectors = records.par_iter().map(vector).collect::<Result<Vec<_>, _>>();
    let vectors = vectors.map_err(|error| error.to_string())?;
    let names = records.into_iter().map(|record| record.relative).collect();
    Ok((vectors.concat(), extractor.image_width(), names))
}

/// The rows of every class, the chosen classes or all of them.
fn by_class(labels: Vec<(String, String)>, images: &[PathBuf], chosen: Option<&str>) -> BTreeMap<String, Vec<usize>> {
    let places: BTreeMap<String, usize> =
        images.iter().enumerate().map(|(row, image)| (image_key(image), row)).collect();
    let mut classes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (name, class) in labels {
        let wanted = chosen.is_none_or(|chosen| chosen.split(',').any(|wanted| wanted == class));
        if let Some(&row) = places.get(&name_key(&name)).filter(|_| wanted) {
            classes.entry(class).or_default().push(row);
        }
    }
    classes
}

/// Rows of `count` random classes in random order, and the number of each row's class.
fn draw(classes: &BTreeMap<String, Vec<usize>>, count: usize, repeat: u64) -> (Vec<usize>, Vec<u32>) {
    let mut generator = random::stream(repeat, "protocol", count as u64);
    let all: Vec<&Vec<usize>> = classes.values().collect();
    let order = random::permutation(&mut generator, all.len());
    let mut drawn: Vec<(usize, u32)> = Vec::new();
    for (number, &class) in order.iter().take(count).enumerate() {
        let rows = all[class];
        let taken = ((SHARE * rows.len() as f64).round() as usize).min(MOST_IMAGES / count);
        let order = random::permutation(&mut generator, rows.len());
        drawn.extend(order.into_iter().take(taken).map(|place| (rows[place], number as u32)));
    }
    let order = random::permutation(&mut generator, drawn.len());
    order.into_iter().map(|place| drawn[place]).unzip()
}

fn mean_and_deviation(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / values.len() as f64).sqrt())
}

fn counts(classes: &BTreeMap<String, Vec<usize>>) -> String {
    classes.iter().map(|(class, rows)| format!("{class} {}", rows.len())).collect::<Vec<_>>().join(", ")
}
