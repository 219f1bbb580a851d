"""Writes regions.json: made-up segmentations, and what SciPy, scikit-learn and scikit-image say of them.

    pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 scikit-image==0.26.0
    python tests/golden/regions.py tests/golden/regions.json

A map is given by sites (x, y, label): every pixel has the label of the nearest one, the first of equally near ones.
"""

import json
import sys

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage.metrics import variation_of_information
from skimage.morphology import thin
from sklearn.metrics import jaccard_score, rand_score

random = np.random.default_rng(11)


def sites(width, height, count, labels):
    places = np.stack([random.integers(0, width, count), random.integers(0, height, count)], 1)
    return np.column_stack([places, random.integers(0, labels, count)]).tolist()


def moved(given, by, width, height):
    """The same sites somewhat elsewhere, some with another label."""
    moved = []
    for x, y, label in given:
        dx, dy = random.integers(-by, by + 1, 2)
        label = label if random.random() < 0.8 else label + 1
        moved.append([int(np.clip(x + dx, 0, width - 1)), int(np.clip(y + dy, 0, height - 1)), int(label)])
    return moved


def drawn(given, width, height):
    rows, columns = np.mgrid[:height, :width]
    given = np.array(given)
    distances = (columns[..., None] - given[:, 0]) ** 2 + (rows[..., None] - given[:, 1]) ** 2
    return given[distances.argmin(-1), 2]


def numbered(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def matched(weights):
    """The one-to-one matching of the largest sum of weights, [true segments, predicted segments]."""
    return [(t, p) for t, p in zip(*linear_sum_assignment(weights, maximize=True)) if weights[t, p] > 0]


def of_segments(truth, predicted):
    truth, predicted = numbered(truth), numbered(predicted)
    shared = np.zeros((truth.max() + 1, predicted.max() + 1))
    np.add.at(shared, (truth, predicted), 1)
    true_areas, areas = shared.sum(1), shared.sum(0)
    iou = shared / (true_areas[:, None] + areas - shared)
    pairs = matched(iou)
    # Of several matchings with the most shared pixels that with the largest sum of area times IoU, which is less than 1 here.
    by_shared = matched(shared + areas * iou / truth.size / 2)
    # The predicted segments under the numbers of their partners, the others under numbers of their own.
    names = np.arange(predicted.max() + 1) + truth.max() + 1
    for t, p in by_shared:
        names[p] = t
    oracle = shared.argmax(0)[predicted]
    return {
        "iou": sum(iou[t, p] for t, p in pairs) / len(true_areas),
        "accuracy": sum(shared[t, p] for t, p in pairs) / truth.size,
        "covering": (true_areas * iou.max(1)).sum() / truth.size,
        "rand_index": rand_score(truth.ravel(), predicted.ravel()),
        "variation_of_information_bits": variation_of_information(truth, predicted).sum(),
        "undersegmentation_error": np.where(shared > 0, np.minimum(shared, areas - shared), 0).sum() / truth.size,
        "iou_by_predicted_area":
            jaccard_score(names[predicted].ravel(), truth.ravel(), average="weighted", zero_division=0),
        "accuracy_by_shared_pixels": (names[predicted] == truth).mean(),
        "oracle_iou": jaccard_score(truth.ravel(), oracle.ravel(), average="macro", labels=np.arange(truth.max() + 1)),
        "oracle_accuracy": (oracle == truth).mean(),
    }


def boundary(labels):
    padded = np.pad(labels, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    differs = (here != padded[:-1, 1:]) | (here != padded[1:, :-1]) | (here != padded[1:, 1:])
    return np.argwhere(thin(differs))


def of_boundaries(truths, predicted):
    found_px = true_px = 0
    points = boundary(predicted)
    right = np.zeros(len(points), bool)
    reach = 0.0075 * np.hypot(*predicted.shape)
    for truth in truths:
        true_points = boundary(truth)
        true_px += len(true_points)
        if len(points) == 0 or len(true_points) == 0:
            continue
        distances = np.sqrt(((points[:, None] - true_points[None]) ** 2).sum(-1))
        is_near = distances <= reach
        most = (maximum_bipartite_matching(csr_matrix(is_near), perm_type="column") >= 0).sum()
        found_px += most
        # The benchmark's assignment: what is left over costs a hundred times the reach.
        rows, columns = linear_sum_assignment(np.where(is_near, distances, 200 * reach))
        partners = is_near[rows, columns]
        assert partners.sum() == most
        right[rows[partners]] = True
    return {"predicted_px": len(points), "true_px": true_px, "found_px": int(found_px),
            "right_px_by_distance": int(right.sum())}


images = []
for width, height, count, labels, by, annotators in [
    (160, 120, 25, 12, 6, 3), (320, 240, 30, 30, 8, 2), (200, 150, 200, 150, 3, 2), (240, 320, 12, 4, 2, 1), (61, 47, 9, 9, 4, 2),
    (90, 160, 1, 1, 0, 2),
]:
    base = sites(width, height, max(count, 8), labels + 1)
    prediction = moved(base, by, width, height) if count > 1 else [[0, 0, 7]]
    truths = [moved(base, by, width, height) for _ in range(annotators)]
    map_of = lambda given: drawn(given, width, height)
    each = [of_segments(map_of(truth), map_of(prediction)) for truth in truths]
    scores = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    boundaries = of_boundaries([map_of(truth) for truth in truths], map_of(prediction))
    images.append({"width": width, "height": height, "prediction": prediction, "annotations": truths, "scores": scores,
                   "boundaries": boundaries})
    print(scores, boundaries)

with open(sys.argv[1], "w") as file:
    json.dump(images, file, separators=(",", ":"))
    file.write("\n")
