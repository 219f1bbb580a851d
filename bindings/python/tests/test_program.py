"""What Python gives is what the program writes."""

import json
import pickle
import shutil

import numpy as np
import pytest
from conftest import CHECKPOINT, TINY, TINY_WEIGHTS
from PIL import Image

import deepcut_vision


def odd_pictures(photograph, folder):
    """Pictures that are not read plainly: turned by EXIF, 16 bits, without data at an edge, transparent, two frames."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph).save(folder / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(photograph[:, :, 1].astype(np.uint16) * 257).save(folder / "wide.png")
    edge = photograph.copy()
    edge[:, : edge.shape[1] // 5] = 0
    Image.fromarray(edge).save(folder / "edge.png")
    opacity = np.full(photograph.shape[:2], 255, np.uint8)
    opacity[:40] = 0
    Image.fromarray(np.dstack([photograph, opacity])).save(folder / "transparent.png")
    frames = [Image.fromarray(photograph), Image.fromarray(photograph[::-1].copy())]
    frames[0].save(folder / "frames.tif", save_all=True, append_images=frames[1:])
    return folder


def results(out):
    """The program's lines and masks by the names of the images."""
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    return {
        line["path"]: (line, np.asarray(Image.open(out / "masks" / (line["path"].rsplit(".", 1)[0] + ".png"))))
        for line in lines
    }


def assert_same(found, line, mask):
    assert found.mask.dtype == np.uint8
    np.testing.assert_array_equal(found.mask, mask)
    assert (found.width, found.height, found.area) == (line["width"], line["height"], line["foreground_area_px"])
    box = line["box"] and [line["box"][0], line["box"][1], line["box"][0] + line["box"][2], line["box"][1] + line["box"][3]]
    assert (found.box and list(found.box), found.confidence) == (box, line["confidence"])
    assert found.orientation == line.get("orientation", 1)
    assert "; ".join(found.remarks) == (line.get("warning") or "")
    if "objects" in line:
        listed = [(item["label"], item["area_px"], item["confidence"]) for item in line["objects"]]
        assert [(item.label, item.area, item.confidence) for item in found.objects] == listed


def test_masks_of_a_checkpoint_are_the_programs(model, program, pictures, photograph, tmp_path):
    data = odd_pictures(photograph, tmp_path / "data")
    for picture in pictures[:6]:
        shutil.copy(picture, data)
    program("infer", "--ckpt", CHECKPOINT, "--data", data, "--out", tmp_path / "out", "--save", "masks,coco")
    written = results(tmp_path / "out")
    assert len(written) == 11
    batch = model.segment_batch([data / name for name in written])
    for (name, (line, mask)), of_batch in zip(written.items(), batch):
        assert_same(of_batch, line, mask)
        alone = model.segment(data / name)
        np.testing.assert_array_equal(alone.mask, of_batch.mask)
        assert alone.objects == of_batch.objects
        assert_same(model.segment((data / name).read_bytes()), line, mask)
    remarks = {name: bool(line.get("warning")) for name, (line, _) in written.items()}
    assert remarks["edge.png"] and remarks["transparent.png"] and remarks["frames.tif"]


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"train.epochs": 6}, None),
        (TINY, TINY_WEIGHTS),
        ({"regions.labels": 6}, None),
    ],
    ids=["superpixels", "transformer", "regions"],
)
def test_training_gives_the_programs_checkpoint(program, pictures, tmp_path, settings, weights):
    data = tmp_path / "data"
    data.mkdir()
    for picture in pictures[:5]:
        shutil.copy(picture, data)
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    options += ["--weights", weights] if weights else []
    program("train", "--data", data, "--out", tmp_path / "run", "--seed", 3, *options)
    checkpoint = tmp_path / "run" / "best.safetensors"

    events = []
    model = deepcut_vision.train(data, settings=settings, weights=weights, seed=3, progress=events.append)
    model.save(tmp_path / "new" / "python.safetensors")
    assert (tmp_path / "new" / "python.safetensors").read_bytes() == checkpoint.read_bytes()
    assert {"plan", "phase_started", "phase_progress", "phase_finished"} <= {event["kind"] for event in events}

    program("infer", "--ckpt", checkpoint, "--data", data, "--out", tmp_path / "out", *(["--weights", weights] if weights else []))
    opened = deepcut_vision.Model.load(checkpoint, weights)
    assert opened.hash == model.hash
    for name, (line, mask) in results(tmp_path / "out").items():
        assert_same(opened.segment(data / name), line, mask)
        np.testing.assert_array_equal(model.segment(data / name).mask, mask)

    # Of pixels instead of files the same network.
    arrays = [deepcut_vision.read_image(path) for path in sorted(data.iterdir())]
    in_memory = deepcut_vision.train(arrays, settings=settings, weights=weights, seed=3)
    np.testing.assert_array_equal(in_memory.segment(arrays[0]).mask, model.segment(arrays[0]).mask)


