"""Writes families/*.safetensors: a small random network of every family of transformers, what it must compute, and its weights under
the names of the family's own code, of timm and of Hugging Face. Nothing is downloaded.

    python tests/golden/families.py        (torch 2.15, timm 1.0.31, transformers 5.24)

The networks are computed here from their public definitions; timm's and Hugging Face's models, which get the same weights,
must agree. Every file holds
    NUMBER                                        pieces of weights; the metadata `namings` says of which pieces, one below the
                                                  other, a naming's tensors consist, and their shapes
    {native,other,stride}.image                   [1, 3, height, width]
    {native,other,stride}.{key,query,value,token} [1 + patches, width] of the last block, the class token first, without
                                                  registers; keys and queries before rotation; channel in head · heads + head
    {native,other,stride}.class                   [width] of the class token after the final normalisation
"""

import json, math, pathlib, tempfile
from dataclasses import dataclass
from functools import partial

import timm, torch, transformers
from safetensors.torch import load_file, save_file
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

WIDTH, DEPTH, HEADS, PATCH, SIDE, HIDDEN, REGISTERS = 32, 2, 2, 4, 4, 64, 3
# DINOv2's rule: two thirds, to the next multiple of 8.
GATED_V2 = (int(HIDDEN * 2 / 3) + 7) // 8 * 8


@dataclass
class Family:
    name: str
    # How positions are fitted to another grid.
    positions: str | None
    fixed: str | None = None
    registers: int = 0
    scaled: bool = False
    gated: int = 0
    rotary: bool = False
    epsilon: float = 1e-6


FAMILIES = [
    Family("dino", "dino"),
    Family("mae", "size", fixed="mae"),
    Family("mocov3", "size", fixed="mocov3"),
    Family("dinov2", "dino", scaled=True),
    Family("dinov2_registers", "antialias", registers=REGISTERS, scaled=True),
    Family("dinov2_gated", "dino", scaled=True, gated=GATED_V2),
    Family("dinov3", None, registers=REGISTERS, scaled=True, rotary=True, epsilon=1e-5),
    Family("dinov3_gated", None, registers=REGISTERS, scaled=True, gated=HIDDEN, rotary=True, epsilon=1e-5),
]


def sine_cosine(kind):
    """[1, 1 + SIDE², WIDTH]: MoCo-v3's build_2d_sincos_position_embedding and MAE's get_2d_sincos_pos_embed; they differ
    in which axis comes first."""
    rows, columns = torch.meshgrid(*[torch.arange(SIDE, dtype=torch.float64)] * 2, indexing="ij")
    first, second = (columns, rows) if kind == "mae" else (rows, columns)
    frequencies = 1 / 10000 ** (torch.arange(WIDTH // 4, dtype=torch.float64) / (WIDTH // 4))
    angles = [axis.flatten()[:, None] * frequencies for axis in (first, second)]
    patches = torch.cat([function(angle) for angle in angles for function in (torch.sin, torch.cos)], 1)
    return torch.cat([torch.zeros(1, WIDTH), patches.float()])[None]


def weights_of(family, generator):
    def random(*shape, deviation=0.15):
        return torch.randn(*shape, generator=generator) * deviation

    w = {"cls_token": random(1, 1, WIDTH, deviation=0.5)}
    if family.positions:
        w["pos_embed"] = sine_cosine(family.fixed) if family.fixed else random(1, 1 + SIDE * SIDE, WIDTH, deviation=0.5)
    if family.registers:
        w["register_tokens"] = random(1, family.registers, WIDTH, deviation=0.5)
    w["patch_embed.proj.weight"] = random(WIDTH, 3, PATCH, PATCH)
    w["patch_embed.proj.bias"] = random(WIDTH)
    for i in range(DEPTH):
        b = f"blocks.{i}."
        for norm in ("norm1", "norm2"):
            w[b + norm + ".weight"], w[b + norm + ".bias"] = 1 + random(WIDTH), random(WIDTH)
        hidden = family.gated or HIDDEN
        for layer, rows, columns in [
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 2 * hidden if family.gated else hidden, WIDTH),
            ("mlp.fc2", WIDTH, hidden),
        ]:
            w[b + layer + ".weight"], w[b + layer + ".bias"] = random(rows, columns, deviation=0.25), random(rows)
        if family.rotary:
            w[b + "attn.qkv.bias"][WIDTH : 2 * WIDTH] = 0
        if family.scaled:
            for scale in ("ls1", "ls2"):
                w[b + scale + ".gamma"] = 0.7 + random(WIDTH)
    w["norm.weight"], w["norm.bias"] = 1 + random(WIDTH), random(WIDTH)
    return w


def fitted_positions(family, positions, rows, columns):
    """[1, 1 + rows · columns, WIDTH]"""
    if rows == columns == SIDE:
        return positions
    grid = positions[:, 1:].reshape(1, SIDE, SIDE, WIDTH).permute(0, 3, 1, 2)
    resize = partial(F.interpolate, grid, mode="bicubic", align_corners=False)
    if family.positions == "dino":
        # DINO, iBOT and DINOv2 without registers: the offset keeps the rounded size from being too small, and shifts.
        grid = resize(scale_factor=((rows + 0.1) / SIDE, (columns + 0.1) / SIDE))
    elif family.positions == "antialias":
        grid = resize(size=(rows, columns), antialias=True)
    else:
        grid = resize(size=(rows, columns))
    assert grid.shape[2:] == (rows, columns)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, WIDTH)], 1)


