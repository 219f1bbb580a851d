"""Collections on a cluster of several nodes, of which one is lost half-way: nothing of the collection is, and nothing is different."""

import logging
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import CHECKPOINT, IMAGES, find_program, is_over, wait_for

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says of any process whether it has ended")

NODES = 4
#: Bytes of each node's object store.
STORE = 100_000_000


@pytest.fixture
def nodes():
    """A cluster of this machine, as if it were several of one processor each. One of those that may be lost is the last."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(NODES - 1):
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def collection(tmp_path):
    """Good images in two folders, and a bad one."""
    data = tmp_path / "data"
    (data / "below").mkdir(parents=True)
    for number, picture in enumerate(sorted(IMAGES.iterdir())[:15]):
        shutil.copy(picture, data / "below" if number % 2 else data)
    (data / "broken.jpg").write_bytes(b"no image")
    return data


class Gate:
    """Lets so many pieces of work through and holds all others until a node is lost: what was on that node is begun twice."""

    def __init__(self, folder, open_for):
        self.folder, self.open_for = folder, open_for
        (folder / "begun").mkdir(parents=True)

    def begun(self):
        return len(list((self.folder / "begun").iterdir()))

    def workers(self):
        """The processes that have written where they began."""
        return [int(path.read_text()) for path in (self.folder / "begun").glob("*/pid") if path.read_text()]

    def lose_a_node(self, cluster):
        """Once every node holds a piece of work; what ran on the lost one has ended before the others go on."""
        wait_for(lambda: len(self.workers()) == self.open_for + NODES)
        held = [pid for pid in self.workers() if not is_over(pid)]
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        wait_for(lambda: any(is_over(pid) for pid in held))
        (self.folder / "lost").touch()


def results(folder):
    """The files of a result, but for the shards and what is kept about the folder."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path): (folder / path).read_bytes() for path in files if path.parts[0] not in (".deepcut", "shards")}


def test_shards_on_four_nodes_of_which_one_is_lost_are_one_run(nodes, collection, program, tmp_path):
    from deepcut_vision.ray import run_plan

    arguments = ["--ckpt", CHECKPOINT, "--save", "masks,overlays,coco,report", "--instances"]
    single, out, plan = tmp_path / "single", tmp_path / "out", tmp_path / "plan.json"
    program("infer", "--data", collection, "--out", single, *arguments, code=3)
    program("plan", "--data", collection, "--shards", 8, "--out", plan)
    gate = Gate(tmp_path / "gate", 4)
    held = tmp_path / "held"
    held.write_text(
        f"""#!/bin/sh
        number=0
        until mkdir "{gate.folder}/begun/$number" 2>/dev/null; do number=$((number + 1)); done
        echo $$ >"{gate.folder}/begun/$number/pid"
        until [ $number -lt {gate.open_for} ] || [ -e "{gate.folder}/lost" ]; do sleep 0.02; done
        exec "{find_program()}" "$@"
        """
    )
    held.chmod(0o755)
    done = []

    def watch(event):
        if event["kind"] == "phase_progress":
            done.append(event["done"])
            if event["done"] == gate.open_for:
                gate.lose_a_node(nodes)

    found = run_plan(plan, out, arguments, program=str(held), progress=watch)
    assert done == list(range(1, 9))
    # The lost run may have come to some images before it was stopped.
    assert [shard["shard"]["shard"] for shard in found["shards"]] == list(range(8))
    assert (found["merged"]["images"], found["merged"]["skipped"], found["merged"]["shards"]) == (16, 1, 8)
    assert gate.begun() == 8 + 1 + 1, "one shard was begun twice, and there was a merge"
    expected = results(single)
    assert len(expected) == 2 * 15 + 4
    assert results(out) == expected

    again = run_plan(plan, out, arguments, program=find_program())
    assert all(shard["shard"]["was_finished"] for shard in again["shards"])
    assert results(out) == expected


@pytest.fixture
def held_actors(tmp_path):
    """Puts a gate before the batches of an object's method, for actors to come to."""

    def hold(of, method, open_for):
        gate = Gate(tmp_path / f"gate of {method}", open_for)
        begun, lost = gate.folder / "begun", gate.folder / "lost"

        class Held:
            def __init__(self):
                self.of = of

            def __getattr__(self, name):
                if name != method or "of" not in self.__dict__:
                    raise AttributeError(name)
                return self.pass_gate

            def pass_gate(self, images, **options):
                import os
                import time

                number = 0
                while True:
                    try:
                        os.mkdir(begun / str(number))
                        break
                    except FileExistsError:
                        number += 1
                (begun / str(number) / "pid").write_text(str(os.getpid()))
                while number >= open_for and not lost.exists():
                    time.sleep(0.02)
                return getattr(self.of, method)(images, **options)

        return gate, Held()

    return hold


def lose_a_node_meanwhile(gate, cluster):
    thread = threading.Thread(target=gate.lose_a_node, args=[cluster])
    thread.start()
    return thread


def test_a_dataset_loses_no_image_with_a_node(nodes, collection, model, held_actors):
    from deepcut_vision.ray import segment_dataset

    paths = sorted(path for path in collection.rglob("*") if path.is_file())
    images = ray.data.from_items([{"image": path.read_bytes(), "path": str(path)} for path in paths], override_num_blocks=16)
    gate, held = held_actors(model, "segment_batch", 4)
    losing = lose_a_node_meanwhile(gate, nodes)
    rows = segment_dataset(images, held, batch_size=1, concurrency=NODES).take_all()
    losing.join()
    assert gate.begun() > 16, "some image was begun twice"
    found = {Path(row["path"]): row for row in rows}
    assert len(rows) == 16 and sorted(found) == paths
    for path, row in found.items():
        if path.name == "broken.jpg":
            assert row["status"] == "skipped" and row["mask"] is None
            continue
        mask = np.frombuffer(row["mask"], np.uint8).reshape(row["height"], row["width"])
        np.testing.assert_array_equal(mask, model.segment(path).mask)
