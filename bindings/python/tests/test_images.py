"""Images of every kind, good and bad."""

import os

import numpy as np
import pytest
from conftest import IMAGES
from PIL import Image

import deepcut_vision
from deepcut_vision import ImageError, MissingImageError, Skipped, UsageError


def test_the_same_pixels_give_the_same_mask_however_they_come(model, photograph):
    expected = model.segment(photograph).mask
    assert 0 < np.count_nonzero(expected) < expected.size
    read_only = photograph.copy()
    read_only.flags.writeable = False
    opaque = np.dstack([photograph, np.full(photograph.shape[:2], 255, np.uint8)])
    wide = np.zeros((*photograph.shape[:2], 6), np.uint8)
    wide[:, :, ::2] = photograph
    for name, image in {
        "read-only": read_only,
        "not contiguous": wide[:, :, ::2],
        "Fortran order": np.asfortranarray(photograph),
        "opaque": opaque,
        "16 bits": photograph.astype(np.uint16) * 257,
        "big-endian": (photograph.astype(np.uint16) * 257).astype(">u2"),
        "float32": photograph.astype(np.float32) / 255,
        "float64": photograph / 255,
        "PIL": Image.fromarray(photograph),
        "PIL RGBA": Image.fromarray(opaque),
    }.items():
        found = model.segment(image)
        np.testing.assert_array_equal(found.mask, expected, err_msg=name)
        assert found.remarks == (), name


def test_grey_is_grey_in_all_channels(model, photograph):
    grey = photograph[:, :, 1]
    expected = model.segment(np.dstack([grey] * 3)).mask
    for image in (grey, grey[:, :, np.newaxis], Image.fromarray(grey), Image.fromarray(grey).convert("P")):
        np.testing.assert_array_equal(model.segment(image).mask, expected)


def test_what_is_no_number_has_no_data(model, photograph):
    image = photograph.astype(np.float32) / 255
    image[:, :60] = np.nan
    found = model.segment(image)
    assert not found.mask[:, :60].any() and found.remarks
    with pytest.raises(ImageError, match="without data"):
        model.segment(np.full((20, 20), np.nan, np.float32))
    # Infinity is a value that the range of the others leaves out.
    image = photograph.astype(np.float32) / 255
    image[3, 3] = np.inf
    assert model.segment(image).mask.shape == image.shape[:2]


BAD = [
    (np.zeros((30, 20, 3), np.int32), UsageError, "astype"),
    (np.zeros((30, 20), bool), UsageError, "astype"),
    (np.zeros((30, 20), complex), UsageError, "astype"),
    (np.zeros((3, 30, 20), np.uint8), UsageError, "moveaxis"),
    (np.zeros((2, 30, 20, 3), np.uint8), UsageError, "shape"),
    (np.zeros(30, np.uint8), UsageError, "shape"),
    (np.zeros((0, 20, 3), np.uint8), ImageError, "no pixels"),
    (np.zeros((20, 20, 0), np.uint8), ImageError, "no pixels"),
    (Image.new("I", (5, 5)), UsageError, "mode"),
    ([[1, 2], [3, 4]], UsageError, "numpy.asarray"),
    (None, UsageError, "path, the bytes"),
    (17, UsageError, "path, the bytes"),
    (b"no image", ImageError, "known format"),
    (b"", ImageError, "empty"),
    (IMAGES / "absent.jpg", MissingImageError, "absent.jpg"),
    (IMAGES, ImageError, "images"),
    (__file__, ImageError, "known format"),
]


@pytest.mark.parametrize(("image", "error", "says"), BAD)
def test_bad_images_are_typed_errors_and_listed_skips(model, photograph, image, error, says):
    with pytest.raises(error, match=says):
        model.segment(image)
    with pytest.raises(error, match=says) as raised:
        model.segment_batch([photograph, image, photograph])
    assert raised.value.index == 1
    found = model.segment_batch([photograph, image, photograph], errors="skip")
    assert [bool(one) for one in found] == [True, False, True]
    assert isinstance(found[1], Skipped) and found[1].index == 1 and found[1].reason and found[1].image is image
    np.testing.assert_array_equal(found[0].mask, found[2].mask)


def test_errors_are_those_that_python_expects():
    assert issubclass(MissingImageError, (FileNotFoundError,)) and issubclass(ImageError, ValueError)
    with pytest.raises(FileNotFoundError):
        deepcut_vision.Model.load("absent.safetensors")
    with pytest.raises(FileNotFoundError):
        deepcut_vision.train("absent-folder")


def test_tiny_images(model):
    for shape in [(1, 1), (1, 1, 3), (1, 40, 3), (40, 1, 4)]:
        assert model.segment(np.full(shape, 90, np.uint8)).mask.shape == shape[:2]


@pytest.mark.skipif(os.name != "posix", reason="names that are no UTF-8 are Unix's")
def test_names_that_are_no_text(model, photograph, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    Image.fromarray(photograph).save(open(path, "wb"), format="png")
    np.testing.assert_array_equal(model.segment(os.fsdecode(path)).mask, model.segment(photograph).mask)


def test_images_are_read_as_the_settings_say(tmp_path):
    bands = np.zeros((8, 8, 5), np.uint16)
    bands[..., 3] = np.arange(64).reshape(8, 8)
    read = deepcut_vision.read_image(bands, {"pixels.bands": [4], "pixels.range": "0..63"})
    assert read.shape == (8, 8, 3) and read.dtype == np.uint8
    assert read[0, 0, 0] == 0 and read[7, 7, 2] == 255
    with pytest.raises(UsageError, match="train.epochs"):
        deepcut_vision.read_image(bands, {"train.epochs": 3})
    with pytest.raises(UsageError, match="pixels"):
        deepcut_vision.read_image(bands, {"pixels.band": 3})
