//! Several random networks are begun, and one goes on.

use super::stages::Task;
use super::{Recipe, foreground_iou, spread};
use crate::event::{Event, Phase};
use crate::graph::Batch;
use crate::method::MethodError;
use crate::method::recipe::Journal;
use crate::model::Restarts;
use crate::model::checkpoint::TrainedStage;
use crate::numerics::argmax;
use crate::parallel::parallel_map;
use crate::refine::BorderStatistics;
use crate::tensor;
use crate::train::Trained;

/// Most images that networks are compared on, spread evenly over the collection.
const MOST_COMPARED: usize = 256;

/// What several networks say of one image.
struct Compared {
    /// The loss of each.
    losses: Vec<f64>,
    /// The cluster that each gives to every node.
    clusters: Vec<Vec<usize>>,
    border: Vec<f32>,
    area: Vec<f32>,
}

impl Recipe<'_> {
    /// Begins several random networks and trains the one with the lowest loss to its end; tells of them where there were
    /// several.
    ///
    /// The loss is that of all images, trained on or not: those held out of a small collection are too few to tell which
    /// network found what the images have in common.
    pub(super) fn train_restarted(
        &self,
        task: Task,
        journal: &mut dyn Journal,
    ) -> Result<(Trained, TrainedStage, Option<Restarts>), MethodError> {
        let restarts = self.resolved.settings().train.restarts.unwrap_or(1);
        if restarts < 2 {
            let (trained, description) = self.train_stage(task, journal)?;
            return Ok((trained, description, None));
        }
        let mut begun = Vec::with_capacity(restarts);
        for restart in 0..restarts {
            begun.push(self.run_stage(task, Some(restart), (restart, None), journal)?);
        }
        let compared = self.compare(task, &begun)?;
        let found = choose(&compared, task.network.clusters, begun.iter().map(|trained| trained.collapsed));
        let chosen = found.chosen;
        self.observer.observe(Event::Note(format!(
            "of {restarts} random starts number {} has the lowest loss and goes on; the foregrounds of the others agree with its own to a mean IoU of {:.2}",
            chosen + 1,
            found.agreement
        )));
        let state = begun.swap_remove(chosen).state;
        let trained = self.run_stage(task, None, (chosen, Some(state)), journal)?;
        let (trained, description) = self.described(task, trained);
        Ok((trained, description, Some(found)))
    }

    /// What the networks say of images spread over the collection.
    fn compare(&self, task: Task, begun: &[Trained]) -> Result<Vec<Compared>, MethodError> {
        let images: Vec<usize> = spread(task.source.len(), MOST_COMPARED).collect();
        let observer = self.observer;
        observer.observe(Event::PhaseStarted { phase: Phase::Background, total: Some(images.len() as u64) });
        let of_image = |index| -> Result<Option<Compared>, MethodError> {
            if observer.interrupted() {
                return Err(MethodError::Interrupted);
            }
            let graph = task.source.load(index).map_err(|error| MethodError::Collection(error.to_string()))?;
            let Some(graph) = graph else { return Ok(None) };
            let graphs = [graph];
            let batch = Batch::collate(&graphs, &tensor::cpu());
            let of_network = |trained: &Trained| {
                let assignment = trained.network.assign(&batch, None);
                let loss = tensor::into_vec(task.objective.scaled_losses(&batch, assignment.clone()))[0];
                let clusters = tensor::into_vec(assignment);
                (f64::from(loss), clusters.chunks_exact(task.network.clusters).map(argmax).collect())
            };
            let (losses, clusters) = begun.iter().map(of_network).unzip();
            let (border, area) = (graphs[0].border.clone(), graphs[0].area.clone());
            Ok(Some(Compared { losses, clusters, border, area }))
        };
        let mut compared = Vec::with_capacity(images.len());
        parallel_map(images.into_iter(), self.workers, of_image, |found| {
            compared.extend(found?);
            observer.observe(Event::PhaseProgress { phase: Phase::Background, done: compared.len() as u64 });
            Ok::<(), MethodError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Background });
        Ok(compared)
    }
}

/// The network with the lowest mean loss, of those that tell anything apart, and how far the others agree with it.
fn choose(images: &[Compared], clusters: usize, collapsed: impl Iterator<Item = bool>) -> Restarts {
    let collapsed: Vec<bool> = collapsed.collect();
    let mean = |of: &dyn Fn(&Compared) -> f64| images.iter().map(of).sum::<f64>() / images.len().max(1) as f64;
    let losses: Vec<f64> = (0..collapsed.len()).map(|network| mean(&|image| image.losses[network])).collect();
    let rank = |one: &usize, other: &usize| {
        collapsed[*one].cmp(&collapsed[*other]).then(losses[*one].total_cmp(&losses[*other]))
    };
    let chosen = (0..losses.len()).min_by(rank).unwrap_or(0);
    let background = |network: usize| {
        let mut statistics = BorderStatistics::new(clusters);
        images.iter().for_each(|image| statistics.add(&image.clusters[network], &image.border, &image.area));
        statistics.background()
    };
    let backgrounds: Vec<Vec<bool>> = (0..losses.len()).map(background).collect();
    let agreement_with = |network: usize| {
        mean(&|image| {
            let is_foreground = |of: usize, node: usize| !backgrounds[of][image.clusters[of][node]];
            let areas = image.area.iter().enumerate();
            let nodes = areas.map(|(node, &area)| (is_foreground(chosen, node), is_foreground(network, node), area));
            foreground_iou(nodes).unwrap_or(1.0)
        })
    };
    let others = (0..losses.len()).filter(|&network| network != chosen);
    let agreement = others.map(agreement_with).sum::<f64>() / (losses.len() - 1).max(1) as f64;
    Restarts { losses, chosen, agreement }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of four nodes, the first and the last on the border, with what networks say of it.
    fn image(losses: &[f64], clusters: &[[usize; 4]]) -> Compared {
        let clusters = clusters.iter().map(|clusters| clusters.to_vec()).collect();
        Compared { losses: losses.to_vec(), clusters, border: vec![1.0, 0.0, 0.0, 1.0], area: vec![1.0; 4] }
    }

    #[test]
    fn the_lowest_mean_loss_goes_on_and_the_others_are_held_against_it() {
        let inner = [0, 1, 1, 0];
        // The second names its clusters the other way; the third finds one of two nodes in the second image.
        let images = [
            image(&[-0.5, -0.9, -0.6], &[inner, [1, 0, 0, 1], inner]),
            image(&[-0.9, -0.8, -0.6], &[inner, [1, 0, 0, 1], [0, 1, 0, 0]]),
        ];
        let found = choose(&images, 2, [false; 3].into_iter());
        assert_eq!(found.chosen, 1);
        assert!((found.losses[1] + 0.85).abs() < 1e-12);
        assert!((found.agreement - (1.0 + 0.75) / 2.0).abs() < 1e-12, "{}", found.agreement);
        // A network that puts everything in one cluster is not chosen for its loss.
        assert_eq!(choose(&images, 2, [false, true, false].into_iter()).chosen, 0);
    }
}
