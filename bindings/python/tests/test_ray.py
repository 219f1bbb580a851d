"""Collections by Ray Data, on a cluster of one machine."""

import json
import shutil

import numpy as np
import pytest
from conftest import IMAGES

import deepcut_vision

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Good images and a bad one."""
    folder = tmp_path_factory.mktemp("collection")
    for picture in sorted(IMAGES.iterdir())[:8]:
        shutil.copy(picture, folder)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def rows(dataset):
    return {row["path"].rsplit("/", 1)[-1]: row for row in dataset.take_all()}


def test_every_image_of_a_dataset_has_the_mask_of_a_single_run(cluster, collection, model):
    from deepcut_vision.ray import segment_dataset

    files = ray.data.read_binary_files(str(collection), include_paths=True)
    found = rows(segment_dataset(files, model, column="bytes", batch_size=2, concurrency=2))
    assert set(found) == {path.name for path in collection.iterdir()}
    for path in collection.iterdir():
        row = found[path.name]
        assert "bytes" not in row
        if path.name == "broken.jpg":
            assert row["status"] == "skipped" and "known format" in row["reason"] and row["mask"] is None
            continue
        expected = model.segment(path)
        mask = np.frombuffer(row["mask"], np.uint8).reshape(row["height"], row["width"])
        np.testing.assert_array_equal(mask, expected.mask)
        assert (tuple(row["box"]), row["confidence"], row["status"]) == (expected.box, expected.confidence, "done")
        assert [tuple(one["box"]) for one in json.loads(row["objects"])] == [one.box for one in expected.objects]


def test_images_come_as_bytes_paths_and_mappings(collection, model):
    from deepcut_vision.ray import _Segmenter

    path = collection / "boat_regatta.jpg"
    expected = model.segment(path)
    segment = _Segmenter(model, "image", False, True)
    mappings = [{"bytes": path.read_bytes(), "path": "elsewhere"}, {"bytes": None, "path": str(path)}]
    for images in ([path.read_bytes(), None], [str(path), None], mappings):
        found = segment(pyarrow.table({"image": images, "number": [3, 4]})).to_pylist()
        assert [row["number"] for row in found] == [3, 4] and "mask" not in found[0] and found[0]["image"] == images[0]
        assert found[0]["foreground_area_px"] == expected.area
        assert found[1]["status"] == ("skipped" if images[1] is None else "done")
    with pytest.raises(deepcut_vision.UsageError, match="no column image"):
        segment(pyarrow.table({"picture": [1]}))
    with pytest.raises(deepcut_vision.UsageError, match="status already"):
        segment(pyarrow.table({"image": [str(path)], "status": ["mine"]}))


def test_vectors_are_grouped_on_one_node(cluster, collection):
    from deepcut_vision import ray as on_ray

    features = deepcut_vision.Features()
    files = ray.data.read_binary_files(str(collection), include_paths=True)
    described = on_ray.features_dataset(files, features, column="bytes", batch_size=2).materialize()
    paths = sorted(path for path in collection.iterdir() if path.name != "broken.jpg")
    vectors = features.vectors(paths)
    found = rows(described)
    for path, vector in zip(paths, vectors):
        np.testing.assert_array_equal(np.asarray(found[path.name]["vector"], np.float32), vector)
    assert found["broken.jpg"]["vector"] is None and found["broken.jpg"]["status"] == "skipped"
    clusters, joined = on_ray.cluster(described, method="kmeans", clusters=2, scaling="standardised")
    labels = rows(joined)
    assert clusters.sizes_.sum() == len(paths) and labels["broken.jpg"]["cluster"] is None
    assert [labels[path.name]["cluster"] for path in paths] == clusters.predict(vectors).tolist()


def test_a_network_is_trained_on_the_same_sample_whatever_the_order(cluster, collection):
    from deepcut_vision.ray import train_dataset

    settings = {"train.epochs": 3, "superpixel.regions": 60}
    good = sorted(path for path in collection.iterdir() if path.name != "broken.jpg")
    models = []
    for paths in (good, good[::-1]):
        images = ray.data.from_items([{"image": path.read_bytes()} for path in paths])
        models.append(train_dataset(images, max_images=4, seed=5, settings=settings))
    assert models[0].to_bytes() == models[1].to_bytes()
    assert models[0].settings["train"]["seed"] == 5
