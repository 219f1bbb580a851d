"""Writes instances.json: made-up objects, predictions of them, and what pycocotools says of both without classes.

    pip install pycocotools==2.0.11 numpy
    python tests/golden/instances.py tests/golden/instances.json
"""

import contextlib
import io
import json
import sys

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

WIDTH, HEIGHT, IMAGES = 200, 170, 10
NAMES = ["ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium",
         "ar_large"]
random = np.random.default_rng(7)
rows, columns = np.mgrid[:HEIGHT, :WIDTH]


def ellipse(x, y, across, down):
    return ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1


def code(mask):
    found = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [HEIGHT, WIDTH], "counts": found["counts"].decode()}


def polygon(x, y, across, down):
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    corners = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], 1)
    return [np.round(corners, 1).ravel().tolist()]


def shape():
    size = random.choice([6, 12, 25, 70])
    return [random.uniform(0, WIDTH), random.uniform(0, HEIGHT), *(size * random.uniform(0.6, 1.4, 2))]


images, annotations, predictions = [], [], []
for image in range(1, IMAGES + 1):
    name = f"{image:03}.png"
    images.append({"id": image, "file_name": name, "width": WIDTH, "height": HEIGHT})
    # The last two have nothing to find, and nothing found.
    shapes = [shape() for _ in range(0 if image == IMAGES - 1 else random.integers(1, 7))]
    objects = []
    for number, own in enumerate(shapes):
        drawn = number % 2 == 0
        segmentation = code(ellipse(*own)) if drawn else polygon(*own)
        runs = segmentation if drawn else coco_mask.merge(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH))
        area = float(coco_mask.area(runs)) * random.choice([1, 0.9])
        annotations.append({
            "id": len(annotations) + 1, "image_id": image, "category_id": int(random.integers(1, 4)),
            "segmentation": segmentation, "area": area, "iscrowd": int(random.random() < 0.15),
            "bbox": coco_mask.toBbox(runs).tolist(),
        })
        for _ in range(random.integers(0, 4)):
            jitter = random.choice([0.01, 0.05, 0.15])
            objects.append(ellipse(own[0] + jitter * own[2] * random.normal(), own[1] + jitter * own[3] * random.normal(),
                                   own[2] * np.exp(jitter * random.normal()), own[3] * np.exp(jitter * random.normal())))
    objects += [ellipse(*shape()) for _ in range(random.integers(0, 3))]
    if image == 3:
        # More than are looked at.
        objects += [ellipse(1 + 3 * (place % 50), 1 + 3 * (place // 50), 1, 1) for place in range(105)]
    if image == IMAGES:
        objects = []
    listed = []
    for found in objects:
        if found.any():
            box = [int(side) for side in coco_mask.toBbox(coco_mask.encode(np.asfortranarray(found, dtype=np.uint8)))]
            # One decimal: many are equally confident, within an image and across images.
            listed.append({"label": 1, "box": box, "area_px": int(found.sum()),
                           "confidence": round(float(random.random()), 1), "segmentation": code(found)})
    predictions.append({"path": name, "status": "done", "width": WIDTH, "height": HEIGHT, "objects": listed})

truth = {"images": images, "annotations": annotations,
         "categories": [{"id": number, "name": f"class {number}"} for number in (1, 2, 3)]}
results = [{"image_id": image["id"], "category_id": 1, "segmentation": dict(listed["segmentation"]),
            "score": listed["confidence"]}
           for image, line in zip(images, predictions) for listed in line["objects"]]
with contextlib.redirect_stdout(io.StringIO()):
    known = COCO()
    known.dataset = json.loads(json.dumps(truth))
    known.createIndex()
    scoring = COCOeval(known, known.loadRes(results), "segm")
    scoring.params.useCats = 0
    scoring.evaluate()
    scoring.accumulate()
    scoring.summarize()
scores = dict(zip(NAMES, map(float, scoring.stats)))
with open(sys.argv[1], "w") as file:
    json.dump({"truth": truth, "predictions": predictions, "scores": scores}, file, separators=(",", ":"))
    file.write("\n")
print(scores)
