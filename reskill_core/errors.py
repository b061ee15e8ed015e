"""Errors a user can act on: every message says what was wrong, what was found, what is allowed and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from reskill_core.text import printable


class ReskillError(Exception):
    """Base of all errors raised on purpose; the command line prints its message without a traceback.

    Messages quote files and names that come from anywhere, so as text an error is always fit to be printed.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(ReskillError):
    """A configuration file or override is invalid."""


class SpecError(ReskillError):
    """An array or a name does not fit the observation, action or task specification."""


class DataError(ReskillError):
    """A demonstration data set or one of its shards is missing, damaged or does not match."""


class CheckpointError(ReskillError):
    """A checkpoint is missing, damaged, or made for something else."""


class TrainingError(ReskillError):
    """Training cannot go on."""


class SimulationError(ReskillError):
    """The simulator cannot be built, was used wrongly, or diverged."""


class GraphError(ReskillError):
    """The node graph or one of its nodes is configured wrongly."""


def alternatives(got: str, allowed: Collection[str]) -> str:
    """What may stand in place of a name, and the one that was probably meant, for the end of a message."""
    close = difflib.get_close_matches(got, allowed, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"allowed: {', '.join(sorted(allowed))}{hint}"


def require_choice(what: str, got: str, allowed: list[str] | tuple[str, ...]) -> None:
    """Raise a :class:`ConfigError` naming the alternatives unless ``got`` is one of ``allowed``."""
    if got not in allowed:
        raise ConfigError(f"unknown {what} {got!r}; {alternatives(got, allowed)}")
