"""Scores of masks, boxes and clusterings, by the definitions of the program; ground truth comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from . import _engine
from ._errors import UsageError

__all__ = [
    "adjusted_rand_index",
    "box_iou",
    "f_beta",
    "iou",
    "largest_f_beta",
    "normalised_mutual_information",
    "overlap",
    "pixel_accuracy",
    "purity",
    "region_scores",
]


def overlap(truth: Any, predicted: Any, void: Any = None) -> dict[str, float]:
    """``iou``, ``accuracy``, ``precision``, ``recall`` and ``f_beta`` (β² = 0.3) of a mask, all in [0, 1].

    ``truth``, ``predicted`` and ``void`` are ``[height, width]``; any value but 0 is foreground, and pixels count nowhere where
    ``void`` is not 0. 0 / 0 is 1: nothing to find, nothing found.
    """
    undecided = None if void is None else _mask(void)
    return _engine.overlap(_mask(truth), _mask(predicted), undecided)


def iou(truth: Any, predicted: Any, void: Any = None) -> float:
    """Intersection over union of the foregrounds; see ``overlap``."""
    return overlap(truth, predicted, void)["iou"]


def pixel_accuracy(truth: Any, predicted: Any, void: Any = None) -> float:
    """Share of pixels whose label is right; see ``overlap``."""
    return overlap(truth, predicted, void)["accuracy"]


def f_beta(truth: Any, predicted: Any, void: Any = None) -> float:
    """(1 + β²) · precision · recall / (β² · precision + recall) with β² = 0.3; see ``overlap``."""
    return overlap(truth, predicted, void)["f_beta"]


def largest_f_beta(truths: Sequence[Any], saliencies: Sequence[Any]) -> Optional[float]:
    """The largest F_β over 255 thresholds of saliency maps, from precision and recall averaged over images.

    Both hold an array ``[height, width]`` for every image, saliencies uint8 from 0 to 255. ``None`` without images.
    """
    truths, saliencies = [_mask(truth) for truth in truths], [np.asarray(map_) for map_ in saliencies]
    if len(truths) != len(saliencies):
        raise UsageError(f"there are {len(truths)} ground truths and {len(saliencies)} saliency maps")
    for saliency in saliencies:
        if saliency.dtype != np.uint8 or saliency.ndim != 2:
            raise UsageError("saliency maps are [height, width] of uint8; scale probabilities by 255")
    return _engine.largest_f_beta(truths, [np.ascontiguousarray(saliency) for saliency in saliencies])


def box_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes ``left, top, right, bottom``."""
    return _engine.box_iou([float(value) for value in first], [float(value) for value in second])


def normalised_mutual_information(truth: Any, predicted: Any) -> float:
    """Mutual information / mean of the entropies, in [0, 1], of two labellings ``[N]``."""
    return _engine.normalised_mutual_information(_labels(truth), _labels(predicted))


def adjusted_rand_index(truth: Any, predicted: Any) -> float:
    """Agreement of two labellings ``[N]`` beyond chance, at most 1."""
    return _engine.adjusted_rand_index(_labels(truth), _labels(predicted))


def purity(truth: Any, predicted: Any) -> float:
    """Share of items in the most frequent true class of their cluster; 1 where every item is a cluster."""
    return _engine.purity(_labels(truth), _labels(predicted))


def region_scores(truths: Any, predicted: Any) -> dict[str, float]:
    """The measures of BSDS500 for a segmentation of a whole image.

    ``truths`` is a label map ``[height, width]`` or a list of those of several people; ``predicted`` is one, such as
    ``Segmentation.mask``.
    """
    if not isinstance(truths, (list, tuple)):
        truths = [truths]
    return _engine.region_scores([_label_map(truth) for truth in truths], _label_map(predicted))


def _mask(mask: Any) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise UsageError(f"a mask is [height, width], not an array of shape {mask.shape}")
    return np.ascontiguousarray(mask != 0).view(np.uint8)


def _labels(labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise UsageError(f"labels are [N], not an array of shape {labels.shape}")
    return np.unique(labels, return_inverse=True)[1].astype(np.uint32)


def _label_map(labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise UsageError(f"a label map is [height, width] of whole numbers, not {labels.dtype} of shape {labels.shape}")
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.uint32).max):
        raise UsageError("a label map holds numbers from 0 to 2³² − 1")
    return np.ascontiguousarray(labels, dtype=np.uint32)
