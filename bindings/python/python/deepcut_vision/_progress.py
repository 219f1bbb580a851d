"""What happens during long calls: to the log, to a callback, or to bars of tqdm."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Union

from ._errors import UsageError

#: A callback, ``"tqdm"``, or ``None``.
Progress = Union[None, str, Callable[[dict[str, Any]], Any]]

_log = logging.getLogger("deepcut_vision")


@contextmanager
def listener(progress: Progress) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What the engine tells events: they are logged (warnings and skipped images as warnings) and handed on."""
    bars = None
    if progress == "tqdm":
        bars = _Bars()
        hand_on: Callable[[dict[str, Any]], Any] = bars
    elif progress is None:
        hand_on = _nothing
    elif callable(progress):
        hand_on = progress
    else:
        raise UsageError(f'`progress` is a function, "tqdm" or None, not {progress!r}')

    def listen(event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind in ("warning", "skipped"):
            _log.warning("%s%s", "skipped " if kind == "skipped" else "", event["message"])
        elif kind in ("plan", "note"):
            _log.info("%s", event["message"])
        hand_on(event)

    try:
        yield listen
    finally:
        if bars is not None:
            bars.close()


def _nothing(_event: dict[str, Any]) -> None:
    pass


class _Bars:
    """One bar for every phase."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise UsageError('progress="tqdm" needs the package tqdm; install it, or give a function') from error
        self._make = tqdm
        self._bar: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "phase_started":
            self.close()
            self._bar = self._make(total=event["total"], desc=event["phase"])
        elif kind == "phase_progress" and self._bar is not None:
            self._bar.update(event["done"] - self._bar.n)
        elif kind == "epoch" and self._bar is not None:
            self._bar.set_postfix(loss=f"{event['held_out_loss']:+.4f}", refresh=False)
        elif kind == "phase_finished":
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
