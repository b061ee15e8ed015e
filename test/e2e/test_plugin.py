"""A family, a skill model and a learner from outside the package: collected, trained, evaluated, and run over ROS.

The plug-in is ``test/plugin/``, a folder as pip leaves it, with entry points; what docs/extending.md shows is in it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from graph_runs import assert_equal_to_the_last_bit

from reskill_core.data import DemoDataset
from reskill_core.errors import ConfigError
from reskill_ros.drivers.driver_file import load_driver

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "test" / "plugin"
GUIDE = ROOT / "docs" / "extending.md"
SEED = 10**9

# Runs episodes of the agent in process, and keeps them as a data set as those over ROS are.
IN_PROCESS = """
import sys
from reskill_core.data import DatasetSpec, DatasetWriter
from reskill_core.runtime import load_policy
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.families import get_task

policy, seeds = load_policy("agent"), range(int(sys.argv[1]), int(sys.argv[1]) + 2)
environments = get_task("toy_reach").make_env(1)
policy.reset([0])
episodes = list(run_episodes(environments, policy, seeds, lambda place: (policy.description, 0.0)))
with DatasetWriter("in_process", DatasetSpec(environments.spec, "exact", environments.state_dim)) as writer:
    writer.add_shard(episodes)
"""


def run(folder: Path, *command: str) -> str:
    """What a command prints that succeeds, with the plug-in in the search path."""
    paths = os.pathsep.join([str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def reskill(folder: Path, *arguments: str) -> str:
    return run(folder, "-m", "reskill_sim.cli.main", *arguments)


def reskill_up(folder: Path, graph: str, **arguments: object) -> str:
    listed = [f"{name}:={value}" for name, value in arguments.items()]
    return run(folder, "-m", "reskill_ros.graphs.process_launcher", graph, *listed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstrations, skills and an agent of the toy task."""
    folder = tmp_path_factory.mktemp("toy")
    reskill(folder, "collect", str(PLUGIN / "collect.yaml"), "--quiet")
    reskill(folder, "train-skills", str(PLUGIN / "skills.yaml"), "--quiet")
    reskill(folder, "train-agent", str(PLUGIN / "agent.yaml"), "--quiet")
    return folder


def test_what_a_plug_in_brings_is_listed(tmp_path: Path) -> None:
    assert re.search(
        r"toy_reach +drive a cart to a goal; horizon 40; demonstrators: driving", reskill(tmp_path, "list")
    )


def test_demonstrations_have_pictures_and_succeed(folder: Path) -> None:
    dataset = DemoDataset.open(folder / "data")
    episode = dataset.episode(0)
    assert dataset.num_episodes == 60
    assert all(episode.success for episode in dataset.episodes(0, 60))
    [(name, frames)] = episode.images.items()
    assert (name, len(frames)) == ("camera", episode.num_steps + 1)


def test_a_skill_model_and_a_learner_from_outside_are_trained_and_evaluated(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "skills" / "metrics.jsonl").read_text().splitlines()]
    errors = [row["validation/action_mse"] for row in rows if "validation/action_mse" in row]
    assert errors[-1] < 0.8 * errors[0]
    reskill(folder, "evaluate", "agent", "--policy", "agent", "--episodes", "3", "--out", "evaluation", "--quiet")
    [result] = json.loads((folder / "evaluation" / "policies.json").read_text())["results"]
    assert (result["task"], result["policy"], result["episodes"]) == ("toy_reach", "agent", 3)


def test_demonstrations_over_ros_equal_those_in_process(folder: Path) -> None:
    reskill_up(folder, "collect", task="toy_reach", episodes=2, seed=0, dataset="over_ros", keep_failures="true")
    recorded, collected = (DemoDataset.open(folder / name) for name in ("over_ros", "data"))
    assert_equal_to_the_last_bit(recorded, {index: collected.episode(index) for index in range(2)})


def test_an_agent_over_ros_acts_as_in_process(folder: Path) -> None:
    given = {"task": "toy_reach", "skills": "agent", "pacing": "lockstep", "seed": SEED, "episodes": 2}
    reskill_up(folder, "policy", **given, dataset="driven", bag="bag")
    run(folder, "-c", IN_PROCESS, str(SEED))
    driven, expected = (DemoDataset.open(folder / name) for name in ("driven", "in_process"))
    assert_equal_to_the_last_bit(driven, {SEED + index: expected.episode(index) for index in range(2)})
    # What it saw and did is in the bag, every picture included, also those of the last observations.
    replayed = reskill_up(folder, "replay", bag="bag", skills="agent")
    count = driven.num_steps + driven.num_episodes
    assert f"EQUAL: {count} of {count} recorded answers compared" in replayed


NEAR_BLOCK = """
import gymnasium, numpy as np
from reskill_sim.families import get_task
environment = gymnasium.make("reskill/FetchNearBlock-v0")
observation, _ = environment.reset(seed=3)
spec = get_task("near_block").spec
offset = observation[spec.obs.slice("goal_position")] - observation[spec.obs.slice("block_position")]
np.testing.assert_allclose(offset, [0.0, 0.1, 0.0], atol=1e-3)
assert environment.step(environment.action_space.sample())[1] == -1.0
"""


def test_a_task_of_the_fetch_comes_from_outside(tmp_path: Path) -> None:
    run(tmp_path, "-c", NEAR_BLOCK)


def test_the_driver_file_of_the_guide_fits_the_cart() -> None:
    driver = load_driver(str(PLUGIN / "cart.yaml"), ("x_joint", "y_joint"))
    assert driver.sensing.joint("y_joint").to_observation(0.5) == -0.5
    with pytest.raises(ConfigError, match="unknown joint"):
        load_driver(str(PLUGIN / "cart.yaml"), ("x_joint", "z_joint"))


def test_the_guide_shows_what_is_tested() -> None:
    """Every block of code in the guide that names a file is part of it."""
    blocks = re.findall(r"`([\w./-]+)`:?\n\n```\w+\n(.*?)```", GUIDE.read_text(), flags=re.S)
    assert len(blocks) >= 9
    for name, block in blocks:
        text = (PLUGIN / name).read_text()
        for part in re.split(r"^ *(?:# …|…)\n", block, flags=re.M):
            assert part.strip("\n") in text, f"{name} has no\n{part}"