@pytest.mark.parametrize("method", ["gnn", "spectral", "slic-cut"])
def test_every_image_by_itself_as_the_program(program, pictures, tmp_path, method):
    data = tmp_path / "data"
    data.mkdir()
    for picture in pictures[:2]:
        shutil.copy(picture, data)
    program("segment", "--data", data, "--out", tmp_path / "out", "--method", method, "--save", "masks,coco")
    per_image = deepcut_vision.PerImage(method)
    written = results(tmp_path / "out")
    for (name, (line, mask)), of_batch in zip(written.items(), per_image.segment_batch([data / name for name in written])):
        assert_same(per_image.segment(data / name), line, mask)
        np.testing.assert_array_equal(of_batch.mask, mask)


@pytest.mark.parametrize("weights", [None, TINY_WEIGHTS], ids=["superpixels", "transformer"])
def test_features_are_the_programs(program, pictures, photograph, tmp_path, weights):
    data = odd_pictures(photograph, tmp_path / "data")
    settings = {} if weights is None else {key: value for key, value in TINY.items() if key.startswith("vit.")}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    options += ["--weights", weights] if weights else []
    features = deepcut_vision.Features(weights=weights, settings=settings)
    files = sorted(data.iterdir())
    for kind in ("images", "patches"):
        out = tmp_path / f"{kind}.npy"
        program("features", "--data", data, "--out", out, "--of", kind, *options)
        written = np.load(out)
        if kind == "images":
            np.testing.assert_array_equal(features.vectors(files), written)
        else:
            nodes = [features.nodes(path) for path in files]
            assert all(one.ndim == (2 if weights is None else 3) for one in nodes)
            np.testing.assert_array_equal(np.concatenate([one.reshape(-1, one.shape[-1]) for one in nodes]), written)
    again = pickle.loads(pickle.dumps(features))
    np.testing.assert_array_equal(again.vectors(files[:1]), features.vectors(files)[:1])
    mixed = features.vectors([files[0], data / "absent.png"], errors="skip")
    assert mixed[0].shape == (features.vectors([]).shape[1],) and not mixed[1]
    with pytest.raises(deepcut_vision.MissingImageError):
        features.vectors([files[0], data / "absent.png"])


def test_the_plot_is_the_programs_overlay(model, program, pictures, tmp_path):
    program("infer", "--ckpt", CHECKPOINT, "--data", pictures[0], "--out", tmp_path, "--save", "overlays")
    (written,) = (tmp_path / "overlays").iterdir()
    plotted = model.segment(pictures[0]).plot()
    with Image.open(written) as overlay:
        assert plotted.size == overlay.size
        difference = np.abs(np.asarray(plotted, dtype=int) - np.asarray(overlay.convert("RGB"), dtype=int))
    assert difference.mean() < 3  # JPEG
    assert max(model.segment(pictures[0]).plot(max_side=64).size) == 64


def test_the_wheel_brings_its_program(program):
    assert program("--version").split()[1] == deepcut_vision.__version__
