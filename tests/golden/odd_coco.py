"""Writes odd_coco.json: annotation files as people store them, and the masks and boxes that pycocotools reads from them.

    pip install pycocotools==2.0.11 numpy
    python tests/golden/odd_coco.py tests/golden/odd_coco.json

Every case has the text of a file, and for every image of it by name the union of its objects (the area and the runs) and
their boxes. What pycocotools cannot read has no part in them: `refused` lists the annotations. Where `beyond` is true
deepcut reads them all the same, and the masks and boxes are those of the plain file.
"""

import contextlib
import copy
import io
import json
import pathlib
import sys
import tempfile

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

WIDTH, HEIGHT = 32, 24
NAMES = ["a", "b", "c"]


def polygon(x, y, radius):
    angles = np.linspace(0, 2 * np.pi, 13)[:-1]
    corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
    return np.round(corners, 2).ravel().tolist()


def plain():
    discs = [(10, 9, 6.5), (18, 12, 9.25), (22, 15, 5)]
    images = [{"id": i + 1, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT} for i, name in enumerate(NAMES)]
    annotations = [
        {"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "area": 100.0,
         "bbox": [x - r, y - r, 2 * r, 2 * r], "segmentation": [polygon(x, y, r)]}
        for i, (x, y, r) in enumerate(discs)
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}


def runs(annotation):
    code = coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], HEIGHT, WIDTH))
    counts, value, run = [], 0, 0
    for pixel in coco_mask.decode(code).ravel(order="F"):
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": [HEIGHT, WIDTH], "counts": counts + [run]}


CASES, BEYOND = {}, set()


def case(beyond=False):
    def add(change):
        data = plain()
        name = change.__name__
        CASES[name] = json.dumps(change(data) or data)
        if beyond:
            BEYOND.add(name)
        return change
    return add


def every(data, kind, field, value):
    for entry in data[kind]:
        entry[field] = value(entry[field]) if callable(value) else value


def extra(data, **fields):
    data["annotations"].append({**copy.deepcopy(data["annotations"][0]), "id": 9, **fields})


def first(data, **fields):
    data["annotations"][0].update(fields)


@case()
def as_it_should_be(data): pass
@case()
def string_ids(data): every(data, "images", "id", str); every(data, "annotations", "image_id", str)
@case()
def float_ids(data): every(data, "images", "id", float); every(data, "annotations", "image_id", float)
@case()
def iscrowd_bool(data): every(data, "annotations", "iscrowd", False); first(data, iscrowd=True)
@case()
def iscrowd_float(data): every(data, "annotations", "iscrowd", 0.0); first(data, iscrowd=1.0)
@case()
def iscrowd_null(data): every(data, "annotations", "iscrowd", None)
@case()
def iscrowd_missing(data): [annotation.pop("iscrowd") for annotation in data["annotations"]]
@case()
def extra_empty_polygon(data): extra(data, segmentation=[[]])
@case()
def extra_two_points(data): extra(data, segmentation=[[1, 2, 3, 4]])
@case()
def extra_no_polygon(data): extra(data, segmentation=[])
@case()
def polygon_with_short_ones(data): data["annotations"][0]["segmentation"] += [[20, 20], [], [20, 20, 24, 22], [1, 1, 2, 2, 3]]
@case()
def polygon_with_odd_number(data): first(data, segmentation=[[2, 2, 12, 2, 12, 14, 2, 14, 5]])
@case()
def polygon_with_nan(data): data["annotations"][0]["segmentation"].append([float("nan")] * 6)
@case()
def one_null_segmentation(data): first(data, segmentation=None)
@case()
def one_without_segmentation(data): data["annotations"][0].pop("segmentation")
@case()
def runs_uncompressed(data): first(data, segmentation=runs(data["annotations"][0]))
@case()
def runs_of_another_size(data): extra(data, segmentation={"size": [10, 10], "counts": [50, 50]})
@case()
def runs_too_long(data): extra(data, segmentation={"size": [HEIGHT, WIDTH], "counts": [100000, 3]})
@case()
def nan_in_unused_fields(data): first(data, area=float("nan"), score=float("-inf"), keypoints=None)
@case()
def keypoints_null(data): every(data, "annotations", "id", lambda id: id); first(data, keypoints=None, num_keypoints=None)
@case()
def image_twice(data): data["images"].append(copy.deepcopy(data["images"][0]))
@case()
def same_file_two_ids(data): data["images"].append({**data["images"][0], "id": 77}); extra(data, image_id=77, segmentation=[polygon(25, 18, 4)])
@case()
def crowd_beside_object(data): extra(data, iscrowd=1, segmentation=runs({"segmentation": [polygon(20, 9, 8)]}))
@case()
def homeless_annotation(data): extra(data, image_id=1000)
@case()
def without_categories(data): data.pop("categories")
@case()
def null_categories(data): data["categories"] = []; every(data, "annotations", "category_id", None)
@case(beyond=True)
def flat_polygon(data): first(data, segmentation=data["annotations"][0]["segmentation"][0])
@case(beyond=True)
def pairs_polygon(data): first(data, segmentation=np.reshape(data["annotations"][0]["segmentation"][0], (-1, 2)).tolist())
@case(beyond=True)
def nested_pairs(data): first(data, segmentation=[np.reshape(data["annotations"][0]["segmentation"][0], (-1, 2)).tolist()])
@case(beyond=True)
def string_size(data): every(data, "images", "width", str); every(data, "images", "height", str)
@case(beyond=True)
def no_size(data): [(image.pop("width"), image.pop("height")) for image in data["images"]]
@case(beyond=True)
def null_size(data): every(data, "images", "width", None); every(data, "images", "height", None)
@case(beyond=True)
def runs_of_text_size(data): first(data, segmentation={**runs(data["annotations"][0]), "size": [str(HEIGHT), str(WIDTH)]})


def read(text):
    """What pycocotools makes of a file: by image name the union of its objects and their boxes, and what it refuses."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = pathlib.Path(folder) / "annotations.json"
        path.write_text(text)
        coco = COCO(str(path))
    images, refused = {}, []
    for id, image in coco.imgs.items():
        union, boxes = images.setdefault(image["file_name"].split(".")[0], [np.zeros((HEIGHT, WIDTH), np.uint8), []])
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[id])):
            if annotation.get("iscrowd"):
                continue
            boxes.append(annotation["bbox"])
            try:
                union |= coco.annToMask(annotation)
            except Exception as error:
                refused.append({"annotation": str(annotation["id"]), "error": f"{type(error).__name__}: {error}"})
    code = lambda union: coco_mask.encode(np.asfortranarray(union))
    return {name: {"area_px": int(union.sum()), "counts": code(union)["counts"].decode(), "boxes": boxes}
            for name, (union, boxes) in sorted(images.items())}, refused


cases = []
for name, text in CASES.items():
    images, refused = read(text)
    if name in BEYOND:
        assert refused, name
        images = read(json.dumps(plain()))[0]
    cases.append({"name": name, "file": text, "beyond": name in BEYOND, "images": images, "refused": refused})
    print(f"{name:28} " + " ".join(f"{key}:{value['area_px']:4}" for key, value in images.items()),
          "refused: " + ", ".join(entry["annotation"] for entry in refused) if refused else "")
pathlib.Path(sys.argv[1]).write_text(json.dumps(cases, indent=1) + "\n")
