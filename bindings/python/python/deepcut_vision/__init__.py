"""Segments whole collections of images without any labels.

>>> import deepcut_vision
>>> model = deepcut_vision.train("photographs")
>>> found = model.segment("photographs/duck.jpg")
>>> found.mask.shape, found.box, found.confidence
>>> found.plot().save("duck.png")

``train`` makes a ``Model`` of a collection and ``Model.load`` opens one; ``PerImage`` segments without training; ``Features`` describes
images, and ``Clusters`` groups such vectors; ``metrics`` scores what was found. Errors are an ``Error`` each. Warnings of long calls go to the logger
``deepcut_vision``. The package brings the program ``deepcut``, which reads and writes the same files.
"""

from __future__ import annotations

from . import metrics
from ._clusters import Clusters
from ._engine import VERSION as __version__
from ._errors import (
    Error,
    ImageError,
    InputOutputError,
    InterruptedRun,
    MissingFileError,
    MissingImageError,
    NotFittedError,
    UntrustedError,
    UsageError,
)
from ._models import Features, Model, PerImage, read_image, train
from ._segmentation import FoundObject, Label, Segmentation, Skipped

__all__ = [
    "Clusters",
    "Error",
    "Features",
    "FoundObject",
    "ImageError",
    "InputOutputError",
    "InterruptedRun",
    "Label",
    "MissingFileError",
    "MissingImageError",
    "Model",
    "NotFittedError",
    "PerImage",
    "Segmentation",
    "Skipped",
    "UntrustedError",
    "UsageError",
    "__version__",
    "metrics",
    "read_image",
    "train",
]
