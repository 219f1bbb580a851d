//! Finds the transformer in a file: checkpoints hold several, each behind its own wrappers.

use std::collections::{BTreeMap, HashSet};

use super::{NAMINGS, Naming};
use crate::weights::archive::StoredTensor;

/// What the rest of a file tells about who trained the network, where its own tensors do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// There were MoCo-v3's two encoders.
    MocoV3,
    /// There was MAE's decoder.
    Mae,
}

/// The tensors of one transformer, each with its name behind everything that wraps the transformer.
#[derive(Debug)]
pub struct Group<'a> {
    pub naming: &'static Naming,
    pub origin: Option<Origin>,
    pub tensors: Vec<(String, StoredTensor<'a>)>,
}

/// Why no transformer could be chosen.
#[derive(Debug)]
pub enum NoGroup {
    /// There is none among `count` tensors; one of them, if there are any.
    None { count: usize, found: Option<String> },
    /// There are several, and nothing says which is meant.
    Several(Vec<String>),
}

impl<'a> Group<'a> {
    /// The transformer among the tensors of a file, or the one that is usually meant of several: the teacher rather than
    /// the student, an average over the training rather than its last step, what MoCo-v3 trains rather than its average.
    pub fn choose(stored: Vec<StoredTensor<'a>>) -> Result<Group<'a>, NoGroup> {
        let names: Vec<String> = stored.iter().map(|tensor| without_transparent(&tensor.name)).collect();
        // A transformer is where its patch embedding is.
        let starts: HashSet<&str> =
            names.iter().flat_map(|name| NAMINGS.map(|naming| before(name, naming.patch_weight))).flatten().collect();
        let start_of = |name: &str| {
            let ends = name.match_indices('.').map(|(at, _)| at + 1).rev().chain([0]);
            ends.map(|end| &name[..end]).find_map(|start| starts.get(start)).map(|start| start.len())
        };
        if starts.is_empty() {
            let found = names.iter().find(|name| name.contains("patch_embed")).or(names.first()).cloned();
            return Err(NoGroup::None { count: names.len(), found });
        }
        let has_decoder =
            names.iter().any(|name| name.split('.').any(|part| ["decoder_embed", "decoder_pos_embed"].contains(&part)));
        let mut groups: BTreeMap<&str, Vec<(String, StoredTensor)>> = BTreeMap::new();
        for (name, tensor) in names.iter().zip(stored) {
            if let Some(length) = start_of(name) {
                groups.entry(&name[..length]).or_default().push((name[length..].to_string(), tensor));
            }
        }
        let naming_of = |tensors: &[(String, StoredTensor)]| {
            let patched = NAMINGS.into_iter().filter(|naming| has(tensors, |name| name == naming.patch_weight));
            let patched: Vec<&Naming> = patched.collect();
            let evident = patched.iter().find(|naming| has(tensors, |name| naming.has_evidence(name)));
            (*evident.unwrap_or(&patched[0]), evident.is_some())
        };
        let with_blocks: HashSet<&str> =
            groups.iter().filter(|(_, tensors)| naming_of(tensors).1).map(|(start, _)| *start).collect();
        let mut candidates: Vec<&str> =
            groups.keys().copied().filter(|start| with_blocks.is_empty() || with_blocks.contains(start)).collect();
        candidates.sort_by_key(|start| preference(start));
        if let [first, second, ..] = candidates[..]
            && preference(first) == preference(second)
        {
            let names = candidates.iter().take(5).map(|start| start.trim_end_matches('.').to_string());
            return Err(NoGroup::Several(names.collect()));
        }
        let start = candidates[0];
        let tensors = groups.remove(start).unwrap_or_default();
        let is_contrastive = start.split('.').any(|part| ["base_encoder", "momentum_encoder"].contains(&part));
        let origin = if is_contrastive { Some(Origin::MocoV3) } else { has_decoder.then_some(Origin::Mae) };
        Ok(Group { naming: naming_of(&tensors).0, origin, tensors })
    }
}

fn has(tensors: &[(String, StoredTensor)], is: impl Fn(&str) -> bool) -> bool {
    tensors.iter().any(|(name, _)| is(name))
}

/// What stands before `end` in a name, with its dot.
fn before<'n>(name: &'n str, end: &str) -> Option<&'n str> {
    name.strip_suffix(end).filter(|start| start.is_empty() || start.ends_with('.'))
}

