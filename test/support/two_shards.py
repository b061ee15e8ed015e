"""A small data set of two shards, and a copy of one beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reskill_core.data import DatasetWriter
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec

SPEC = synthetic_spec(observation_dim=5, sim_state_dim=3)
EPISODES = synthetic_episodes(SPEC, 4, min_steps=3, max_steps=9)
BAD = "shard-000001.h5"


@pytest.fixture(name="folder")
def two_shards(tmp_path: Path) -> Path:
    """Two shards of two episodes each."""
    with DatasetWriter(tmp_path / "data", SPEC) as writer:
        writer.add_shard(EPISODES[:2])
        writer.add_shard(EPISODES[2:])
    (tmp_path / "secret.h5").write_bytes((tmp_path / "data" / BAD).read_bytes())
    return tmp_path / "data"
