//! Names of tensors: what the files of each family call them, and what this program does.
//!
//! Canonical names are timm's. Each naming is a table in a file of its own.

mod canonical;
mod group;
mod hugging_face;

pub use group::{Group, NoGroup, Origin};

/// How a file of weights names the tensors of a transformer.
#[derive(Debug)]
pub struct Naming {
    /// For messages.
    pub name: &'static str,
    /// The patch embedding's weight, which tells that and where there is a transformer.
    patch_weight: &'static str,
    /// A tensor of every block by which namings with the same patch embedding are told apart.
    evidence: &'static str,
    /// What stands before the number of a block.
    blocks: &'static [&'static str],
    /// Names outside of blocks and the canonical ones; `*` is `weight` or `bias`.
    outside: &'static [(&'static str, &'static str)],
    /// The same of names within a block.
    inside: &'static [(&'static str, &'static str)],
    /// What features do not need: heads, decoders and what training keeps, and everything below these names.
    ignored: &'static [&'static str],
}

/// All namings; of those with the same patch embedding the first is taken where there is no evidence.
const NAMINGS: [&Naming; 4] = [&canonical::NAMING, &hugging_face::VIT, &hugging_face::DINOV2, &hugging_face::DINOV3];

/// What a tensor's name means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is this canonical tensor, or a part of one (`super::join`).
    Tensor(String),
    /// Features do not need it.
    Ignored,
    /// It may change the result, but is not computed: the file is of another architecture.
    Unknown,
}

impl Naming {
    /// What a name means from which everything before the transformer's own was removed.
    pub fn meaning(&self, name: &str) -> Meaning {
        let of_block = self.blocks.iter().find_map(|blocks| name.strip_prefix(blocks)?.strip_prefix('.'));
        if let Some((index, rest)) = of_block.and_then(block_and_rest) {
            return match renamed(self.inside, rest) {
                Some(rest) => Meaning::Tensor(format!("blocks.{index}.{rest}")),
                None => Meaning::Unknown,
            };
        }
        if let Some(name) = renamed(self.outside, name) {
            return Meaning::Tensor(name);
        }
        let below =
            |ignored: &&str| name.strip_prefix(*ignored).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if name.starts_with("decoder") || self.ignored.iter().any(below) {
            return Meaning::Ignored;
        }
        Meaning::Unknown
    }

    /// Whether a name is that of a block's tensor which only this naming has.
    fn has_evidence(&self, name: &str) -> bool {
        let of_block = self.blocks.iter().find_map(|blocks| name.strip_prefix(blocks)?.strip_prefix('.'));
        of_block.and_then(block_and_rest).is_some_and(|(_, rest)| rest == self.evidence)
    }
}

/// The number of a block and what follows; DINOv2 puts the number of a chunk before it.
fn block_and_rest(name: &str) -> Option<(usize, &str)> {
    let number = |name: &str| -> Option<usize> {
        // Not `+1` or `01`, so that no two names are the same block.
        let number: usize = name.parse().ok()?;
        (number < super::MOST_BLOCKS && number.to_string() == name).then_some(number)
    };
    let (index, rest) = name.split_once('.')?;
    let index = number(index)?;
    match rest.split_once('.').and_then(|(second, rest)| Some((number(second)?, rest))) {
        Some(of_chunk) => Some(of_chunk),
        None => Some((index, rest)),
    }
}

/// The canonical name in a table.
fn renamed(table: &[(&str, &str)], name: &str) -> Option<String> {
    table.iter().find_map(|(from, to)| match from.strip_suffix('*') {
        Some(layer) => {
            let part = name.strip_prefix(layer).filter(|part| ["weight", "bias"].contains(part))?;
            Some(format!("{}{part}", to.trim_end_matches('*')))
        }
        None => (*from == name).then(|| to.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str) -> Meaning {
        Meaning::Tensor(name.to_string())
    }

    #[test]
    fn original_names_and_timms() {
        for (name, expected) in [
            ("blocks.11.mlp.fc2.bias", tensor("blocks.11.mlp.fc2.bias")),
            ("blocks.3.17.ls1.gamma", tensor("blocks.17.ls1.gamma")),
            ("blocks.0.gamma_2", tensor("blocks.0.ls2.gamma")),
            ("storage_tokens", tensor("register_tokens")),
            ("blocks.2.mlp.w2.weight", tensor("blocks.2.mlp.up.weight")),
            ("blocks.2.mlp.w12.weight", tensor("blocks.2.mlp.fc1.weight")),
            ("blocks.0.attn.q_norm.weight", Meaning::Unknown),
            ("blocks.0.attn.relative_position_bias_table", Meaning::Unknown),
            ("blocks.07.norm1.weight", Meaning::Unknown),
            ("blocks.4000000000.norm1.weight", Meaning::Unknown),
            ("blocks.0.norm1.scale", Meaning::Unknown),
            ("dist_token", Meaning::Unknown),
            ("cls_norm.weight", Meaning::Unknown),
            ("patch_embed.backbone.conv1.weight", Meaning::Unknown),
            ("headroom.weight", Meaning::Unknown),
            ("head.weight", Meaning::Ignored),
            ("head.mlp.0.weight", Meaning::Ignored),
            ("mask_token", Meaning::Ignored),
            ("local_cls_norm.bias", Meaning::Ignored),
            ("decoder_pos_embed", Meaning::Ignored),
        ] {
            assert_eq!(canonical::NAMING.meaning(name), expected, "{name}");
        }
    }

    #[test]
    fn hugging_face_names() {
        for (naming, name, expected) in [
            (&hugging_face::VIT, "encoder.layer.0.layernorm_after.bias", tensor("blocks.0.norm2.bias")),
            (&hugging_face::VIT, "encoder.layer.9.attention.attention.key.weight", tensor("blocks.9.attn.k.weight")),
            (&hugging_face::VIT, "layers.9.attention.o_proj.weight", tensor("blocks.9.attn.proj.weight")),
            (&hugging_face::VIT, "layernorm.weight", tensor("norm.weight")),
            (&hugging_face::VIT, "pooler.dense.weight", Meaning::Ignored),
            (&hugging_face::VIT, "embeddings.distillation_token", Meaning::Unknown),
            (&hugging_face::DINOV2, "encoder.layer.1.layer_scale2.lambda1", tensor("blocks.1.ls2.gamma")),
            (&hugging_face::DINOV2, "encoder.layer.1.mlp.weights_in.bias", tensor("blocks.1.mlp.fc1.bias")),
            (&hugging_face::DINOV2, "encoder.layer.1.mlp.up_proj.bias", tensor("blocks.1.mlp.up.bias")),
            (&hugging_face::DINOV3, "layer.1.mlp.gate_proj.bias", tensor("blocks.1.mlp.gate.bias")),
            (&hugging_face::DINOV3, "embeddings.mask_token", Meaning::Ignored),
        ] {
            assert_eq!(naming.meaning(name), expected, "{name}");
        }
    }
}
