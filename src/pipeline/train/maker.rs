//! From images to the graphs that training learns from, on other machines than the one that trains.

use std::path::{Path, PathBuf};

use burn_dataset::Dataset;

use super::graphs::Graphs;
use super::numbered;
use crate::config::{Purpose, Resolved, Settings};
use crate::event::Observer;
use crate::features::Backbone;
use crate::method::{Machine, MethodError, installed_weights, open_backbone};
use crate::output::Cache;
use crate::parallel::workers;
use crate::pipeline::images::ImageLoop;
use crate::pipeline::{PipelineError, Run};
use crate::pixels::ImageItem;
use crate::tensor::Device;

/// A backbone with the settings of a training, to describe its images beforehand: most of a training with a transformer is that.
///
/// [`train_model_from`](super::train_model_from) gives the same network with such graphs as without, on processors of one kind.
pub struct GraphMaker {
    resolved: Resolved,
    backbone: Backbone,
    device: Device,
    workers: usize,
}

/// The graph of an image as training keeps it: a name below the folder of its cache, and what the file of that name holds.
pub type KeptGraph = (PathBuf, Vec<u8>);

impl GraphMaker {
    /// With the settings, weights and machine that the training has, too.
    pub fn open(settings: Settings, weights: Option<&Path>, machine: &Machine) -> Result<GraphMaker, PipelineError> {
        settings.validate()?;
        let has_weights = weights.is_some() || installed_weights().is_some();
        let resolved = settings.resolve(Purpose::Train, has_weights, machine.precision).map_err(MethodError::from)?;
        let device = machine.open(resolved.backbone())?;
        let backbone = open_backbone(&resolved, weights, None, &device)?;
        Ok(GraphMaker { resolved, backbone, device, workers: workers(machine.threads)? })
    }

    /// The graph of every image; none of one that cannot be used, which the training will meet again.
    pub fn graphs<I: ImageItem>(
        &self,
        images: &dyn Dataset<I>,
        observer: &dyn Observer,
    ) -> Result<Vec<Option<KeptGraph>>, PipelineError> {
        let pixels = &self.resolved.settings().pixels;
        let graphs = Graphs { backbone: &self.backbone, affinity: self.resolved.affinity(), pixels };
        let image_loop = ImageLoop {
            extractor: self.backbone.extractor.as_ref(),
            device: &self.device,
            limits: pixels,
            cache: None,
            workers: self.workers,
            observer,
        };
        let settings = graphs.settings();
        let mut all = vec![None; images.len()];
        let items = numbered(images, (0..images.len()).collect());
        let consumed = image_loop.run(&graphs, items, Some(images.len() as u64), |computed| {
            all[computed.item.index] = Some(Cache::entry(&settings, &computed.content, &computed.bytes));
            Ok(())
        });
        consumed.map_err(|error| error.during(Run::Describing))?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::SystemTime;

    use burn_dataset::InMemDataset;

    use super::*;
    use crate::config::BackboneChoice;
    use crate::event::Silent;
    use crate::pipeline::train_model_from;
    use crate::raster::RgbImage;

    #[test]
    fn graphs_that_were_made_elsewhere_are_those_of_the_training() {
        let disc = |centre: usize| {
            let inside =
                move |place: usize| (place % 48).abs_diff(centre).pow(2) + (place / 48).abs_diff(16).pow(2) < 60;
            let pixels = (0..48 * 32).map(|place| if inside(place) { [220, 60, 40] } else { [30, 50, 60] });
            RgbImage::from_values(48, 32, pixels.collect())
        };
        let images = InMemDataset::new((12..36).step_by(6).map(disc).collect::<Vec<_>>());
        let mut settings = Settings { backbone: BackboneChoice::Superpixel, ..Settings::default() };
        settings.train.epochs = 3;
        settings.superpixel.regions = 60;
        let machine = Machine { threads: 1, ..Machine::default() };
        let train = |cache: &Path| {
            let model = train_model_from(&images, &settings, None, &machine, cache, &Silent).unwrap();
            model.to_bytes().unwrap()
        };
        let [alone, given] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let expected = train(alone.path());

        let maker = GraphMaker::open(settings.clone(), None, &machine).unwrap();
        let graphs: Vec<KeptGraph> = maker.graphs(&images, &Silent).unwrap().into_iter().flatten().collect();
        assert_eq!(graphs.len(), 4);
        for (name, bytes) in &graphs {
            assert!(fs::read(alone.path().join(name)).unwrap() == *bytes);
            let path = given.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        assert!(train(given.path()) == expected);
        for (name, _) in &graphs {
            let written = fs::metadata(given.path().join(name)).unwrap().modified().unwrap();
            assert_eq!(written, SystemTime::UNIX_EPOCH, "it was taken, not computed again");
        }
    }
}