/// A name without what parallel, compiled and checkpointed modules put into names at any place.
fn without_transparent(name: &str) -> String {
    const TRANSPARENT: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
    let parts: Vec<&str> = name.split('.').filter(|part| !TRANSPARENT.contains(part)).collect();
    parts.join(".")
}

/// What is preferred comes first; equal where nothing tells.
fn preference(start: &str) -> (usize, usize) {
    const FIRST: [&str; 4] = ["teacher", "ema", "target_encoder", "base_encoder"];
    const LAST: [&str; 3] = ["student", "momentum_encoder", "momentum"];
    const CONTAINERS: [&str; 5] = ["", "state_dict", "model", "model_state_dict", "model_state"];
    let place = |words: &[&str]| {
        let says = |part: &str, word: &str| part == word || part.split('_').any(|piece| piece == word);
        words.iter().position(|word| start.split('.').any(|part| says(part, word)))
    };
    let rank = place(&FIRST).or_else(|| place(&LAST).map(|at| FIRST.len() + 1 + at)).unwrap_or(FIRST.len());
    let first = start.split('.').next().unwrap_or_default();
    (rank, CONTAINERS.iter().position(|container| *container == first).unwrap_or(CONTAINERS.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(starts: &[&str]) -> Result<String, NoGroup> {
        let names = starts.iter().flat_map(|start| {
            [format!("{start}patch_embed.proj.weight"), format!("{start}blocks.0.norm1.weight"), format!("{start}|")]
        });
        let group = Group::choose(names.map(StoredTensor::without_values).collect())?;
        // The third tensor keeps the whole name it had.
        Ok(group.tensors.iter().find_map(|(_, tensor)| tensor.name.strip_suffix('|')).unwrap().to_string())
    }

    #[test]
    fn the_transformer_that_is_usually_meant_is_chosen_behind_wrappers_of_any_order() {
        for (starts, expected) in [
            (&[""][..], ""),
            (&["net.trunk.visual."], "net.trunk.visual."),
            (&["student.module.backbone.", "teacher.backbone."], "teacher.backbone."),
            (&["model.student.backbone.", "model.teacher.backbone."], "model.teacher.backbone."),
            (&["state_dict.student_backbone.", "state_dict.teacher_backbone."], "state_dict.teacher_backbone."),
            (
                &["state_dict.module.momentum_encoder.", "state_dict.module.base_encoder."],
                "state_dict.module.base_encoder.",
            ),
            (&["state_dict.", "state_dict_ema."], "state_dict_ema."),
            (&["model.", "state_dict."], "state_dict."),
            (&["", "momentum_encoder."], ""),
            (&["encoder.", "target_encoder.", "predictor_head."], "target_encoder."),
        ] {
            assert_eq!(choose(starts).unwrap(), expected, "{starts:?}");
        }
        let Err(NoGroup::Several(names)) = choose(&["a.", "b.c."]) else { panic!() };
        assert_eq!(names, ["a", "b.c"]);
        assert!(matches!(choose(&[]), Err(NoGroup::None { count: 0, found: None })));
    }

    #[test]
    fn the_rest_of_a_file_tells_who_trained_it() {
        let origin = |names: &[&str]| {
            let stored = names.iter().map(|name| StoredTensor::without_values(name.to_string()));
            Group::choose(stored.collect()).unwrap().origin
        };
        assert_eq!(origin(&["module.base_encoder.patch_embed.proj.weight"]), Some(Origin::MocoV3));
        assert_eq!(origin(&["patch_embed.proj.weight", "decoder_pos_embed"]), Some(Origin::Mae));
        let vit = "vit.embeddings.patch_embeddings.projection.weight";
        assert_eq!(origin(&[vit, "decoder.decoder_embed.weight"]), Some(Origin::Mae));
        assert_eq!(origin(&[vit, "decoder.0.weight"]), None);
    }
}
