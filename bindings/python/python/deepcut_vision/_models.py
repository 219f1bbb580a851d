"""Networks trained on a collection, and methods that need no training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional, Union

import numpy as np

from . import _engine
from ._errors import ImageError, UsageError
from ._images import Image, given
from ._options import PathLike, options
from ._progress import Progress, listener
from ._segmentation import Segmentation, Skipped


def _batch(
    call: Callable[..., list[Any]],
    of: Callable[[Any, Image], Any],
    images: Iterable[Image],
    errors: str,
    progress: Progress,
) -> list[Any]:
    """What the engine's ``call`` gives of several images, each through ``of``; ``errors`` as ``segment_batch`` has it."""
    if errors not in ("raise", "skip"):
        raise UsageError(f'`errors` is "raise" or "skip", not {errors!r}')
    if isinstance(images, (str, os.PathLike)):
        raise UsageError("`images` are several; give a list, also of one")
    images = list(images)
    found: list[Any] = [None] * len(images)
    usable, places = [], []
    for index, image in enumerate(images):
        try:
            usable.append(given(image))
            places.append(index)
        except (ImageError, UsageError) as error:
            if errors == "raise":
                error.index = index  # type: ignore[union-attr]
                raise
            found[index] = Skipped(index, str(error), image)
    with listener(progress) as listen:
        try:
            results = call(usable, errors == "raise", listen)
        except ImageError as error:
            if error.index is not None:
                error.index = places[error.index]
            raise
    for index, result in zip(places, results):
        image = images[index]
        found[index] = Skipped(index, result, image) if isinstance(result, str) else of(result, image)
    return found


class _Segments:
    """What all that segments has in common."""

    _engine: Any
    _decoding: str

    def segment(self, image: Image) -> Segmentation:
        """Segments an image.

        ``image`` is a path, the bytes of a file, an array, or a ``PIL.Image.Image``. A file is read as ``deepcut infer`` reads it (upright by its EXIF
        orientation, under limits, places without data outside), and its mask is that of the program to the byte. An array is
        ``[height, width]`` or ``[height, width, bands]`` of uint8, uint16 or float32; bands are red, green and blue, one grey band, or
        with uint8 the same and opacity last. What is NaN has no data. The mask has the height and width of the image.

        Raises ``ImageError`` if the image cannot be used.
        """
        fields = self._engine.segment(given(image))
        return Segmentation._of(fields, image, self._decoding)

    def segment_batch(
        self, images: Iterable[Image], *, errors: str = "raise", progress: Progress = None
    ) -> list[Union[Segmentation, Skipped]]:
        """Segments several images at once, on all threads or in batches on a GPU; the same as one after the other.

        ``errors`` says what becomes of an image that cannot be used: ``"raise"`` raises ``ImageError``, whose ``index`` is the
        image's place; with ``"skip"`` a ``Skipped`` (which is false) stands in its place, and the others are segmented.
        Images of paths are read where they are segmented, so that no more than one per thread is in memory.
        """
        def of(fields: dict[str, Any], image: Image) -> Segmentation:
            return Segmentation._of(fields, image, self._decoding)

        return _batch(self._engine.segment_batch, of, images, errors, progress)


