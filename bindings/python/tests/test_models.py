"""Models as objects of Python: keeping, copying, stopping, threads."""

import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from conftest import CHECKPOINT, REPOSITORY, TINY, TINY_WEIGHTS

import deepcut_vision
from deepcut_vision import Model, UntrustedError, UsageError, metrics


def test_a_model_is_kept_copied_and_described(photograph, tmp_path):
    # As this version writes it: the file may lack what was added since.
    model = Model.from_bytes(Model.load(CHECKPOINT).to_bytes())
    model.save(tmp_path / "copy.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["copy.safetensors"]
    expected = model.segment(photograph)
    copies = [Model.load(tmp_path / "copy.safetensors"), Model.from_bytes(model.to_bytes()), pickle.loads(pickle.dumps(model))]
    for copy in copies:
        assert copy.hash == model.hash and repr(copy) == repr(model)
        np.testing.assert_array_equal(copy.segment(photograph).mask, expected.mask)
    assert model.settings["train"]["seed"] == 0


def test_models_that_cannot_be_used(tmp_path):
    (tmp_path / "damaged").write_bytes(CHECKPOINT.read_bytes()[:-1] + b"\0")
    (tmp_path / "text").write_text("no model")
    for path in (tmp_path / "damaged", tmp_path / "text"):
        with pytest.raises(UntrustedError, match="no usable checkpoint"):
            Model.load(path)
    with pytest.raises(UntrustedError):
        Model.from_bytes(b"")
    # One of an earlier format is read for ever, one of another version refused.
    older = REPOSITORY / "tests" / "golden" / "checkpoint_format_3.safetensors"
    assert Model.load(older).hash
    with pytest.raises(UsageError, match="takes no weights"):
        Model.load(CHECKPOINT, TINY_WEIGHTS)
    with pytest.raises(UsageError, match="train.epochs"):
        Model.load(CHECKPOINT, settings={"train.epochs": 3})
    with pytest.raises(UsageError, match="device"):
        Model.load(CHECKPOINT, device="tpu")
    with pytest.raises(UsageError, match="threads"):
        Model.load(CHECKPOINT, threads=100_000)
    with pytest.raises(OSError):
        Model.load(CHECKPOINT).save("/dev/null/below")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"settings": {"train.epoch": 3}}, "train.epoch"),
        ({"settings": {"train.epochs": "many"}}, "train.epochs"),
        ({"settings": {"train.epochs": object()}}, "train.epochs"),
        ({"settings": ["train.epochs=3"]}, "dict"),
        ({"config": "absent.toml"}, "absent.toml"),
        ({"progress": 3}, "progress"),
        ({"seed": -1}, "seed"),
        ({"precision": "f64"}, "precision"),
    ],
)
def test_wrong_arguments_are_named(photograph, arguments, says):
    with pytest.raises(UsageError, match=says):
        deepcut_vision.train([photograph], **arguments)


def test_collections_without_images(photograph, tmp_path):
    with pytest.raises(UsageError, match="no image"):
        deepcut_vision.train(tmp_path)
    with pytest.raises(UsageError, match="no images"):
        deepcut_vision.train([])
    with pytest.raises(UsageError, match="list"):
        deepcut_vision.train(photograph)


def test_settings_reach_the_engine(photograph):
    nested = {"train": {"epochs": np.int64(2), "held_out": None}, "superpixel.regions": 60}
    events = []
    model = deepcut_vision.train([photograph, photograph[:, ::-1]], settings=nested, seed=9, progress=events.append)
    assert (model.settings["train"]["epochs"], model.settings["train"]["seed"]) == (2, 9)
    assert model.settings["superpixel"]["regions"] == 60
    trusted, why = model.verdict
    assert not trusted and "2 images are too few" in why
    epochs = [event for event in events if event["kind"] == "epoch"]
    assert [event["epoch"] for event in epochs][:2] == [1, 2] and all("held_out_loss" in event for event in epochs)


