"""Starts of episodes: none is met in training, in choosing a checkpoint and in what is reported."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import pytest

import reskill_sim  # noqa: F401 - registers the environments
from reskill_core.data import DatasetWriter
from reskill_core.data.synthetic import synthetic_episodes
from reskill_core.errors import SimulationError
from reskill_core.seeding import EPISODES, EVALUATION_SEED, first_episode
from reskill_sim.cli.main import main
from reskill_sim.engine.simulator import Simulator
from reskill_sim.experiments.collect import CollectConfig, dataset_spec
from reskill_sim.fetch.tasks import get_task

PLACES, EPISODES_EACH = 8, 3


def starts(task: str, seeds: list[int]) -> dict[bytes, int]:
    """Where things are at the start of episodes, with the seeds that put them there."""
    simulator = Simulator(get_task(task), len(seeds))
    simulator.reset(seeds)
    observations = simulator.observation()
    return {observation.tobytes(): seed for observation, seed in zip(observations, seeds, strict=True)}


def drawn_by_gymnasium(seed: int) -> list[int]:
    """Seeds of the episodes that an environment starts by itself."""
    env = gymnasium.make("reskill/FetchSlipperyPush-v0", profile="turbo")
    env.reset(seed=seed)
    return [env.reset()[1]["seed"] for _ in range(20)]


@pytest.mark.parametrize("task", ["slippery_push", "clean_up"])
def test_no_start_serves_two_purposes(task: str) -> None:
    runs = (0, 1, 2, 100, 101, 430, 2**40)
    streams = {
        "demonstrations": list(range(200)),
        "reported": list(range(EVALUATION_SEED, EVALUATION_SEED + 200)),
        **{f"gymnasium {seed}": drawn_by_gymnasium(seed) for seed in (0, 1, EVALUATION_SEED)},
    }
    for purpose, count in (("training", PLACES * EPISODES_EACH), ("selection", 16)):
        for run in runs:
            first = first_episode(run, purpose)
            streams[f"{purpose} {run}"] = list(range(first, first + count))
    seeds = [seed for stream in streams.values() for seed in stream]
    assert len(set(seeds)) == len(seeds)
    assert len(starts(task, seeds)) == len(seeds)


def test_environments_draw_from_episodes_of_their_own_alone() -> None:
    assert all(seed in EPISODES["gymnasium"] for seed in drawn_by_gymnasium(3))


@pytest.mark.parametrize("seed", [-1, 2**53])
def test_a_seed_that_the_state_cannot_hold_is_refused(seed: int) -> None:
    with pytest.raises(SimulationError, match=f"an integer from 0 to {2**53 - 1}, got {seed}"):
        Simulator(get_task("block")).reset([seed])


def test_what_evaluations_start_with_is_neither_collected_nor_learnt_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = ["first_seed=999999990", "episodes=20", f"out={tmp_path / 'data'}", "--quiet"]
    assert main(["collect", "collect/block.yaml", *foreign]) == 2
    assert "first_seed: episodes are demonstrated with seeds from 0 to 999999999" in capsys.readouterr().err
    spec = dataset_spec(CollectConfig())
    with DatasetWriter(tmp_path / "recorded", spec) as writer:
        writer.add_shard(synthetic_episodes(spec, 4, EVALUATION_SEED - 2))
    train = [f"data={tmp_path / 'recorded'}", f"out={tmp_path / 'skills'}", "--quiet"]
    assert main(["train-skills", "skills/block.yaml", *train]) == 2
    assert "holds 2 episodes that evaluations are made of" in capsys.readouterr().err
    assert not (tmp_path / "skills").exists()
    agent = ["agent.skills=false", "imitation_updates=1", f"demonstrations={tmp_path / 'recorded'}", "--quiet"]
    assert main(["train-agent", "agents/slippery_push.yaml", "skills=skills/block", *agent]) == 2
    assert "holds 2 episodes that evaluations are made of" in capsys.readouterr().err
