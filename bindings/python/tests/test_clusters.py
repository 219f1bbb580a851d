"""Groups among vectors, in scikit-learn's manner."""

import pickle

import numpy as np
import pytest

import deepcut_vision
from deepcut_vision import Clusters, UntrustedError, UsageError, metrics


def groups(per_group=20, channels=6, seed=0):
    """Three groups around orthogonal directions, and which vector is of which."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(3), per_group)
    return np.eye(channels)[truth] + 0.05 * random.standard_normal((3 * per_group, channels)), truth


@pytest.mark.parametrize("method", ["correlation", "spectral", "kmeans", "components"])
def test_groups_are_found_kept_and_joined(tmp_path, method):
    vectors, truth = groups()
    if method == "components":
        vectors = np.round(vectors)
    clusters = Clusters(method=method, clusters=3 if method == "kmeans" else None, epochs=60)
    assert clusters.fit(vectors) is clusters
    assert metrics.adjusted_rand_index(truth, clusters.labels_) == 1
    assert clusters.n_clusters_ == 3 and clusters.sizes_.tolist() == [20, 20, 20]
    assert clusters.labels_.dtype == np.int64 and clusters.confidences_.shape == truth.shape
    np.testing.assert_array_equal(clusters.predict(vectors), clusters.labels_)
    np.testing.assert_array_equal(clusters.fit_predict(vectors.astype(np.float32)), clusters.labels_)
    clusters.save(tmp_path / "groups.safetensors")
    for copy in (Clusters.load(tmp_path / "groups.safetensors"), pickle.loads(pickle.dumps(clusters))):
        np.testing.assert_array_equal(copy.predict(vectors), clusters.labels_)
    confidences = clusters.memberships(vectors)[1]
    assert ((0 <= confidences) & (confidences <= 1)).all()


def test_the_programs_groups(program, tmp_path):
    vectors, _ = groups(seed=4)
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float32))
    program("cluster", "--features", tmp_path / "vectors.npy", "--out", tmp_path / "out")
    clusters = Clusters().fit(vectors)
    (kept,) = (tmp_path / "out").glob("*.safetensors")
    np.testing.assert_array_equal(Clusters.load(kept).predict(vectors), clusters.labels_)


def test_doubts_are_said(caplog):
    clusters = Clusters(epochs=10).fit(np.ones((5, 3)))
    assert clusters.doubts_ and clusters.doubts_[0] in caplog.text


@pytest.mark.parametrize(
    ("parameters", "vectors", "says"),
    [
        ({"alpha": 0.5}, np.eye(4), "alpha"),
        ({"method": "magic"}, np.eye(4), "magic"),
        ({"method": "kmeans"}, np.eye(4), "clusters"),
        ({"hidden": (0, 3)}, np.eye(4), "hidden"),
        ({}, np.array([[1.0, np.nan]]), "NaN"),
        ({}, np.array([[1.0, 1e300]]), "too large"),
        ({}, np.zeros(4), "2D"),
        ({}, np.zeros((0, 4)), "0 sample"),
        ({}, np.zeros((4, 0)), "0 feature"),
        ({}, [["a", "b"]], "numbers"),
    ],
)
def test_what_cannot_be_grouped_is_named(parameters, vectors, says):
    with pytest.raises(UsageError, match=says):
        Clusters(**parameters).fit(vectors)


def test_clusters_of_other_vectors(tmp_path):
    clusters = Clusters(epochs=10)
    with pytest.raises(deepcut_vision.NotFittedError):
        clusters.predict(np.eye(4))
    with pytest.raises(UsageError, match="features"):
        clusters.fit(np.eye(4)).predict(np.eye(3))
    (tmp_path / "damaged").write_bytes(b"none")
    with pytest.raises(UntrustedError):
        Clusters.load(tmp_path / "damaged")
    with pytest.raises(UsageError, match="no parameter beta"):
        clusters.set_params(beta=3)


#: What scikit-learn's checks ask that does not hold, and why.
EXPECTED_FAILURES: dict = {}


def test_scikit_learns_checks():
    estimator_checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = estimator_checks.check_estimator(
        Clusters(epochs=20, restarts=2), expected_failed_checks=EXPECTED_FAILURES, on_fail=None
    )
    failed = {result["check_name"]: repr(result["exception"]) for result in results if result["status"] == "failed"}
    assert not failed, failed
    # What no longer fails is no expected failure any more.
    xfailed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert xfailed == set(EXPECTED_FAILURES)
    assert sum(result["status"] == "passed" for result in results) > 30


def test_a_pipeline_of_scikit_learn():
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    vectors, truth = groups(seed=2)
    found = pipeline.make_pipeline(preprocessing.Normalizer(), Clusters(epochs=60)).fit_predict(vectors)
    assert metrics.adjusted_rand_index(truth, found) == 1
