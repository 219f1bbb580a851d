"""Collections on a cluster of machines. By Ray Data: what it reads (folders, Parquet, WebDataset, object storage) goes in, and ``run_plan``
does the shards of a plan on a common file system, with the files of one run.

>>> import ray
>>> from deepcut_vision.ray import segment_dataset
>>> images = ray.data.read_binary_files("s3://bucket/photographs", include_paths=True)
>>> segment_dataset(images, model, column="bytes").write_parquet("s3://bucket/masks")

A column of images holds the bytes of files (also as Hugging Face keeps them, ``{"bytes": …, "path": …}``), arrays, or paths that all
nodes see. Every row of a dataset has a row in the result; of an image that cannot be used, ``status`` is ``skipped`` and ``reason`` says
why. What a node that is lost was doing, Ray does again elsewhere, with the same result.

Needs the package ray with its data library (``pip install "ray[data]"``).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from . import _engine
from ._clusters import Clusters
from ._errors import Error, UsageError
from ._images import given
from ._models import Features, Model, PerImage, train_from, training_options
from ._segmentation import Segmentation, Skipped

try:
    import pyarrow
    import ray
    import ray.data
except ImportError as missing:
    raise ImportError('deepcut_vision.ray needs the package ray: pip install "ray[data]"') from missing

from ._ray_plans import run_plan  # noqa: E402  (it needs ray)

__all__ = ["cluster", "features_dataset", "run_plan", "segment_dataset", "train_distributed"]

#: How many actors: a number, or the least and the most of a pool that grows.
Concurrency = Union[int, tuple[int, int]]


def segment_dataset(
    dataset: ray.data.Dataset,
    model: Union[Model, PerImage],
    *,
    column: str = "image",
    masks: bool = True,
    keep_image: bool = False,
    batch_size: int = 16,
    concurrency: Concurrency = 1,
    num_cpus: float = 1,
) -> ray.data.Dataset:
    """Segments the images in ``column`` by ``concurrency`` actors, each of which holds the model on ``num_cpus`` processors.

    The result has the dataset's other columns, and ``status`` (``done``, ``one_cluster``, ``skipped``), ``reason``, ``width``, ``height``,
    ``box`` (left, top, right, bottom), ``foreground_area_px``, ``confidence``, ``remarks`` and ``objects``, which is JSON: a list with
    ``label``, ``name``, ``box``, ``area``, ``confidence`` and ``rle``. With ``masks`` also ``mask``, the bytes of the program's mask row by row:
    ``numpy.frombuffer(row["mask"], "uint8").reshape(row["height"], row["width"])``. Weights that the model needs must be on every node.
    """
    return _by_actors(dataset, _Segmenter, (model, column, masks, keep_image), batch_size, concurrency, num_cpus)


def features_dataset(
    dataset: ray.data.Dataset,
    features: Features,
    *,
    column: str = "image",
    keep_image: bool = False,
    batch_size: int = 32,
    concurrency: Concurrency = 1,
    num_cpus: float = 1,
) -> ray.data.Dataset:
    """Describes the images in ``column``: the dataset's other columns, ``vector`` ``[D]`` float32, ``status`` and ``reason``.

    An image that cannot be used (``status`` ``skipped``) has no vector.
    """
    return _by_actors(dataset, _Describer, (features, column, keep_image), batch_size, concurrency, num_cpus)


def cluster(
    dataset: ray.data.Dataset, *, column: str = "vector", **parameters: Any
) -> tuple[Clusters, ray.data.Dataset]:
    """Groups the vectors in ``column``: they come to this node, where they are grouped.

    ``parameters`` are those of ``Clusters``. Gives the groups and the dataset with ``cluster`` and ``cluster_confidence``, which rows without a
    vector do not have. Vectors take 4 · D bytes each on this node.
    """
    gathered = [_vectors(table, column) for table in _tables(dataset, column)]
    if not gathered:
        raise UsageError("the dataset is empty; there is nothing to group")
    vectors = np.concatenate([part[usable] for part, usable in gathered])
    # Ray promises no order of rows, and groups depend on it.
    vectors = vectors[np.lexsort(vectors.T[::-1])]
    clusters = Clusters(**parameters).fit(vectors)
    shared = ray.put(clusters)

    def join(table: pyarrow.Table) -> pyarrow.Table:
        vectors, usable = _vectors(table, column)
        labels, confidences = np.zeros(len(usable), np.int64), np.zeros(len(usable))
        if usable.any():
            labels[usable], confidences[usable] = ray.get(shared).memberships(vectors[usable])
        table = table.append_column("cluster", pyarrow.array(labels, mask=~usable))
        return table.append_column("cluster_confidence", pyarrow.array(confidences, mask=~usable))

    return clusters, dataset.map_batches(join, batch_format="pyarrow")


def train_distributed(
    dataset: ray.data.Dataset,
    *,
    column: str = "image",
    max_images: int = 2000,
    seed: int = 0,
    batch_size: int = 16,
    concurrency: Concurrency = 1,
    num_cpus: float = 1,
    **arguments: Any,
) -> Model:
    """Trains one network on a random sample of the images in ``column``: it is chosen and described on all nodes, and one of them learns.

    A few thousand images determine a network of this size, however large the collection. The sample follows from the images' content
    and ``seed``, not from the nodes or the order of rows. ``concurrency`` actors hold the backbone and describe the sample, which is most of
    the work where the backbone is a transformer. At most ``max_images`` images, as they are kept in the dataset, and their features, which lie in
    a temporary folder there (1 to 4 MB each of a transformer), come to the trainer. Actors and trainer have ``num_cpus`` processors each.

    ``arguments`` are those of ``train``, which gives the same network of the same images in the same order. Raises ``UsageError`` for an
    empty dataset or a wrong argument, and what ``train`` raises.
    """
    if max_images < 1:
        raise UsageError(f"`max_images` is a number from 1 on, not {max_images}")
    if "progress" in arguments:
        raise UsageError("`progress` cannot be called on another node; leave it out")
    file, chosen = training_options(seed=seed, **{"threads": max(1, int(num_cpus)), **arguments})
    count = dataset.count()
    if count == 0:
        raise UsageError("the dataset is empty; there is nothing to learn from")
    # Keys are uniform, so that a few more than wanted lie below this share of them; of those the smallest are taken.
    share = (max_images + 6 * max_images**0.5 + 10) / count

    most = int(min(share, 1.0) * 2**63)

    def keyed(table: pyarrow.Table) -> pyarrow.Table:
        images = _images(table, column)
        keys = [_key(image, seed) for image in images]
        is_chosen = [image is not None and key <= most for image, key in zip(images, keys)]
        return table.append_column("__key", pyarrow.array(keys, pyarrow.int64())).filter(pyarrow.array(is_chosen, pyarrow.bool_()))

    keys = dataset.select_columns([column]).map_batches(keyed, batch_format="pyarrow")
    sample = keys.sort("__key").limit(max_images)
    described = _by_actors(sample, _GraphMaker, (file, chosen, column), batch_size, concurrency, num_cpus)
    learn = ray.remote(_learn).options(num_cpus=num_cpus)
    try:
        # The actors have ended by then and leave their processors to the trainer.
        return ray.get(learn.remote(described.materialize(), column, file, chosen))
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Error) else error) from error


def _by_actors(
    dataset: ray.data.Dataset, actor: Any, arguments: tuple[Any, ...], batch_size: int, concurrency: Concurrency, num_cpus: float
) -> ray.data.Dataset:
    """What actors make of the batches of a dataset. Ray Data begins one that is lost with its node anew on another, and does its batch again."""
    if isinstance(concurrency, int):
        pool = ray.data.ActorPoolStrategy(size=concurrency)
    else:
        least, most = concurrency
        pool = ray.data.ActorPoolStrategy(min_size=least, max_size=most)
    return dataset.map_batches(
        actor,
        fn_constructor_args=arguments,
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=num_cpus,
    )


def _learn(described: ray.data.Dataset, column: str, file: Optional[str], chosen: dict[str, Any]) -> Model:
    """Trains on what ``_GraphMaker`` gave."""
    images: list[tuple[int, Any]] = []
    with tempfile.TemporaryDirectory(prefix="deepcut-") as cache:
        for table in described.iter_batches(batch_size=None, batch_format="pyarrow"):
            images.extend(zip(_values(table, "__key"), _images(table, column)))
            for name, graph in zip(_values(table, "__name"), _values(table, "__graph")):
                if name is not None:
                    path = Path(cache, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(graph)
        # In the order of the sample, which Ray does not keep.
        images.sort(key=lambda keyed: keyed[0])
        return train_from([image for _, image in images], file, chosen, cache=cache)


def _key(image: Any, seed: int) -> int:
    """A number from 0 to 2⁶³ − 1 that follows from an image's content."""
    if isinstance(image, np.ndarray):
        content = np.ascontiguousarray(image).tobytes()
    else:
        content = image if isinstance(image, bytes) else str(image).encode()
    digest = hashlib.blake2b(content, digest_size=8, salt=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little") >> 1


def _tables(dataset: ray.data.Dataset, column: str) -> Iterator[pyarrow.Table]:
    """The rows of one column, a table after the other."""
    return iter(dataset.select_columns([column]).iter_batches(batch_size=None, batch_format="pyarrow"))


def _values(table: pyarrow.Table, column: str) -> list[Any]:
    if column not in table.column_names:
        raise UsageError(f"there is no column {column}; there are {', '.join(table.column_names)}")
    values: list[Any] = []
    for chunk in table.column(column).chunks:
        # Arrays of Ray are a type of their own.
        is_array = isinstance(chunk.type, pyarrow.BaseExtensionType)
        values.extend(chunk.to_numpy(zero_copy_only=False) if is_array else chunk.to_pylist())
    return values


def _images(table: pyarrow.Table, column: str) -> list[Any]:
    """The images of a column: bytes, arrays or paths, and ``None`` where there is none."""
    values = _values(table, column)
    return [_of_mapping(value) if isinstance(value, Mapping) else value for value in values]


def _of_mapping(value: Mapping[str, Any]) -> Any:
    content = value.get("bytes")
    return value.get("path") if content is None else content


def _vectors(table: pyarrow.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of a column, ``[N, D]`` float32, and which of them are there and finite, ``[N]``."""
    values = [None if value is None else np.asarray(value, np.float32) for value in _values(table, column)]
    widths = {value.shape for value in values if value is not None}
    if len(widths) > 1 or any(len(shape) != 1 for shape in widths):
        raise UsageError(f"the vectors in {column} have several shapes: {sorted(widths)}; give [D] for every row")
    missing = np.full(next(iter(widths), (0,)), np.nan, np.float32)
    vectors = np.stack([missing if value is None else value for value in values]) if values else missing.reshape(0, -1)
    usable = np.array([value is not None for value in values], bool) & np.isfinite(vectors).all(axis=1)
    return vectors, usable


def _extended(table: pyarrow.Table, column: str, keep_image: bool, rows: list[dict[str, Any]], types: Any) -> pyarrow.Table:
    """A table with further columns, which have one type also where all of them are empty."""
    if not keep_image:
        table = table.drop_columns([column])
    for name, kind in types.items():
        if name in table.column_names:
            raise UsageError(f"the dataset has a column {name} already, as the result has; rename it")
        table = table.append_column(name, pyarrow.array([row.get(name) for row in rows], kind))
    return table


class _Segmenter:
    """An actor with a model."""

    def __init__(self, model: Any, column: str, masks: bool, keep_image: bool) -> None:
        self._model = model
        self._column, self._masks, self._keep_image = column, masks, keep_image

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        found = self._model.segment_batch(_images(table, self._column), errors="skip")
        rows = [{**_row(one), "mask": one.mask.tobytes() if one else None} for one in found]
        types = {**_TYPES, "mask": pyarrow.large_binary()} if self._masks else _TYPES
        return _extended(table, self._column, self._keep_image, rows, types)


class _GraphMaker:
    """An actor with the backbone of a training."""

    def __init__(self, file: Optional[str], chosen: dict[str, Any], column: str) -> None:
        self._maker = _engine.GraphMaker.open(file, chosen)
        self._column = column

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        graphs = self._maker.graphs([given(image) for image in _images(table, self._column)], lambda event: None)
        names, contents = ([graph and graph[at] for graph in graphs] for at in (0, 1))
        table = table.append_column("__name", pyarrow.array(names, pyarrow.string()))
        return table.append_column("__graph", pyarrow.array(contents, pyarrow.large_binary()))


class _Describer:
    """An actor with a backbone."""

    def __init__(self, features: Any, column: str, keep_image: bool) -> None:
        self._features = features
        self._column, self._keep_image = column, keep_image

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        found = self._features.vectors(_images(table, self._column), errors="skip")
        rows = [
            {"status": "skipped", "reason": one.reason} if isinstance(one, Skipped) else {"status": "done", "vector": one}
            for one in found
        ]
        types = {"vector": pyarrow.list_(pyarrow.float32()), "status": pyarrow.string(), "reason": pyarrow.string()}
        return _extended(table, self._column, self._keep_image, rows, types)


_TYPES = {
    "status": pyarrow.string(),
    "reason": pyarrow.string(),
    "width": pyarrow.int64(),
    "height": pyarrow.int64(),
    "box": pyarrow.list_(pyarrow.int64()),
    "foreground_area_px": pyarrow.int64(),
    "confidence": pyarrow.float64(),
    "remarks": pyarrow.string(),
    "objects": pyarrow.large_string(),
}


def _row(found: Union[Segmentation, Skipped]) -> dict[str, Any]:
    if isinstance(found, Skipped):
        return {"status": "skipped", "reason": found.reason}
    listed = [
        {
            "label": one.label,
            "name": one.name,
            "box": one.box,
            "area": one.area,
            "confidence": one.confidence,
            "rle": one.rle,
        }
        for one in found.objects
    ]
    return {
        "status": "done" if found.clusters > 1 else "one_cluster",
        "width": found.width,
        "height": found.height,
        "box": found.box,
        "foreground_area_px": found.area,
        "confidence": found.confidence,
        "remarks": "; ".join(found.remarks) or None,
        "objects": json.dumps(listed),
    }
