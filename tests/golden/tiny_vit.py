"""Writes the three PyTorch checkpoints of the weight tests, without PyTorch: one transformer of 1 block, width 8.

tiny_vit.pth          a plain state dict, as torch.save writes since 1.6
tiny_vit_nested.pth   the same under `teacher`, names prefixed, one tensor a transposed view, with objects around it
tiny_vit_legacy.pth   the plain state dict as torch.save wrote before 1.6
"""

import argparse, collections, io, math, pathlib, pickle, struct, sys, types, zipfile

WIDTH, PATCH, SIDE, HIDDEN = 8, 4, 2, 16
SHAPES = {
    "cls_token": (1, 1, WIDTH),
    "pos_embed": (1, 1 + SIDE * SIDE, WIDTH),
    "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
    "patch_embed.proj.bias": (WIDTH,),
    "blocks.0.norm1.weight": (WIDTH,),
    "blocks.0.norm1.bias": (WIDTH,),
    "blocks.0.attn.qkv.weight": (3 * WIDTH, WIDTH),
    "blocks.0.attn.qkv.bias": (3 * WIDTH,),
    "blocks.0.attn.proj.weight": (WIDTH, WIDTH),
    "blocks.0.attn.proj.bias": (WIDTH,),
    "blocks.0.norm2.weight": (WIDTH,),
    "blocks.0.norm2.bias": (WIDTH,),
    "blocks.0.mlp.fc1.weight": (HIDDEN, WIDTH),
    "blocks.0.mlp.fc1.bias": (HIDDEN,),
    "blocks.0.mlp.fc2.weight": (WIDTH, HIDDEN),
    "blocks.0.mlp.fc2.bias": (WIDTH,),
    "norm.weight": (WIDTH,),
    "norm.bias": (WIDTH,),
    "head.weight": (3, WIDTH),
}

# Stand-ins under PyTorch's names: pickle records a function by its module and name only.
torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")


def _rebuild_tensor_v2(*arguments):
    raise NotImplementedError


class FloatStorage:
    pass


_rebuild_tensor_v2.__module__, FloatStorage.__module__ = "torch._utils", "torch"
torch.FloatStorage, torch._utils, utils._rebuild_tensor_v2 = FloatStorage, utils, _rebuild_tensor_v2
sys.modules["torch"], sys.modules["torch._utils"] = torch, utils


class Storage:
    def __init__(self, key, values):
        self.key, self.values = str(key), values


class Tensor:
    def __init__(self, storage, shape, strides):
        self.arguments = (storage, 0, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    legacy = False

    def persistent_id(self, value):
        if isinstance(value, Storage):
            identity = ("storage", FloatStorage, value.key, "cpu", len(value.values))
            return identity + (None,) if self.legacy else identity


def pickled(value, legacy=False):
    buffer = io.BytesIO()
    pickler = Pickler(buffer, protocol=2)
    pickler.legacy = legacy
    pickler.dump(value)
    return buffer.getvalue()


def state_dict(prefix="", transposed=()):
    tensors, storages = collections.OrderedDict(), []
    for number, (name, shape) in enumerate(SHAPES.items()):
        count = math.prod(shape)
        values = [0.4 * math.sin(1 + 0.7 * index + 1.3 * number) for index in range(count)]
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        if name in transposed:
            rows, columns = shape
            values = [values[row * columns + column] for column in range(columns) for row in range(rows)]
            strides = (1, rows)
        storage = Storage(number, values)
        storages.append(storage)
        tensors[prefix + name] = Tensor(storage, shape, strides)
    return tensors, storages


def raw(storage):
    return struct.pack(f"<{len(storage.values)}f", *storage.values)


def write_zip(path, root, storages):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        entries = {"data.pkl": pickled(root), "byteorder": b"little"}
        entries |= {f"data/{storage.key}": raw(storage) for storage in storages} | {"version": b"3\n"}
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"{path.stem}/{name}"), data)


def write_legacy(path, root, storages):
    system = dict(protocol_version=1001, little_endian=True, type_sizes=dict(short=2, int=4, long=4))
    parts = [pickled(0x1950A86A20F9469CFC6C), pickled(1001), pickled(system), pickled(root, legacy=True)]
    parts.append(pickled([storage.key for storage in storages]))
    parts += [struct.pack("<q", len(storage.values)) + raw(storage) for storage in storages]
    path.write_bytes(b"".join(parts))


folder = pathlib.Path(__file__).parent
write_zip(folder / "tiny_vit.pth", *state_dict())
write_legacy(folder / "tiny_vit_legacy.pth", *state_dict())
teacher, storages = state_dict("module.backbone.", {"blocks.0.attn.proj.weight"})
checkpoint = {
    "student": {"epoch": 3},
    "args": argparse.Namespace(arch="vit", rate=0.1, none=None),
    "optimizer": {"state": {0: {"step": 5}}, "flags": [True, (1, 2.5), {1, 2}]},
    "teacher": teacher,
}
write_zip(folder / "tiny_vit_nested.pth", checkpoint, storages)
