"""Scores, against scikit-learn's where it has them."""

import numpy as np
import pytest

from deepcut_vision import UsageError, metrics


def test_masks():
    truth, predicted = np.array([[0, 1, 1, 1]]), np.array([[3, 2, 1, 0]])
    scores = metrics.overlap(truth, predicted)
    assert (scores["iou"], scores["accuracy"]) == (0.5, 0.5)
    assert metrics.iou(truth, predicted) == 0.5 and metrics.pixel_accuracy(truth, predicted) == 0.5
    assert metrics.f_beta(truth, predicted) == pytest.approx(2 / 3)
    assert metrics.iou(truth, predicted, void=np.array([[1, 0, 0, 1]])) == 1
    assert metrics.iou(np.zeros((2, 2)), np.zeros((2, 2))) == 1
    with pytest.raises(UsageError, match="1x1"):
        metrics.iou(truth, np.array([[1]]))
    with pytest.raises(UsageError, match="shape"):
        metrics.iou(truth, np.zeros(3))


def test_saliency():
    saliency = np.array([[200, 90, 10, 0]], np.uint8)
    assert metrics.largest_f_beta([np.array([[1, 1, 0, 0]])], [saliency]) == 1
    assert metrics.largest_f_beta([], []) is None
    with pytest.raises(UsageError, match="255"):
        metrics.largest_f_beta([saliency], [saliency / 255])
    with pytest.raises(UsageError, match="1 ground truth"):
        metrics.largest_f_beta([saliency], [])


def test_boxes():
    assert metrics.box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert metrics.box_iou(np.array([0, 0, 1, 1]), (5, 5, 6, 6)) == 0


def test_labellings_score_as_scikit_learn_has_it():
    cluster = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 4, 200), random.integers(-3, 3, 200)
    predicted[:150] = truth[:150]
    names = np.array(["a", "b", "c", "d"])[truth]
    assert metrics.normalised_mutual_information(names, predicted) == pytest.approx(
        cluster.normalized_mutual_info_score(truth, predicted)
    )
    assert metrics.adjusted_rand_index(names, predicted) == pytest.approx(cluster.adjusted_rand_score(truth, predicted))
    assert metrics.purity([0, 0, 1, 1], [5, 5, 5, 7]) == 0.75
    with pytest.raises(UsageError, match="3 true and 2"):
        metrics.purity([1, 2, 3], [1, 2])


def test_regions():
    truth = np.repeat(np.arange(4), 25).reshape(10, 10)
    scores = metrics.region_scores(truth, truth + 7)
    assert scores["iou"] == scores["covering"] == scores["boundary_f_measure"] == 1 and scores["segments"] == 4
    halves = metrics.region_scores([truth, truth // 2], truth)
    assert 0 < halves["variation_of_information_bits"] < 1
    with pytest.raises(UsageError, match="whole numbers"):
        metrics.region_scores(truth / 2, truth)
