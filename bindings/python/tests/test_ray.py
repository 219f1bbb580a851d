"""Collections by Ray Data, on a cluster of one machine."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import IMAGES, find_program, is_over, wait_for

import deepcut_vision

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
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


def test_tables_and_tars_are_read_by_ray(cluster, collection, model, tmp_path):
    import tarfile

    import pyarrow.parquet
    from deepcut_vision.ray import segment_dataset

    paths = sorted(path for path in collection.iterdir() if path.name != "broken.jpg")
    expected = {path.stem: model.segment(path).area for path in paths}
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pyarrow.table({"image": images, "name": [path.stem for path in paths]})
    pyarrow.parquet.write_table(table, tmp_path / "images.parquet", row_group_size=3)
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        for path in paths:
            tar.add(path, path.name)
    tables = ray.data.read_parquet(str(tmp_path / "images.parquet"))
    tars = ray.data.read_webdataset(str(tmp_path / "images.tar"), decoder=None)
    for images, column, name in ((tables, "image", "name"), (tars, "jpg", "__key__")):
        found = segment_dataset(images, model, column=column, masks=False).take_all()
        assert {row[name]: row["foreground_area_px"] for row in found} == expected


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
    from deepcut_vision.ray import _key, train_distributed

    settings = {"train.epochs": 3, "superpixel.regions": 60}
    contents = [path.read_bytes() for path in sorted(collection.iterdir())]
    models = []
    for order, concurrency in ((contents, 1), (contents[::-1] + [None], 2)):
        images = ray.data.from_items([{"image": content} for content in order])
        models.append(train_distributed(images, max_images=5, seed=5, settings=settings, batch_size=2, concurrency=concurrency))
    sample = sorted(contents, key=lambda content: _key(content, 5))[:5]
    expected = deepcut_vision.train(sample, seed=5, settings=settings)
    assert [found.to_bytes() == expected.to_bytes() for found in models] == [True, True]
    assert models[0].settings["train"]["seed"] == 5
    # A code book learns from pixels, of which nothing is described beforehand.
    images = ray.data.from_items([{"image": content} for content in sample])
    code_book = train_distributed(images, seed=5, settings={"regions.labels": 4})
    assert code_book.to_bytes() == deepcut_vision.train(sample, seed=5, settings={"regions.labels": 4}).to_bytes()
    with pytest.raises(deepcut_vision.UsageError, match="empty"):
        train_distributed(images.limit(0))
    with pytest.raises(TypeError, match="epochs"):
        train_distributed(images, epochs=3)


def test_a_trainer_takes_what_actors_have_described(collection):
    from deepcut_vision import _engine
    from deepcut_vision._models import training_options
    from deepcut_vision.ray import _GraphMaker

    file, chosen = training_options(settings={"superpixel.regions": 60})
    table = pyarrow.table({"image": [str(path) for path in sorted(collection.iterdir())]})
    rows = _GraphMaker(file, chosen, "image")(table).to_pylist()
    assert [row["__name"] is None for row in rows] == [row["image"].endswith("broken.jpg") for row in rows]
    of_pixels = _engine.GraphMaker.open(*training_options(settings={"regions.labels": 4}))
    assert of_pixels.graphs([rows[0]["image"]], lambda event: None) == [None]


def test_a_plan_says_what_is_wrong_with_it_and_its_shards(cluster, collection, program, tmp_path):
    from deepcut_vision.ray import run_plan

    plan, out, found = tmp_path / "plan.json", tmp_path / "out", find_program()
    with pytest.raises(deepcut_vision.MissingFileError, match="there is no plan"):
        run_plan(plan, out)
    program("plan", "--data", collection, "--shards", 3, "--out", plan)
    with pytest.raises(deepcut_vision.UsageError, match=r"(?s)shard \d of 3: .*--ckpt"):
        run_plan(plan, out, program=found)
    with pytest.raises(deepcut_vision.UsageError, match="no program nowhere"):
        run_plan(plan, out, program="nowhere")
    with pytest.raises(deepcut_vision.UsageError, match="`num_cpus`"):
        run_plan(plan, out, num_cpus=0.5)
    with pytest.raises(deepcut_vision.UsageError, match="`command`"):
        run_plan(plan, out, command="train")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(deepcut_vision.UntrustedError, match="broken.safetensors"):
        run_plan(plan, out, ["--ckpt", broken], program=found)
    # A program that is stopped is tried again.
    tries = tmp_path / "tries"
    stopped = tmp_path / "stopped"
    stopped.write_text(f"#!/bin/sh\necho try >>'{tries}'\nkill -KILL $$\n")
    stopped.chmod(0o755)
    with pytest.raises(deepcut_vision.InterruptedRun, match="shard 0 of 1: .*ended with code -9"):
        program("plan", "--data", collection, "--shards", 1, "--out", plan, "--overwrite")
        run_plan(plan, out, program=str(stopped), max_retries=2)
    assert tries.read_text() == "try\n" * 3

    vectors, single = tmp_path / "vectors.npy", tmp_path / "single.npy"
    program("plan", "--data", collection, "--shards", 3, "--out", plan, "--overwrite")
    summary = run_plan(plan, vectors, ["--of", "images"], command="features", program=found)
    program("features", "--data", collection, "--out", single, "--of", "images", code=3)
    assert vectors.read_bytes() == single.read_bytes()
    assert summary["merged"]["rows"] == 8 and len(summary["shards"]) == 3
    apart = run_plan(plan, tmp_path / "apart", ["--method", "slic-cut"], command="segment", program=found, merge=False)
    assert apart["merged"] is None and not (tmp_path / "apart" / "predictions.jsonl").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere programs outlive what started them")
def test_a_program_ends_with_what_started_it(tmp_path):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text(f"#!/bin/sh\necho $$ >'{tmp_path}/pid'\nexec sleep 60\n")
    sleeper.chmod(0o755)
    call = f"from deepcut_vision._program import run_program; run_program({str(sleeper)!r}, ['infer'], '/')"
    starter = subprocess.Popen([sys.executable, "-c", call])
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    starter.kill()
    starter.wait()
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: is_over(pid))