class Model(_Segments):
    """A network that was trained once on a collection, or a code book of regions; ready for any number of images.

    ``train`` makes one and ``Model.load`` opens one. Several threads may use one model.
    """

    def __init__(self, engine: _engine.Model, options: dict[str, Any]) -> None:
        self._engine = engine
        self._options = options
        self._decoding = engine.decoding()

    @classmethod
    def load(
        cls,
        path: PathLike,
        weights: Optional[PathLike] = None,
        *,
        settings: Optional[Mapping[str, Any]] = None,
        device: str = "auto",
        threads: int = 0,
        memory: Optional[int] = None,
        precision: Optional[str] = None,
    ) -> Model:
        """Opens a checkpoint that ``train`` or the program wrote.

        ``weights`` are those of its backbone, a file or a published name; none takes the installed ones. ``settings`` may differ
        from the checkpoint's where they come after the network, such as ``{"refine.method": "bilateral", "objects.instances":
        True}``. ``threads`` 0 is one per core, ``memory`` the most bytes of images being read at a time, ``precision`` of a
        transformer's products ``"f32"`` or ``"bf16"``.
        """
        chosen = options(weights, settings, device, threads, memory, precision)
        return cls(_engine.Model.open(os.fspath(path), chosen), chosen)

    @classmethod
    def from_bytes(cls, data: bytes, weights: Optional[PathLike] = None, **machine: Any) -> Model:
        """The same of a checkpoint's bytes."""
        defaults = {"settings": None, "device": "auto", "threads": 0, "memory": None, "precision": None}
        return cls._of_bytes(data, options(weights, **{**defaults, **machine}))

    @classmethod
    def _of_bytes(cls, data: bytes, chosen: dict[str, Any]) -> Model:
        return cls(_engine.Model.from_bytes(data, chosen), chosen)

    def save(self, path: PathLike) -> None:
        """Writes the checkpoint, which the program reads too; the file is complete, or stays as it was."""
        self._engine.save(os.fspath(path))

    def to_bytes(self) -> bytes:
        """The bytes of the checkpoint; the same model always gives the same."""
        return self._engine.to_bytes()

    @property
    def header(self) -> dict[str, Any]:
        """What the checkpoint says about itself: settings, training curves, backbone."""
        return json.loads(self._engine.header())

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that it was trained with, room by room."""
        return self.header["config"]

    @property
    def verdict(self) -> Optional[tuple[bool, str]]:
        """Whether to trust the network by what was measured while it was trained, and why."""
        return self._engine.verdict()

    @property
    def hash(self) -> str:
        """blake3 of the checkpoint."""
        return self._engine.hash()

    def __reduce__(self) -> tuple[Any, ...]:
        # Weights are opened anew where the copy is made, and must be there.
        return Model._of_bytes, (self.to_bytes(), self._options)

    def __repr__(self) -> str:
        return f"<deepcut_vision.Model {self.hash[:12]}>"


class PerImage(_Segments):
    """Segments images without any training beforehand, every one by itself.

    By default a small network is optimised on the image, as in the paper; ``method="spectral"`` cuts by the eigenvector of the
    normalised cut, and ``"grapl"`` and ``"slic-cut"`` divide the image into regions without a backbone.
    """

    def __init__(
        self,
        method: Optional[str] = None,
        *,
        weights: Optional[PathLike] = None,
        config: Optional[PathLike] = None,
        settings: Optional[Mapping[str, Any]] = None,
        seed: Optional[int] = None,
        device: str = "auto",
        threads: int = 0,
        memory: Optional[int] = None,
        precision: Optional[str] = None,
    ) -> None:
        further = {"segment__method": method, "segment__seed": seed}
        chosen = options(weights, settings, device, threads, memory, precision, **further)
        self._arguments = (None if config is None else os.fspath(config), chosen)
        self.__setstate__(self._arguments)

    def __getstate__(self) -> Any:
        return self._arguments

    def __setstate__(self, arguments: Any) -> None:
        self._arguments = arguments
        self._engine = _engine.PerImage.open(*arguments)
        self._decoding = self._engine.decoding()


class Features:
    """Describes images as ``train`` sees them, and as ``deepcut features`` writes it: by a vision transformer where weights are given
    or installed, else by statistics of superpixels. What ``Clusters`` group.
    """

    def __init__(
        self,
        *,
        weights: Optional[PathLike] = None,
        config: Optional[PathLike] = None,
        settings: Optional[Mapping[str, Any]] = None,
        device: str = "auto",
        threads: int = 0,
        memory: Optional[int] = None,
        precision: Optional[str] = None,
    ) -> None:
        chosen = options(weights, settings, device, threads, memory, precision)
        self.__setstate__((None if config is None else os.fspath(config), chosen))

    def vectors(
        self, images: Iterable[Image], *, errors: str = "raise", progress: Progress = None
    ) -> Union[np.ndarray, list[Union[np.ndarray, Skipped]]]:
        """One vector for every image as a whole, ``[images, channels]`` float32.

        With ``errors="skip"`` a list, with a ``Skipped`` in the place of every image that cannot be used.
        """
        found = _batch(self._engine.vectors, lambda vector, _image: vector, images, errors, progress)
        if errors == "skip":
            return found
        return np.stack(found) if found else np.zeros((0, self._engine.widths()[1]), np.float32)

    def nodes(self, image: Image) -> np.ndarray:
        """The features of every patch of an image, ``[rows, columns, channels]`` float32; of superpixels ``[nodes, channels]``."""
        values, grid = self._engine.nodes(given(image))
        return values if grid is None else values.reshape(*grid, -1)

    def __getstate__(self) -> Any:
        return self._arguments

    def __setstate__(self, arguments: Any) -> None:
        self._arguments = arguments
        self._engine = _engine.Features.open(*arguments)

    def __repr__(self) -> str:
        return f"<deepcut_vision.Features of {self._engine.description()}>"


def train(
    images: Union[PathLike, Iterable[Image]],
    *,
    weights: Optional[PathLike] = None,
    config: Optional[PathLike] = None,
    settings: Optional[Mapping[str, Any]] = None,
    seed: Optional[int] = None,
    device: str = "auto",
    threads: int = 0,
    memory: Optional[int] = None,
    precision: Optional[str] = None,
    progress: Progress = None,
) -> Model:
    """Trains one network on a whole collection of images.

    ``images`` is a folder, a list file or an image, as ``deepcut train --data`` takes it and with the same checkpoint, or several
    images: paths, arrays, ``PIL.Image``. ``weights`` are those of a vision transformer, a file or a published name; without,
    installed ones or superpixels. ``config`` is a TOML file, ``settings`` any setting by its key, ``{"train.epochs": 20}``
    (``deepcut config`` lists them; ``{"regions.labels": 32}`` learns a code book of regions). ``progress`` is a function that is
    called with events, or ``"tqdm"``; an exception in it, and Ctrl-C, stop the training.
    """
    file, chosen = training_options(
        weights=weights,
        config=config,
        settings=settings,
        seed=seed,
        device=device,
        threads=threads,
        memory=memory,
        precision=precision,
    )
    return train_from(images, file, chosen, progress=progress)


def training_options(
    *,
    weights: Optional[PathLike] = None,
    config: Optional[PathLike] = None,
    settings: Optional[Mapping[str, Any]] = None,
    seed: Optional[int] = None,
    device: str = "auto",
    threads: int = 0,
    memory: Optional[int] = None,
    precision: Optional[str] = None,
) -> tuple[Optional[str], dict[str, Any]]:
    """What ``train`` is asked for, as the engine takes it: a configuration, and what differs from it."""
    chosen = options(weights, settings, device, threads, memory, precision, train__seed=seed)
    return None if config is None else os.fspath(config), chosen


def train_from(
    images: Union[PathLike, Iterable[Image]],
    file: Optional[str],
    chosen: dict[str, Any],
    *,
    cache: Optional[str] = None,
    progress: Progress = None,
) -> Model:
    """``train`` with the engine's options, and perhaps a folder in which there are features that a ``GraphMaker`` gave."""
    if isinstance(images, (str, os.PathLike)):
        collection: Any = os.fspath(images)
    else:
        if isinstance(images, np.ndarray) and images.ndim < 4:
            raise UsageError("`images` are several; give a list, also of one")
        collection = [given(image) for image in images]
        if not collection:
            raise UsageError("there are no images to learn from; give one or more")
    with listener(progress) as listen:
        trained = _engine.train(collection, file, chosen, cache, listen)
    # Its settings are the checkpoint's own from now on.
    return Model(trained, {**chosen, "overrides": []})


def read_image(image: Image, settings: Optional[Mapping[str, Any]] = None) -> np.ndarray:
    """Reads an image as the program does: ``[height, width, 3]`` uint8, upright by its EXIF orientation.

    ``settings`` are those of ``pixels``, such as ``{"pixels.bands": [4, 3, 2], "pixels.range": "percentile:2"}``.
    """
    chosen = {}
    for key, value in (settings or {}).items():
        room, _, name = key.partition(".")
        if room != "pixels" or not name:
            raise UsageError(f"{key} has no say in how an image is read; give settings of `pixels`")
        chosen[name] = value
    return _engine.read_image(given(image), json.dumps(chosen))[0]
