"""What agents and results were made from: written down, and compared when they are used."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reskill_core.checkpoint import CHECKPOINTS_FOLDER, load_checkpoint, load_training_state, save_checkpoint
from reskill_core.errors import CheckpointError
from reskill_core.lineage import LINEAGE_KEY
from reskill_core.provenance import simulator_version
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_sim.agents import train_agent
from reskill_sim.collect import CollectConfig, collect


def agent_config(out: Path, **changes: object) -> AgentTrainingConfig:
    """A run of one iteration."""
    small = AgentTrainingConfig(
        "slippery_push", "skills/block", str(out), steps=80, num_envs=4, rollout_steps=20, profile="turbo", threads=0
    )
    return replace(small, **{"evaluation_episodes": 2, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of an agent; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "agent"
    train_agent(agent_config(folder), show_progress=False)
    return folder


@pytest.fixture(scope="module")
def other_skills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skills that fit where ``skills/block`` does, and are others."""
    shipped = load_checkpoint("skills/block", SKILL_MODULE_KIND)
    weights = {name: array * np.float32(1.01) for name, array in shipped.weights.items()}
    return save_checkpoint(tmp_path_factory.mktemp("skills") / "other", shipped.kind, weights, shipped.document)


def relabelled(run: Path, out: Path, lineage: Mapping[str, Any] | None) -> Path:
    """A copy of a run whose last checkpoint has another lineage or, for None, is of before there were lineages."""
    shutil.copytree(run, out, symlinks=True)
    folder = (out / CHECKPOINTS_FOLDER / "last").resolve()
    checkpoint, state = load_checkpoint(folder, AGENT_KIND), load_training_state(folder)
    document = {key: value for key, value in checkpoint.document.items() if key != LINEAGE_KEY}
    document |= {LINEAGE_KEY: lineage} if lineage else {}
    shutil.rmtree(folder)
    save_checkpoint(folder, AGENT_KIND, checkpoint.weights, document, state)
    return out


def test_an_agent_says_what_it_was_made_from(run: Path) -> None:
    lineage = load_checkpoint(run, AGENT_KIND).document[LINEAGE_KEY]
    variation = lineage.pop("variation")
    assert lineage == {
        "skills": load_checkpoint("skills/block", SKILL_MODULE_KIND).sha256,
        "task": "slippery_push",
        "profile": "turbo",
        "simulator": simulator_version(),
    }
    assert variation["friction"] == [1.0, 1.0]
    assert variation["spawn"] == 1.0


def test_an_agent_is_not_continued_with_other_skills(run: Path, other_skills: Path, tmp_path: Path) -> None:
    lineage = load_checkpoint(run, AGENT_KIND).document[LINEAGE_KEY]
    copy = relabelled(run, tmp_path / "run", lineage)
    with pytest.raises(CheckpointError, match=r"run != now\):\n  - skills: [0-9a-f]{12} != [0-9a-f]{12}\nrestore them"):
        train_agent(agent_config(copy, skills=str(other_skills)), show_progress=False)
    assert train_agent(agent_config(copy), show_progress=False).steps == 80


OTHER_WORLD: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "skills": (lambda _: "0" * 64, "skills: 000000000000 != "),
    "profile": (lambda _: "exact", "profile: 'exact' != 'turbo'"),
    "variation": (lambda was: {**was, "mass": [0.5, 2.0]}, r"variation.mass: \[0.5, 2.0\] != \[1.0, 1.0\]"),
    "simulator": (lambda _: "mujoco 2.0.0", "simulator: 'mujoco 2.0.0' != 'mujoco "),
    "task": (lambda _: "block", "task: 'block' != 'slippery_push'"),
}


@pytest.mark.parametrize("name", OTHER_WORLD)
def test_an_agent_is_not_continued_with_another(name: str, run: Path, tmp_path: Path) -> None:
    lineage = load_checkpoint(run, AGENT_KIND).document[LINEAGE_KEY]
    flip, message = OTHER_WORLD[name]
    copy = relabelled(run, tmp_path / "run", {**lineage, name: flip(lineage[name])})
    with pytest.raises(CheckpointError, match=rf"run != now\):\n  - {message}[^\n]*\nrestore them"):
        train_agent(agent_config(copy), show_progress=False)


def test_of_an_older_agent_it_is_said_what_is_unknown(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = relabelled(run, tmp_path / "run", None)
    with caplog.at_level(logging.WARNING):
        train_agent(agent_config(copy), show_progress=False)
    assert "does not say its skills, task, profile, variation, simulator; taken to be as now" in caplog.text


def test_imitation_is_not_continued_with_other_demonstrations(tmp_path: Path) -> None:
    for name, first_seed in (("one", 0), ("other", 100)):
        collection = CollectConfig("slippery_push", 2, str(tmp_path / name), first_seed=first_seed, workers=1)
        collect(collection, show_progress=False)
    alone = AgentConfig(skills=False)
    config = agent_config(tmp_path / "run", agent=alone, imitation_updates=1, demonstrations=str(tmp_path / "one"))
    train_agent(config, show_progress=False)
    with pytest.raises(CheckpointError, match=r"  - data: [0-9a-f]{12} != [0-9a-f]{12}\n"):
        train_agent(replace(config, demonstrations=str(tmp_path / "other")), show_progress=False)
