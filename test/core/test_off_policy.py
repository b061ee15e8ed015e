"""Runs of agents that learn off-policy: simulation beside the updates, resuming, levels that learn by other means."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from point_mass import PointMass
from skill_fixtures import TASK, observations, random_model, save_module, small_config, write_reaching_data

import reskill_core
from reskill_core.checkpoint import load_checkpoint, load_training_state
from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, TrainingError
from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.rl.sac import Sac
from reskill_core.runtime import SkillModule, load_policy
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.graph import Graph
from reskill_core.training.agent_trainer import AgentTrainer
from reskill_core.training.metrics import read_metrics
from reskill_core.training.onnx_files import onnx_files
from reskill_core.training.run_folder import NOT_FINITE_FOLDER

ENVS, STEPS = 6, 12
ITERATION = ENVS * STEPS
SAC = {"algorithm": "sac", "hidden": [8], "critic_hidden": [8], "batch": 16, "updates": 0.5, "warm_up": ITERATION // 2}
CLOCK = ("train/steps_per_s", "train/learning_share", "train/trained_s", "high_level/updates_per_s")


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskill_core.training.evaluated_run.plot_returns", lambda path, rows: None)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    folder = save_module(tmp_path_factory.mktemp("skills") / "module", random_model(small_config()))
    return SkillModule.load(folder, batch_invariant=False)


class Slow(PointMass):
    """The same, but it takes its time."""

    def step(self, actions: np.ndarray, places: Any = None) -> Any:
        time.sleep(0.003)
        return super().step(actions, places)


def trainer(
    module: SkillModule | None, out: Path, agent: dict, points: PointMass | None = None, **changes: Any
) -> AgentTrainer:
    given = {
        "task": TASK.name,
        "skills": "skills" if module else "none",
        "out": str(out),
        "steps": 4 * ITERATION,
        "num_envs": ENVS,
        "rollout_steps": STEPS,
        "threads": 2,
        "evaluate_every": ITERATION,
        "keep_checkpoints": 10,
        "agent": {"schedule": {"end": 1}, "skill_steps": None, **agent},
        **changes,
    }
    returns = iter(range(100))
    config = config_from_dict(AgentTrainingConfig, given)
    points = points or PointMass(ENVS)
    return AgentTrainer(config, [points], TASK, module, lambda policy: {"return": float(next(returns))})


def kept(run: Path) -> dict[str, Any]:
    """All that the last checkpoint has, but for the clock."""
    last = run / "checkpoints" / "last"
    state = load_training_state(last)
    state.pop("progress")
    return {**state, **load_checkpoint(last, AGENT_KIND).weights}


def require_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_equal(found[name], value, err_msg=name)


def test_simulation_beside_updates_depends_on_no_timing_and_resumes_to_the_same_bits(
    module: SkillModule, tmp_path: Path
) -> None:
    agent = {"residual": False, "high_level": SAC}
    trainer(module, tmp_path / "steady", agent).run(show_progress=False)
    steady = kept(tmp_path / "steady")
    trainer(module, tmp_path / "slow", agent, Slow(ENVS), threads=1).run(show_progress=False)
    require_equal(kept(tmp_path / "slow"), steady)
    shutil.copytree(tmp_path / "steady", tmp_path / "broken", symlinks=True)
    last = tmp_path / "broken" / "checkpoints" / "last"
    last.unlink()
    last.symlink_to(f"{2 * ITERATION:08d}")
    trainer(module, tmp_path / "broken", agent).run(show_progress=False)
    require_equal(kept(tmp_path / "broken"), steady)
    rows = [
        [{name: value for name, value in row.items() if name not in CLOCK} for row in read_metrics(tmp_path / run)]
        for run in ("steady", "slow")
    ]
    assert rows[0] == rows[1]
    # The warm-up ends in the first iteration; what comes after it is learnt from in the iteration after that.
    learnt = [row["step"] for row in rows[0] if "high_level/q" in row]
    assert learnt == [3 * ITERATION, 4 * ITERATION]


def test_the_metrics_are_in_the_glossary(module: SkillModule, tmp_path: Path) -> None:
    trainer(module, tmp_path, {"residual": False, "high_level": SAC}).run(show_progress=False)
    logged = {tag for row in read_metrics(tmp_path) for tag in row if tag.startswith("high_level/")}
    readme = (Path(reskill_core.__file__).parent / "README.md").read_text()
    glossary = readme.split("### Metrics of soft actor-critic")[1].split("\n## ")[0]
    assert logged == {tag for tag in re.findall(r"`(\w+/\w+)`", glossary) if tag.startswith("high_level/")}


def test_in_turn_an_iteration_is_learnt_from_at_once(module: SkillModule, tmp_path: Path) -> None:
    trainer(module, tmp_path, {"residual": False, "high_level": SAC}, overlap=False).run(show_progress=False)
    learnt = [row["step"] for row in read_metrics(tmp_path) if "high_level/q" in row]
    assert learnt == [2 * ITERATION, 3 * ITERATION, 4 * ITERATION]


def test_an_iteration_acts_by_the_policy_of_its_beginning(
    module: SkillModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates that finish before the simulation has begun to act change nothing of what it does."""
    update, finished = Sac.update, []

    def noted(self: Sac, progress: float) -> dict[str, float]:
        found = update(self, progress)
        finished.append(time.perf_counter())
        return found

    monkeypatch.setattr(Sac, "update", noted)
    run = trainer(module, tmp_path, {"residual": False, "high_level": {**SAC, "warm_up": 0}}, Slow(ENVS))
    run.run(show_progress=False)
    (level,) = run._levels.values()
    (acting,) = run._acting.values()
    features = module.features(TASK.obs.zeros(1))
    assert np.abs(level.act(features).value - acting.act(features).value).max() > 0
    assert len(finished) == 4


