//! Names of Hugging Face's transformers.

use super::Naming;

const IGNORED: &[&str] =
    &["pooler", "classifier", "head", "embeddings.mask_token", "dino_head", "lm_head", "cls_classifier"];

/// `ViTModel` and `ViTMAEModel`: plain transformers, DINO, MAE, MSN.
pub const VIT: Naming = Naming {
    name: "Hugging Face's names (vit)",
    patch_weight: "embeddings.patch_embeddings.projection.weight",
    evidence: "layernorm_before.weight",
    blocks: &["encoder.layer"],
    outside: &[
        ("embeddings.cls_token", "cls_token"),
        ("embeddings.position_embeddings", "pos_embed"),
        ("embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"),
        ("layernorm.*", "norm.*"),
    ],
    inside: &[
        ("layernorm_before.*", "norm1.*"),
        ("attention.attention.query.*", "attn.q.*"),
        ("attention.attention.key.*", "attn.k.*"),
        ("attention.attention.value.*", "attn.v.*"),
        ("attention.output.dense.*", "attn.proj.*"),
        ("layernorm_after.*", "norm2.*"),
        ("intermediate.dense.*", "mlp.fc1.*"),
        ("output.dense.*", "mlp.fc2.*"),
    ],
    ignored: IGNORED,
};

/// `Dinov2Model` and `Dinov2WithRegistersModel`.
pub const DINOV2: Naming = Naming {
    name: "Hugging Face's names (dinov2)",
    patch_weight: "embeddings.patch_embeddings.projection.weight",
    evidence: "layer_scale1.lambda1",
    blocks: &["encoder.layer"],
    outside: &[
        ("embeddings.cls_token", "cls_token"),
        ("embeddings.position_embeddings", "pos_embed"),
        ("embeddings.register_tokens", "register_tokens"),
        ("embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"),
        ("layernorm.*", "norm.*"),
    ],
    inside: &[
        ("norm1.*", "norm1.*"),
        ("attention.attention.query.*", "attn.q.*"),
        ("attention.attention.key.*", "attn.k.*"),
        ("attention.attention.value.*", "attn.v.*"),
        ("attention.output.dense.*", "attn.proj.*"),
        ("layer_scale1.lambda1", "ls1.gamma"),
        ("norm2.*", "norm2.*"),
        ("mlp.fc1.*", "mlp.fc1.*"),
        ("mlp.fc2.*", "mlp.fc2.*"),
        // The half that goes through SiLU comes first.
        ("mlp.weights_in.*", "mlp.fc1.*"),
        ("mlp.weights_out.*", "mlp.fc2.*"),
        ("layer_scale2.lambda1", "ls2.gamma"),
    ],
    ignored: IGNORED,
};

/// `DINOv3ViTModel`.
pub const DINOV3: Naming = Naming {
    name: "Hugging Face's names (dinov3_vit)",
    patch_weight: "embeddings.patch_embeddings.weight",
    evidence: "layer_scale1.lambda1",
    blocks: &["layer", "model.layer"],
    outside: &[
        ("embeddings.cls_token", "cls_token"),
        ("embeddings.register_tokens", "register_tokens"),
        ("embeddings.patch_embeddings.*", "patch_embed.proj.*"),
        ("norm.*", "norm.*"),
    ],
    inside: &[
        ("norm1.*", "norm1.*"),
        ("attention.q_proj.*", "attn.q.*"),
        ("attention.k_proj.*", "attn.k.*"),
        ("attention.v_proj.*", "attn.v.*"),
        ("attention.o_proj.*", "attn.proj.*"),
        ("layer_scale1.lambda1", "ls1.gamma"),
        ("norm2.*", "norm2.*"),
        ("mlp.up_proj.*", "mlp.up.*"),
        ("mlp.gate_proj.*", "mlp.gate.*"),
        ("mlp.down_proj.*", "mlp.fc2.*"),
        ("layer_scale2.lambda1", "ls2.gamma"),
    ],
    ignored: IGNORED,
};