def rotation(rows, columns):
    """DINOv3: sine and cosine [rows · columns, head width] of patch centres in [−1, 1]."""
    head = WIDTH // HEADS
    periods = periods_of_rotation()
    centres = [(torch.arange(count) + 0.5) / count * 2 - 1 for count in (rows, columns)]
    places = torch.stack(torch.meshgrid(*centres, indexing="ij"), -1).flatten(0, 1)
    angles = (2 * math.pi * places[:, :, None] / periods).flatten(1, 2).tile(2)
    assert angles.shape[1] == head
    return angles.sin(), angles.cos()


def periods_of_rotation():
    head = WIDTH // HEADS
    return 100.0 ** (2 * torch.arange(head // 4) / (head // 2))


def rotated(tokens, prefix, sine, cosine):
    """Queries or keys [heads, tokens, head width]; the first `prefix` tokens have no place."""
    patches = tokens[:, prefix:]
    first, second = patches.chunk(2, -1)
    patches = patches * cosine + torch.cat([-second, first], -1) * sine
    return torch.cat([tokens[:, :prefix], patches], 1)


def compute(family, w, image, stride):
    patches = F.conv2d(image, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=stride)
    rows, columns = patches.shape[2:]
    x = torch.cat([w["cls_token"], patches.flatten(2).transpose(1, 2)], 1)
    if family.positions:
        x = x + fitted_positions(family, w["pos_embed"], rows, columns)
    x = x[0]
    if family.registers:
        x = torch.cat([x[:1], w["register_tokens"][0], x[1:]])
    prefix = 1 + family.registers
    kept = torch.tensor([0, *range(prefix, len(x))])
    found = {}
    for i in range(DEPTH):
        b = f"blocks.{i}."
        linear = lambda x, layer: F.linear(x, w[b + layer + ".weight"], w[b + layer + ".bias"])
        norm = lambda x, layer: F.layer_norm(x, [WIDTH], w[b + layer + ".weight"], w[b + layer + ".bias"], family.epsilon)
        scale = lambda x, name: x * w[b + name + ".gamma"] if family.scaled else x
        qkv = linear(norm(x, "norm1"), "attn.qkv").reshape(len(x), 3, HEADS, WIDTH // HEADS).permute(1, 2, 0, 3)
        for name, facet in zip(("query", "key", "value"), qkv):
            found[name] = facet[:, kept].permute(1, 2, 0).reshape(len(kept), WIDTH)
        q, k, v = qkv
        if family.rotary:
            turn = rotation(rows, columns)
            q, k = rotated(q, prefix, *turn), rotated(k, prefix, *turn)
        attention = (q @ k.transpose(1, 2) / math.sqrt(WIDTH // HEADS)).softmax(-1) @ v
        x = x + scale(linear(attention.transpose(0, 1).reshape(len(x), WIDTH), "attn.proj"), "ls1")
        y = linear(norm(x, "norm2"), "mlp.fc1")
        if family.gated:
            gate, y = y.chunk(2, -1)
            y = F.silu(gate) * y
        else:
            y = F.gelu(y)
        x = x + scale(linear(y, "mlp.fc2"), "ls2")
    normed = F.layer_norm(x, [WIDTH], w["norm.weight"], w["norm.bias"], family.epsilon)
    return found | {"token": x[kept], "class": normed[0]}, normed


def original(family, w):
    """The names of the families' own code, in their own checkpoints."""
    named = dict(w)
    tiny = torch.full((2, 2), 0.5)
    if family.name == "mae":
        named |= {"mask_token": tiny, "decoder_pos_embed": tiny, "decoder_embed.weight": tiny, "decoder_blocks.0.norm1.bias": tiny}
    if family.name == "mocov3":
        further = {"module.base_encoder.head.0.weight": tiny, "module.predictor.0.weight": tiny}
        return {"module.base_encoder." + name: tensor for name, tensor in named.items()} | further
    if family.name.startswith("dinov2"):
        named["mask_token"] = tiny
    if family.rotary:
        named["storage_tokens"] = named.pop("register_tokens")
        named["mask_token"] = tiny
        named["rope_embed.periods"] = periods_of_rotation()
        for i in range(DEPTH):
            bias = named[f"blocks.{i}.attn.qkv.bias"].clone()
            mask = torch.ones_like(bias)
            mask[WIDTH : 2 * WIDTH] = 0
            # The published files hold what training left there.
            bias[WIDTH : 2 * WIDTH] = math.nan
            named[f"blocks.{i}.attn.qkv.bias"], named[f"blocks.{i}.attn.qkv.bias_mask"] = bias, mask
    if family.gated:
        for i in range(DEPTH):
            for part in ("weight", "bias"):
                first = named.pop(f"blocks.{i}.mlp.fc1.{part}")
                if family.rotary:
                    named[f"blocks.{i}.mlp.w1.{part}"], named[f"blocks.{i}.mlp.w2.{part}"] = first.chunk(2)
                else:
                    named[f"blocks.{i}.mlp.w12.{part}"] = first
                named[f"blocks.{i}.mlp.w3.{part}"] = named.pop(f"blocks.{i}.mlp.fc2.{part}")
    return named


def in_timm(family, w, image, expected):
    """timm's model with these weights, and that it computes the same."""
    norm = partial(nn.LayerNorm, eps=family.epsilon)
    shape = dict(img_size=SIDE * PATCH, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0, norm_layer=norm)
    named = dict(w)
    if family.rotary:
        model = Eva(
            **shape, global_pool="token", mlp_ratio=HIDDEN / WIDTH, qkv_bias=True, init_values=1e-5, rope_type="dinov3",
            rope_temperature=100, rope_rotate_half=True, use_rot_pos_emb=True, use_abs_pos_emb=False,
            num_reg_tokens=family.registers, use_fc_norm=False, swiglu_mlp=bool(family.gated), swiglu_align_to=8 if family.gated else 0,
        )
        named["reg_token"] = named.pop("register_tokens")
        for i in range(DEPTH):
            b = f"blocks.{i}."
            bias = named.pop(b + "attn.qkv.bias")
            named[b + "attn.q_bias"], named[b + "attn.v_bias"] = bias[:WIDTH], bias[2 * WIDTH :]
            named[b + "gamma_1"], named[b + "gamma_2"] = named.pop(b + "ls1.gamma"), named.pop(b + "ls2.gamma")
            for part in ("weight", "bias") if family.gated else ():
                halves = named.pop(b + f"mlp.fc1.{part}").chunk(2)
                named[b + f"mlp.fc1_g.{part}"], named[b + f"mlp.fc1_x.{part}"] = halves
    else:
        gated = dict(mlp_ratio=2 * family.gated / WIDTH, mlp_layer=timm.layers.SwiGLUPacked, act_layer=nn.SiLU)
        model = VisionTransformer(
            **shape, init_values=1e-5 if family.scaled else None, reg_tokens=family.registers, no_embed_class=family.registers > 0,
            **(gated if family.gated else dict(mlp_ratio=HIDDEN / WIDTH)),
        )
        if family.registers:
            # timm's conversion puts the class token's position into the token.
            named["reg_token"] = named.pop("register_tokens")
            positions = named["pos_embed"]
            named["cls_token"], named["pos_embed"] = named["cls_token"] + positions[:, :1], positions[:, 1:]
    model.load_state_dict(named)
    agree(model.eval().forward_features(image)[0], expected, f"{family.name} in timm")
    return model.state_dict()


def in_hugging_face(family, w, image, expected):
    """The names of the published files and those in memory, and that transformers reads the first and computes the same."""
    shape = dict(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=HIDDEN, image_size=SIDE * PATCH,
        patch_size=PATCH, layer_norm_eps=family.epsilon,
    )
    scaled = dict(mlp_ratio=HIDDEN // WIDTH, use_swiglu_ffn=bool(family.gated))
    further = {}
    if family.name == "mae":
        config = transformers.ViTMAEConfig(
            **shape, mask_ratio=0.0, decoder_hidden_size=4, decoder_num_attention_heads=1, decoder_num_hidden_layers=1,
            decoder_intermediate_size=4,
        )
        model, prefix = transformers.ViTMAEForPreTraining(config), "vit."
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            saved = load_file(f"{folder}/model.safetensors")
        further = {name: tensor for name, tensor in saved.items() if name.startswith("decoder.")}
        # Only their names matter.
        further = {
            name: torch.full_like(tensor, 0.5)
            for name, tensor in further.items()
            if tensor.numel() <= 16 or "decoder_embed" in name
        }
    elif family.rotary:
        config = transformers.DINOv3ViTConfig(
            **shape, num_register_tokens=family.registers, use_gated_mlp=bool(family.gated),
            hidden_act="silu" if family.gated else "gelu",
        )
        kind, prefix = transformers.DINOv3ViTModel, ""
    elif family.registers:
        config = transformers.Dinov2WithRegistersConfig(**shape, **scaled, num_register_tokens=family.registers)
        kind, prefix = transformers.Dinov2WithRegistersModel, ""
    elif family.scaled:
        config, kind, prefix = transformers.Dinov2Config(**shape, **scaled), transformers.Dinov2Model, ""
    else:
        config, kind, prefix = transformers.ViTConfig(**shape), transformers.ViTModel, ""
    if family.name == "mae":
        kind = transformers.ViTMAEForPreTraining

    patch = "embeddings.patch_embeddings" + ("" if family.rotary else ".projection")
    named = {"embeddings.cls_token": w["cls_token"]}
    if family.positions:
        named["embeddings.position_embeddings"] = w["pos_embed"]
    if family.registers:
        named["embeddings.register_tokens"] = w["register_tokens"]
    for part in ("weight", "bias"):
        named[f"{patch}.{part}"] = w[f"patch_embed.proj.{part}"]
        named[("norm" if family.rotary else "layernorm") + f".{part}"] = w[f"norm.{part}"]
    for i in range(DEPTH):
        b, e = f"blocks.{i}.", f"layer.{i}." if family.rotary else f"encoder.layer.{i}."
        for part in ("weight", "bias"):
            names = [f"attention.{n}_proj" for n in "qkv"] if family.rotary else [f"attention.attention.{n}" for n in ("query", "key", "value")]
            for n, third in zip(names, w[b + f"attn.qkv.{part}"].chunk(3)):
                if not (family.rotary and part == "bias" and "k_proj" in n):
                    named[e + f"{n}.{part}"] = third
            named[e + ("attention.o_proj." if family.rotary else "attention.output.dense.") + part] = w[b + f"attn.proj.{part}"]
            first, second = w[b + f"mlp.fc1.{part}"], w[b + f"mlp.fc2.{part}"]
            if family.rotary:
                if family.gated:
                    named[e + f"mlp.gate_proj.{part}"], first = first.chunk(2)
                named[e + f"mlp.up_proj.{part}"], named[e + f"mlp.down_proj.{part}"] = first, second
            elif family.gated:
                named[e + f"mlp.weights_in.{part}"], named[e + f"mlp.weights_out.{part}"] = first, second
            elif family.scaled:
                named[e + f"mlp.fc1.{part}"], named[e + f"mlp.fc2.{part}"] = first, second
            else:
                named[e + f"intermediate.dense.{part}"], named[e + f"output.dense.{part}"] = first, second
            norms = ("norm1", "norm2") if family.scaled else ("layernorm_before", "layernorm_after")
            for ours, theirs in zip(("norm1", "norm2"), norms):
                named[e + f"{theirs}.{part}"] = w[b + f"{ours}.{part}"]
        if family.scaled:
            named[e + "layer_scale1.lambda1"], named[e + "layer_scale2.lambda1"] = w[b + "ls1.gamma"], w[b + "ls2.gamma"]
    named = {prefix + name: tensor.contiguous() for name, tensor in named.items()} | further
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        save_file(named, f"{folder}/model.safetensors", metadata={"format": "pt"})
        model, report = kind.from_pretrained(folder, output_loading_info=True)
        absent = [name for name in report["missing_keys"] if not any(word in name for word in ("pooler", "mask_token", "decoder"))]
        assert not absent and not report["unexpected_keys"], (family.name, absent, report["unexpected_keys"])
    encoder = (model.vit if family.name == "mae" else model).eval()
    found = encoder(image, noise=torch.arange(SIDE * SIDE)[None].float()) if family.name == "mae" else encoder(image)
    agree(found.last_hidden_state[0], expected, f"{family.name} in transformers")
    memory = {name: tensor for name, tensor in model.state_dict().items() if not any(word in name for word in ("decoder", "pooler"))}
    return named, memory


def agree(found, expected, what):
    worst = (found - expected).abs().max().item()
    print(f"{what}: {worst:.1e}")
    assert worst < 2e-5, what


class Pieces:
    """Tensors cut so that no number is stored twice."""

    def __init__(self):
        self.pieces, self.places = [], {}

    def place(self, tensor):
        return self.places.get(tensor.contiguous().numpy().tobytes())

    def cut(self, tensor):
        for count in (1, 2, 3):
            if tensor.dim() and tensor.shape[0] % count == 0:
                places = [self.place(part) for part in tensor.chunk(count)]
                if None not in places:
                    return places
        self.places[tensor.contiguous().numpy().tobytes()] = len(self.pieces)
        self.pieces.append(tensor.detach().contiguous().flatten().clone())
        return [len(self.pieces) - 1]


@torch.no_grad()
def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = pathlib.Path(__file__).parent / "families"
    folder.mkdir(exist_ok=True)
    for number, family in enumerate(FAMILIES):
        generator = torch.Generator().manual_seed(number)
        w = weights_of(family, generator)
        native = torch.randn(1, 3, SIDE * PATCH, SIDE * PATCH, generator=generator)
        other = torch.randn(1, 3, 6 * PATCH, 5 * PATCH, generator=generator)
        tensors = {}
        for case, image, stride in [("native", native, PATCH), ("other", other, PATCH), ("stride", native, PATCH // 2)]:
            tensors[f"{case}.image"] = image.clone()
            found, normed = compute(family, w, image, stride)
            tensors |= {f"{case}.{name}": tensor.contiguous() for name, tensor in found.items()}
            if case == "native":
                expected = normed
        published, memory = in_hugging_face(family, w, native, expected)
        namings = {
            "Hugging Face, in memory": memory,
            "Hugging Face": published,
            "timm": in_timm(family, w, native, expected),
            "original": original(family, w),
        }
        pieces = Pieces()
        listed = {
            naming: {name: {"shape": list(tensor.shape), "pieces": pieces.cut(tensor)} for name, tensor in named.items()}
            for naming, named in namings.items()
        }
        tensors |= {str(place): piece for place, piece in enumerate(pieces.pieces)}
        metadata = {"namings": json.dumps(listed, separators=(",", ":"))}
        save_file(tensors, folder / f"{family.name}.safetensors", metadata=metadata)


main()
