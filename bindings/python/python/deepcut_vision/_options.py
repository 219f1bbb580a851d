"""Settings and what of the machine is used, as the engine takes them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, Optional, Union

from ._errors import UsageError

PathLike = Union[str, "os.PathLike[str]"]


def overrides(settings: Optional[Mapping[str, Any]]) -> list[str]:
    """Settings by their keys, ``{"train.epochs": 20}`` or ``{"train": {"epochs": 20}}``, as ``key=value``."""
    if settings is None:
        return []
    if not isinstance(settings, Mapping):
        raise UsageError(f"`settings` is a dict such as {{'train.epochs': 20}}, not {type(settings).__name__}")
    found = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found.extend(f"{key}.{below}" for below in overrides(value))
        else:
            found.append(f"{key}={_toml(value, key)}")
    return found


def _toml(value: Any, key: str) -> str:
    """A value in TOML; ``None`` sets a key back to its default."""
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        value = value.tolist()
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and math.isfinite(value):
        return repr(value)
    if isinstance(value, (str, os.PathLike)):
        return json.dumps(os.fspath(value))
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item, key) for item in value) + "]"
    raise UsageError(f"the setting {key} cannot be {value!r}; give a number, a text, a bool, a list of these, or None")


def options(
    weights: Optional[PathLike],
    settings: Optional[Mapping[str, Any]],
    device: str,
    threads: int,
    memory: Optional[int],
    precision: Optional[str],
    **further: Any,
) -> dict[str, Any]:
    """What the engine takes; ``further`` settings win over ``settings`` unless they are ``None``."""
    chosen = overrides(settings)
    chosen += overrides({key.replace("__", "."): value for key, value in further.items() if value is not None})
    if not isinstance(threads, int) or threads < 0:
        raise UsageError(f"`threads` is a number from 0 on (0: one per core), not {threads!r}")
    return {
        "weights": None if weights is None else os.fspath(weights),
        "overrides": chosen,
        "device": device,
        "threads": threads,
        "memory": memory,
        "precision": precision,
    }
