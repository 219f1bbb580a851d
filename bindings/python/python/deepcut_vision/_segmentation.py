"""What was found in an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import numpy as np

from . import _engine
from ._errors import UsageError
from ._images import Image, given


class Label(NamedTuple):
    """What a value of the mask means."""

    value: int
    name: str
    #: ``background``, ``object``, ``region``, ``part`` or ``background-part``
    role: str


@dataclass(frozen=True)
class FoundObject:
    """One object, or where objects are not told apart one value of the mask."""

    #: The value of the mask it is listed under.
    label: int
    name: str
    #: Left, top, right and bottom in pixels; the last pixel is included, so that width is right − left.
    box: tuple[int, int, int, int]
    #: Pixels of the object.
    area: int
    #: Mean probability over its pixels that they are what it is, in [0, 1].
    confidence: float
    #: Its mask as COCO's compressed runs: ``{"size": [height, width], "counts": text}``; pycocotools reads it.
    rle: dict[str, Any] = field(repr=False)

    @property
    def mask(self) -> np.ndarray:
        """``[height, width]`` bool, decoded anew at every call."""
        height, width = self.rle["size"]
        return _engine.decode_mask(height, width, self.rle["counts"]).view(bool)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in an image.

    Boxes are ``left, top, right, bottom`` in pixels of the image, the last pixel included (width is right − left).
    """

    #: ``[height, width]`` uint8: 0 is background, the other values are named by ``legend``; the same as the PNG that the program
    #: writes.
    mask: np.ndarray = field(repr=False)
    #: What the values of the mask mean, in order.
    legend: tuple[Label, ...] = field(repr=False)
    #: Every instance, or where instances are not told apart (``objects.instances``) every value in use.
    objects: tuple[FoundObject, ...]
    #: Around the largest connected piece of foreground; ``None`` where there is no object.
    box: Optional[tuple[int, int, int, int]]
    #: Pixels of foreground.
    area: int
    #: Mean probability of foreground over the foreground's pixels, in [0, 1]; ``None`` where there is no object.
    confidence: Optional[float]
    #: The probability of foreground before refinement, float32 in [0, 1], with a cell for every node of the graph: the whole image,
    #: coarser.
    saliency: np.ndarray = field(repr=False)
    #: Clusters in use, background included; 1 where nothing was told apart.
    clusters: int
    #: ``[height, width]`` uint16 with the number of every region, where an image has more regions than ``mask`` has values;
    #: ``legend`` then names these.
    numbered: Optional[np.ndarray] = field(default=None, repr=False)
    #: Correlation clustering only: share of affinities that are not positive.
    negative_share: Optional[float] = None
    #: ``PerImage`` only: the loss before the last step.
    final_loss: Optional[float] = None
    #: What should be known of how the image was read.
    remarks: tuple[str, ...] = ()
    #: The EXIF orientation by which a file was turned upright; 1 where it lay so.
    orientation: int = 1
    #: The image as it was given, for ``plot``: a path, an array, a ``PIL.Image``; no copy.
    image: Any = field(default=None, repr=False)
    _decoding: str = field(default="{}", repr=False)

    @classmethod
    def _of(cls, fields: dict[str, Any], image: Any, decoding: str) -> Segmentation:
        size = list(fields["mask"].shape)
        legend = tuple(Label(*label) for label in fields.pop("legend"))
        names = {label.value: label.name for label in legend}
        objects = tuple(
            FoundObject(label, names.get(label, str(label)), box, area, confidence, {"size": size, "counts": counts})
            for label, box, area, confidence, counts in fields.pop("objects")
        )
        remarks = tuple(fields.pop("remarks"))
        return cls(**fields, legend=legend, objects=objects, remarks=remarks, image=image, _decoding=decoding)

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def foreground(self) -> np.ndarray:
        """``[height, width]`` bool."""
        values = [label.value for label in self.legend if label.role in ("object", "part", "region")]
        if self.numbered is not None:
            return self.numbered > 0
        is_foreground = np.zeros(256, dtype=bool)
        is_foreground[values] = True
        return is_foreground[self.mask]

    @property
    def xyxy(self) -> np.ndarray:
        """``[objects, 4]`` float32."""
        return np.array([found.box for found in self.objects], dtype=np.float32).reshape(-1, 4)

    @property
    def scores(self) -> np.ndarray:
        """``[objects]`` float32: the confidences of the objects."""
        return np.array([found.confidence for found in self.objects], dtype=np.float32)

    @property
    def rle(self) -> list[dict[str, Any]]:
        """The masks of the objects as COCO's compressed runs."""
        return [found.rle for found in self.objects]

    @property
    def masks(self) -> np.ndarray:
        """``[objects, height, width]`` bool, decoded anew at every call."""
        if not self.objects:
            return np.zeros((0, *self.mask.shape), dtype=bool)
        return np.stack([found.mask for found in self.objects])

    def to_dict(self) -> dict[str, Any]:
        """What ``supervision.Detections`` is made of, by its names: ``xyxy``, ``mask``, ``confidence``, ``class_id``, ``data``."""
        return {
            "xyxy": self.xyxy,
            "mask": self.masks,
            "confidence": self.scores,
            "class_id": np.array([found.label for found in self.objects], dtype=int),
            "data": {"class_name": np.array([found.name for found in self.objects], dtype=str)},
        }

    def to_supervision(self) -> Any:
        """The objects as ``supervision.Detections``; needs the package supervision."""
        try:
            from supervision import Detections
        except ImportError as error:
            raise UsageError("to_supervision needs the package supervision; install it, or use to_dict") from error
        return Detections(**self.to_dict())

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """The objects as COCO's annotations: ``bbox`` is x, y, width, height."""
        return [
            {
                "image_id": image_id,
                "category_id": found.label,
                "bbox": [found.box[0], found.box[1], found.box[2] - found.box[0], found.box[3] - found.box[1]],
                "area": found.area,
                "segmentation": found.rle,
                "score": found.confidence,
                "iscrowd": 0,
            }
            for found in self.objects
        ]

    def plot(self, image: Optional[Image] = None, max_side: int = 1024) -> Any:
        """The image with the background dimmed and all foreground tinted and outlined, as a ``PIL.Image.Image``.

        It is scaled so that its longer side has at most ``max_side`` pixels. ``image`` is needed where the segmentation has
        lost its own: after it was pickled.
        """
        try:
            from PIL import Image as pillow
        except ImportError as error:
            raise UsageError("plot needs the package pillow; install it") from error
        image = self.image if image is None else image
        if image is None:
            raise UsageError("the segmentation no longer knows its image; give it to plot")
        mask = self.mask if self.numbered is None else self.numbered
        drawn = _engine.overlay(given(image), mask.astype(np.uint16), max_side, self._decoding)
        return pillow.fromarray(drawn)

    def __getstate__(self) -> dict[str, Any]:
        # A pickled segmentation is as large as its masks, and not its image too.
        return {**self.__dict__, "image": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class Skipped:
    """An image of a batch that could not be used: what stands in the place of its segmentation."""

    #: Its place in the batch, counted from 0.
    index: int
    reason: str
    #: The image as it was given.
    image: Any = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return False
