"""Images as the engine takes them: a path, the bytes of a file, or a contiguous array ``[height, width, bands]``."""

from __future__ import annotations

import os
from typing import Any, Union

import numpy as np

from ._errors import ImageError, UsageError
from ._options import PathLike

#: What an image may be: a path, the bytes of a file, an array, or a ``PIL.Image.Image``.
Image = Union[PathLike, bytes, np.ndarray, Any]

#: Modes of PIL whose samples are taken as they are.
_PLAIN_MODES = {"L", "LA", "RGB", "RGBA", "I;16", "F"}


def given(image: Image) -> Union[str, bytes, np.ndarray]:
    """The image for the engine, without a copy where it is a contiguous array of uint8, uint16 or float32."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if type(image).__module__.partition(".")[0] == "PIL":
        image = _of_pillow(image)
    if not hasattr(image, "__array__"):
        kind = type(image).__name__
        raise UsageError(f"an image is a path, the bytes of a file, an array or a PIL.Image, not {kind}; use numpy.asarray")
    array = np.asarray(image)
    if array.dtype.kind == "f" and array.dtype != np.float32:
        array = array.astype(np.float32)
    if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float32):
        raise UsageError(
            f"an image of {array.dtype} is not read; convert it to uint8 (0 to 255), uint16 or float32 with astype"
        )
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3:
        raise UsageError(f"an image is [height, width] or [height, width, bands], not an array of shape {array.shape}")
    if 0 in array.shape:
        raise ImageError(f"an array of shape {array.shape} holds no pixels; leave it out")
    if array.shape[0] <= 4 < array.shape[2]:
        raise UsageError(
            f"an array of shape {array.shape} has its bands first; give numpy.moveaxis(image, 0, -1)"
        )
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _of_pillow(image: Any) -> np.ndarray:
    """The samples of a picture of PIL, which stays as it lies: its EXIF orientation is not applied."""
    if image.mode not in _PLAIN_MODES:
        is_transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
        if image.mode == "I":
            raise UsageError("a PIL.Image of mode I is not read; convert it to mode L or I;16")
        image = image.convert("RGBA" if is_transparent else "RGB")
    return np.asarray(image)
