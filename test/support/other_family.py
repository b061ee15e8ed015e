"""The distribution ``plane_world`` beside this file, as if it were installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reskill_sim import families

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture
def plane_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Known to this process, and to every one that it starts."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGINS), *filter(None, [os.environ.get("PYTHONPATH")])]))
    _look_again()
    yield
    _look_again()


def _look_again() -> None:
    families.FAMILIES.__dict__.pop("_places", None)
    for cached in (families._families_by_task, families._make_task):
        cached.cache_clear()
