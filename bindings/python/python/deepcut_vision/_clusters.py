"""Groups among vectors, in the manner of scikit-learn, which is not needed."""

from __future__ import annotations

import inspect
import json
import os
import sys
from typing import Any, Optional

import numpy as np

from . import _engine
from ._errors import NotFittedError, UsageError
from ._options import PathLike
from ._progress import Progress, listener


class Clusters:
    """Groups vectors, one per image or whatever else, without being told into how many groups.

    By correlation clustering, or with ``method`` by one of its baselines: ``"components"``, ``"spectral"``, ``"kmeans"`` (which needs
    ``clusters``). A smaller ``alpha`` (from 1 on) gives more groups. ``clusters`` limits their number. Behaves as an estimator of
    scikit-learn; the parameters are the settings of ``cluster`` that ``deepcut config`` explains.

    After ``fit``: ``labels_`` ``[N]`` (0 is the largest group), ``confidences_`` ``[N]`` in [0, 1], ``sizes_`` ``[K]``,
    ``n_clusters_``, ``objective_``, ``restart_agreement_``, and ``doubts_``: what speaks against relying on the groups, also logged.
    """

    _estimator_type = "clusterer"

    def __init__(
        self,
        *,
        method: str = "correlation",
        alpha: float = 3.0,
        clusters: Optional[int] = None,
        restarts: int = 4,
        epochs: Optional[int] = None,
        learning_rate: Optional[float] = None,
        weight_decay: float = 0.01,
        smallest_share: float = 0.01,
        scaling: str = "auto",
        propagation: str = "auto",
        neighbours: int = 32,
        hidden: tuple[int, int] = (64, 32),
        dropout: float = 0.25,
        seed: int = 0,
        progress: Progress = None,
    ) -> None:
        self.method = method
        self.alpha = alpha
        self.clusters = clusters
        self.restarts = restarts
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.smallest_share = smallest_share
        self.scaling = scaling
        self.propagation = propagation
        self.neighbours = neighbours
        self.hidden = hidden
        self.dropout = dropout
        self.seed = seed
        self.progress = progress

    @classmethod
    def _parameters(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **parameters: Any) -> Clusters:
        """Changes parameters."""
        known = self._parameters()
        for name, value in parameters.items():
            if name not in known:
                raise UsageError(f"there is no parameter {name}; they are {', '.join(known)}")
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any = None) -> Clusters:
        """Groups the vectors ``X``, ``[N, D]``; ``y`` is ignored."""
        vectors = self._matrix(X, is_first=True)
        settings = self.get_params()
        hidden, dropout, progress = (settings.pop(name) for name in ("hidden", "dropout", "progress"))
        try:
            chosen = json.dumps(settings, default=_plain)
        except TypeError as error:
            raise UsageError(f"a parameter is not valid: {error}") from error
        with listener(progress) as listen:
            model, fields = _engine.ClusterModel.fit(vectors, chosen, list(hidden), dropout, listen)
        self._model = model
        self.labels_ = fields["labels"]
        self.confidences_ = fields["confidences"]
        self.objective_ = fields["objective"]
        self.restart_agreement_ = fields["restart_agreement"]
        self.doubts_ = fields["doubts"]
        self._describe()
        return self

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """``fit``, and ``labels_``."""
        return self.fit(X).labels_

    def predict(self, X: Any) -> np.ndarray:
        """The group ``[N]`` that every new vector of ``X``, ``[N, D]``, joins."""
        return self.memberships(X)[0]

    def memberships(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The groups of new vectors, ``[N]``, and how sure that is, ``[N]`` in [0, 1]."""
        if not self.__sklearn_is_fitted__():
            raise _not_fitted()("these clusters are not fitted yet; call fit")
        return self._model.predict(self._matrix(X, is_first=False))

    def save(self, path: PathLike) -> None:
        """Writes the groups, for ``Clusters.load`` and ``deepcut cluster``; the file is complete or stays as it was."""
        if not self.__sklearn_is_fitted__():
            raise _not_fitted()("these clusters are not fitted yet; call fit")
        temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(self._model.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.remove(temporary)
            raise

    @classmethod
    def load(cls, path: PathLike) -> Clusters:
        """Opens groups that were kept: they predict, and have ``sizes_`` but no ``labels_``."""
        clusters = cls()
        with open(path, "rb") as file:
            clusters._model = _engine.ClusterModel.from_bytes(file.read())
        clusters._describe()
        return clusters

    def _describe(self) -> None:
        self.sizes_ = np.array(self._model.sizes(), dtype=np.int64)
        self.n_clusters_ = len(self.sizes_)
        self.n_features_in_ = self._model.width()

    def _matrix(self, X: Any, is_first: bool) -> np.ndarray:
        """``X`` as contiguous float32, or what is wrong with it."""
        if hasattr(X, "toarray") and hasattr(X, "tocsr"):
            raise TypeError("Sparse data was passed, and only dense data can be grouped; use X.toarray()")
        names = _names_of_features(X)
        matrix = np.asarray(X)
        if matrix.dtype.kind == "c":
            raise UsageError("Complex data not supported; give real vectors")
        if matrix.dtype.kind in "OUS":
            try:
                matrix = matrix.astype(np.float64)
            except TypeError as error:
                raise TypeError(f"vectors must be numbers: {error}") from error
            except ValueError as error:
                raise UsageError(f"vectors must be numbers: {error}") from error
        if matrix.ndim != 2:
            raise UsageError(
                f"Expected 2D array [N, D], got {matrix.ndim}D array instead. Reshape your data: X.reshape(1, -1) is one vector"
            )
        if matrix.shape[0] == 0:
            raise UsageError(f"Found array with 0 sample(s) (shape={matrix.shape}) while a minimum of 1 is required.")
        if matrix.shape[1] == 0:
            raise UsageError(f"Found array with 0 feature(s) (shape={matrix.shape}) while a minimum of 1 is required.")
        with np.errstate(over="ignore"):
            matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        if not np.isfinite(matrix).all():
            raise UsageError("Input X contains NaN, infinity or a value too large for float32; leave such vectors out")
        if is_first:
            self._remember(names)
        else:
            self._compare(names, matrix.shape[1])
        return matrix

    def _remember(self, names: Optional[np.ndarray]) -> None:
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _compare(self, names: Optional[np.ndarray], width: int) -> None:
        known = getattr(self, "feature_names_in_", None)
        if known is not None and names is not None and not np.array_equal(known, names):
            raise UsageError(
                "The feature names should match those that were passed during fit; give the same columns in the same order"
            )
        if width != self.n_features_in_:
            raise UsageError(
                f"X has {width} features, but Clusters is expecting {self.n_features_in_} features as input"
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            transformer_tags=None,
            classifier_tags=None,
            regressor_tags=None,
            input_tags=InputTags(),
        )

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if "_model" in state:
            state["_model"] = state["_model"].to_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "_model" in state:
            state["_model"] = _engine.ClusterModel.from_bytes(state["_model"])
        self.__dict__.update(state)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = (f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name].default)
        return f"Clusters({', '.join(changed)})"


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is no number or text")


def _names_of_features(X: Any) -> Optional[np.ndarray]:
    """The names of a data frame's columns, where all are text."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = np.asarray(columns, dtype=object)
    return names if len(names) and all(isinstance(name, str) for name in names) else None


def _not_fitted() -> type[NotFittedError]:
    """The exception that is also scikit-learn's, where that is in use."""
    exceptions = sys.modules.get("sklearn.exceptions")
    if exceptions is None:
        return NotFittedError
    return type("NotFittedError", (NotFittedError, exceptions.NotFittedError), {})