def test_objects_come_one_by_one(photograph, pictures):
    settings = {"objects.instances": True, "refine.method": "bilateral"}
    model = Model.load(CHECKPOINT, settings=settings)
    path = next(path for path in pictures if "two" in path.name)
    found = model.segment(path)
    assert len(found.objects) > 1
    assert found.masks.shape == (len(found.objects), found.height, found.width)
    np.testing.assert_array_equal(found.masks.any(axis=0), found.foreground)
    for one, mask, (left, top, right, bottom) in zip(found.objects, found.masks, found.xyxy.astype(int)):
        assert one.area == mask.sum() and 0 <= one.confidence <= 1
        rows, columns = np.nonzero(mask)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)
    plain = found.to_dict()
    assert set(plain) == {"xyxy", "mask", "confidence", "class_id", "data"}
    coco = found.to_coco(7)
    assert coco[0]["image_id"] == 7 and coco[0]["bbox"][2] == found.xyxy[0, 2] - found.xyxy[0, 0]
    assert found.saliency.dtype == np.float32 and 0 <= found.saliency.min() <= found.saliency.max() <= 1
    assert metrics.iou(found.mask, found.masks.any(axis=0)) == 1
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.mask, found.mask)
    with pytest.raises(UsageError, match="image"):
        again.plot()
    assert again.plot(path).size == (found.width, found.height)
    with pytest.raises(UsageError, match="own image"):
        found.plot(photograph[:20])


def test_objects_for_supervision(model, pictures):
    supervision = pytest.importorskip("supervision")
    found = model.segment(pictures[0])
    detections = found.to_supervision()
    assert isinstance(detections, supervision.Detections) and len(detections) == len(found.objects)
    np.testing.assert_array_equal(detections.mask, found.masks)
    empty = model.segment(np.full((20, 20, 3), 90, np.uint8))
    assert len(empty.objects) == 0 and len(empty.to_supervision()) == 0 and empty.box is None


def test_the_interpreter_goes_on_while_images_are_segmented(model, pictures):
    counted = [0]
    is_over = threading.Event()

    def count():
        while not is_over.is_set():
            counted[0] += 1
            time.sleep(0.0005)

    counter = threading.Thread(target=count)
    counter.start()
    before = counted[0]
    started = time.perf_counter()
    # One call into the engine, which a held interpreter would make the counter wait for.
    model.segment(np.resize(np.asarray(deepcut_vision.read_image(pictures[0])), (3000, 3000, 3)))
    seconds = time.perf_counter() - started
    done = counted[0] - before
    is_over.set()
    counter.join()
    assert done > 50 * seconds, f"{done} counts in {seconds:.2f} s"


def test_threads_share_a_model(model, pictures):
    expected = [model.segment(path).mask for path in pictures[:4]]
    found = [None] * 4

    def segment(place):
        found[place] = model.segment(pictures[place]).mask

    threads = [threading.Thread(target=segment, args=(place,)) for place in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)


def test_an_exception_in_the_callback_stops_the_training(photograph):
    class Enough(Exception):
        pass

    seen = []

    def progress(event):
        seen.append(event["kind"])
        if event["kind"] == "epoch":
            raise Enough("two is enough")

    with pytest.raises(Enough, match="two is enough"):
        deepcut_vision.train([photograph], settings={"train.epochs": 100_000}, progress=progress)
    assert seen.count("epoch") == 1
    with pytest.raises(Enough):
        model = Model.load(CHECKPOINT)
        model.segment_batch([photograph] * 50, progress=lambda event: (_ for _ in ()).throw(Enough))


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as Unix has them")
def test_control_c_stops_the_training(photograph):
    # What a shell runs in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        started = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            deepcut_vision.train([photograph], settings={"train.epochs": 1_000_000})
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.perf_counter() - started < 20


def test_bars_and_log(photograph, capsys, caplog):
    pytest.importorskip("tqdm")
    settings = {"train.epochs": 2, "superpixel.regions": 60}
    deepcut_vision.train([photograph] * 2, settings=settings, progress="tqdm")
    assert "training" in capsys.readouterr().err
    assert any("same content" in record.message for record in caplog.records)


def test_a_transformer_of_ones_own(photograph):
    model = deepcut_vision.train([photograph, photograph[::-1]], weights=TINY_WEIGHTS, settings=TINY)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.segment(photograph).mask, model.segment(photograph).mask)
    with pytest.raises(UsageError, match="weights"):
        Model.from_bytes(model.to_bytes())


def test_regions_have_a_legend(photograph):
    settings = {"regions.labels": 5, "superpixel.regions": 120}
    model = deepcut_vision.train([photograph], settings=settings)
    found = model.segment(photograph)
    assert {label.role for label in found.legend[1:]} == {"region"} and found.foreground.all()
    assert model.verdict is None and isinstance(pickle.loads(pickle.dumps(model)), Model)


def test_methods_without_training_can_be_copied(photograph):
    per_image = deepcut_vision.PerImage("spectral", settings={"superpixel.regions": 80})
    again = pickle.loads(pickle.dumps(per_image))
    np.testing.assert_array_equal(again.segment(photograph).mask, per_image.segment(photograph).mask)
    with pytest.raises(UsageError, match="segment.method"):
        deepcut_vision.PerImage("magic")
