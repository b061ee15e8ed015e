"""Errors that users can fix: messages name the fault, the value found, the allowed values and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from reskill_core.text import printable


class ReskillError(Exception):
    """Base class of all intended errors; the command line prints their message without a traceback.

    Messages may quote untrusted files and names, so control characters are escaped.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(ReskillError):
    """A configuration file or override is invalid."""


class SpecError(ReskillError):
    """An array or a name does not fit the observation, action or task specification."""


class DataError(ReskillError):
    """A data set or one of its shards is missing, damaged or does not match."""


class CheckpointError(ReskillError):
    """A checkpoint is missing, damaged, or of another kind or task."""


class TrainingError(ReskillError):
    """Training cannot continue."""


class SimulationError(ReskillError):
    """The simulator cannot be built, was used incorrectly, or diverged."""


class GraphError(ReskillError):
    """The node graph or one of its nodes is configured incorrectly."""


def alternatives(got: str, allowed: Collection[str]) -> str:
    """List the allowed names and the closest one, for the end of a message."""
    close = difflib.get_close_matches(got, allowed, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"allowed: {', '.join(sorted(allowed))}{hint}"


def require_choice(what: str, got: str, allowed: list[str] | tuple[str, ...]) -> None:
    """Raise a :class:`ConfigError` naming the alternatives unless ``got`` is one of ``allowed``."""
    if got not in allowed:
        raise ConfigError(f"unknown {what} {got!r}; {alternatives(got, allowed)}")
