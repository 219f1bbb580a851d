"""Exceptions: every one says what happened, to what, and what to do."""

from __future__ import annotations


class Error(Exception):
    """Whatever goes wrong in deepcut."""


class UsageError(Error, ValueError):
    """What was asked for cannot be done: a wrong path, setting, value, array or device."""


class MissingFileError(UsageError, FileNotFoundError):
    """A file or folder that is not there."""


class UntrustedError(Error, ValueError):
    """A model or an input that cannot be trusted: damaged, of another version, or too many bad images."""


class InputOutputError(Error, OSError):
    """Reading or writing failed."""


class InterruptedRun(Error):
    """A run was stopped."""


class ImageError(Error, ValueError):
    """An image that cannot be used.

    ``index`` is its place among the images of a batch, counted from 0.
    """

    index: int | None = None


class MissingImageError(ImageError, FileNotFoundError):
    """An image whose file is not there."""


class NotFittedError(UsageError, AttributeError):
    """``Clusters`` that were asked before they were fitted."""
