"""Registries of implementations: built-in names, and entry points of other installed distributions.

A distribution adds an entry in its own metadata::

    [project.entry-points."reskill.families"]
    toy = "toy_robot.family:ToyFamily"

An implementation is imported when it is requested, so listing the names is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from reskill_core.errors import ReskillError, require_choice


class PluginError(ReskillError):
    """A plug-in cannot be imported, or its name is already in use."""


class Registry:
    """Implementations of one kind by name.

    Args:
        group: entry-point group for other distributions.
        kind: the kind of implementation, for messages.
        builtin: ``module:attribute`` of this package's own implementations, by name.
    """

    def __init__(self, group: str, kind: str, builtin: Mapping[str, str]) -> None:
        self.group, self.kind = group, kind
        self._builtin = dict(builtin)

    @property
    def names(self) -> tuple[str, ...]:
        """All names: the built-in ones in their order, then those of plug-ins.

        Raises:
            PluginError: two distributions, or one and this package, use the same name.
        """
        return tuple(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def get(self, name: str) -> Any:
        """Import the implementation with this name.

        Raises:
            ConfigError: there is no such name; the message lists the valid ones.
            PluginError: it cannot be imported.
        """
        require_choice(self.kind, name, self.names)
        try:
            return imported(self._places[name])
        except (ImportError, AttributeError) as error:
            if name in self._builtin:
                raise
            raise PluginError(
                f"{self.kind} {name!r} is {self._places[name]} by an entry point of {self.group}, which cannot be "
                f"imported: {error}; update or remove the distribution that adds it"
            ) from error

    @cached_property
    def _places(self) -> dict[str, str]:
        places = dict(self._builtin)
        for point in _installed(self.group):
            # A distribution under development may be in the search path twice.
            if places.setdefault(point.name, point.value) != point.value:
                raise PluginError(
                    f"{self.kind} {point.name!r} is both {places[point.name]} and, by an entry point of {self.group}, "
                    f"{point.value}; rename one of them"
                )
        return places


def imported(place: str) -> Any:
    """Import what ``module:attribute`` names.

    Raises:
        ImportError: the module cannot be imported.
        AttributeError: the module has no such attribute.
    """
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def _installed(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda point: point.name)