def test_one_level_learns_off_policy_the_other_one_on_policy(module: SkillModule, tmp_path: Path) -> None:
    agent = {"high_level": {**SAC, "warm_up": 0}, "low_level": {"hidden": [8], "epochs": 2}}
    result = trainer(module, tmp_path, agent).run(show_progress=False)
    rows = read_metrics(tmp_path)
    assert sum("high_level/q" in row for row in rows) == 4
    assert sum("low_level/kl" in row for row in rows) == 3
    weights = load_checkpoint(result.run, AGENT_KIND).weights
    assert {"high_level.actor.mean_limit", "low_level.log_std"} < weights.keys()


def test_the_actor_is_exported_as_a_graph(module: SkillModule, tmp_path: Path) -> None:
    agent = {"residual": False, "high_level": {**SAC, "warm_up": 0, "learning_rate": 0.1}}
    result = trainer(module, tmp_path, agent).run(show_progress=False)
    checkpoint = load_checkpoint(result.run, AGENT_KIND)
    graph = Graph(onnx_files(checkpoint)["high_level.onnx"])
    features = 10 * module.features(observations(5))
    expected = Sac.actor_from(checkpoint.weights, "high_level.").act(features).value
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(graph.run({"features": features})[0], expected, rtol=1e-4, atol=1e-5)


def test_an_agent_without_skills_begins_by_imitation_and_acts_without_torch(tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data")
    settings: dict[str, Any] = {"demonstrations": str(data), "imitation_updates": 150}
    low_level = {**SAC, "regulariser": "entropy", "hidden": [32], "learning_rate": 1e-6, "averaging_rate": 1.0}
    features = {"relative": [["goal_position", "gripper_position"]]}
    agent = {"skills": False, "low_level": low_level, "features": features}
    result = trainer(None, tmp_path / "run", agent, **settings).run(show_progress=False)
    code = (
        "import sys, numpy as np; from reskill_core.runtime import load_policy\n"
        "from reskill_core.data import DemoDataset\n"
        f"policy, data = load_policy({str(result.run)!r}), DemoDataset.open({str(data)!r})\n"
        "policy.reset(range(200)); acted = policy.act(data.observation[:200]).action\n"
        "print(np.abs(acted - data.action[:200]).mean()); sys.exit('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) < 0.2


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(module: SkillModule, tmp_path: Path) -> None:
    class Broken(PointMass):
        def step(self, actions: np.ndarray, places: Any = None) -> Any:
            outcome = super().step(actions, places)
            if len(self.actions) > 2 * STEPS:
                outcome.reward[:] = np.inf
            return outcome

    agent = {"residual": False, "high_level": {**SAC, "warm_up": 0}}
    run = trainer(module, tmp_path, agent, Broken(ENVS))
    with pytest.raises(TrainingError, match=r"the critics' loss is not finite: .* The last good checkpoint remains"):
        run.run(show_progress=False)
    assert (tmp_path / NOT_FINITE_FOLDER / "report.json").is_file()
    policy = load_policy(tmp_path)
    policy.reset([0])
    assert np.isfinite(policy.act(TASK.obs.zeros(1)).action).all()


def test_a_residual_on_skills_is_refused(module: SkillModule, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="low_level: sac learns from transitions between features"):
        trainer(module, tmp_path, {"low_level": {**SAC, "regulariser": "entropy"}})
