"""Training runs of an agent that moves points: what acts, what is judged, what is kept, what a run goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agent_runs import (
    AGENT,
    ENVS,
    FROZEN,
    ITERATION,
    STEPS,
    Judge,
    config,
    still_module,  # noqa: F401 - a fixture
    train,
    without_plots,  # noqa: F401 - a fixture
)
from point_mass import Ending, PointMass
from skill_fixtures import TASK, observations, random_model, save_module, small_config, write_reaching_data

from reskill_core.checkpoint import load_checkpoint, load_training_state
from reskill_core.config import config_to_dict, load_config
from reskill_core.data import DemoDataset
from reskill_core.errors import CheckpointError, DataError, TrainingError
from reskill_core.lineage import Lineage
from reskill_core.rl.config import AgentTrainingConfig, Schedule
from reskill_core.runtime import SkillModule, load_policy
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.seeding import SEEDING
from reskill_core.spec import ActionSpec
from reskill_core.training.agent_trainer import AgentTrainer
from reskill_core.training.evaluated_run import EvaluatedResult
from reskill_core.training.metrics import read_metrics


def test_the_residual_acts_and_is_judged_with_the_weight_of_the_schedule(module: SkillModule, tmp_path: Path) -> None:
    """The skills do nothing, so actions are as wide as the weight times the deviation of the residual."""
    points = PointMass(ENVS, lambda seed: Ending(STEPS))
    result, judge = train(module, config(tmp_path), environments=points)
    actions = np.stack(points.actions).reshape(4, -1)
    assert not actions[0].any()
    assert actions[1:].std(axis=1) / 0.2 == pytest.approx([0.25, 0.5, 0.75], rel=0.15)
    rows = [row for row in read_metrics(tmp_path) if "train/residual_weight" in row]
    assert [(row["step"], row["train/residual_weight"]) for row in rows] == [
        (ITERATION * n, 0.25 * (n - 1)) for n in range(1, 5)
    ]
    # Judged and kept with the weight that it will act with next.
    for number, policy in enumerate(judge.policies, start=1):
        policy.reset([0])
        assert policy.act(observations(1)).residual_weight[0] == pytest.approx(0.25 * number)
        kept = load_policy(tmp_path / "checkpoints" / f"{ITERATION * number:08d}")
        kept.reset([0])
        assert kept.act(observations(1)).residual_weight[0] == pytest.approx(0.25 * number)
    assert result.steps == 4 * ITERATION


@pytest.mark.parametrize(
    ("returns", "best"),
    [((1.0, 3.0, 2.0, -4.0), 2), ((5.0, 5.0, 5.0, 5.0), 4), ((1.0, 3.0, 3.0, -4.0), 3), ((-9.0, -8.0, -7.0, -6.0), 4)],
)
def test_the_best_checkpoint_is_the_last_of_the_highest_return(
    returns: tuple[float, ...], best: int, module: SkillModule, tmp_path: Path
) -> None:
    result, _ = train(module, config(tmp_path, keep_checkpoints=1), returns)
    assert result.best_step == best * ITERATION
    assert result.evaluation == {"return": returns[best - 1], "success": 0.5}
    assert result.checkpoint.resolve().name == f"{best * ITERATION:08d}"
    assert result.checkpoint == tmp_path / "checkpoints" / "best"
    assert result.run == tmp_path
    kept = {path.name for path in (tmp_path / "checkpoints").glob("0*")}
    assert kept == {f"{number * ITERATION:08d}" for number in (best, 4)}
    checkpoint = load_checkpoint(tmp_path / "checkpoints" / "last", AGENT_KIND)
    assert checkpoint.document["evaluation"] == {"return": returns[-1], "success": 0.5}
    assert (tmp_path / "checkpoints" / "last").resolve().name == f"{4 * ITERATION:08d}"


def test_evaluations_come_as_often_as_asked_for_and_at_the_end(module: SkillModule, tmp_path: Path) -> None:
    every = 2 * ITERATION - 1
    train(module, config(tmp_path, steps=5 * ITERATION - 3, evaluate_every=every), (1.0, 2.0, 3.0))
    rows = read_metrics(tmp_path)
    judged = [(row["step"], row["evaluation/return"]) for row in rows if "evaluation/return" in row]
    assert judged == [(2 * ITERATION, 1.0), (4 * ITERATION, 2.0), (5 * ITERATION, 3.0)]
    assert [row["step"] for row in rows if "train/trained_s" in row] == [ITERATION * n for n in range(1, 6)]


def test_metrics_tell_of_episodes(module: SkillModule, tmp_path: Path) -> None:
    """Every third episode succeeds, one in eight diverges and counts for nothing else."""
    place: Callable[[int], int] = lambda seed: seed % ENVS  # noqa: E731 - the environment of a seed
    first: list[int] = []

    def ending(seed: int) -> Ending:
        first.append(seed)
        number = seed - min(first)
        return Ending(STEPS, success=number % ENVS % 3 == 0, diverged=number % ENVS == 7)

    points = PointMass(ENVS, ending, lambda step: float(step == 2))
    train(module, config(tmp_path, steps=ITERATION), (1.0,), points)
    (row,) = [row for row in read_metrics(tmp_path) if "train/return" in row]
    assert place(0) == 0
    assert row["train/return"] == 1.0
    assert row["train/success"] == pytest.approx(3 / 7)
    assert row["train/diverged"] == 1.0
    assert 0 < row["train/learning_share"] < 1
    assert row["train/steps_per_s"] == pytest.approx(ITERATION / row["train/trained_s"], rel=1e-6)


def test_progress_is_shown(module: SkillModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = config(tmp_path, steps=11 * ITERATION, evaluate_every=100 * ITERATION)
    points = PointMass(ENVS, lambda seed: Ending(STEPS))
    AgentTrainer(given, [points], TASK, module, Judge(iter((1.0,)))).run()
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("train-agent reach: 100%")
    assert " 1.06k/1.06k " in last
    assert "step/s, ret=" in last


LEARNING = replace(FROZEN, learning_rate=1e-2, epochs=3, minibatch=32)


def test_both_levels_learn_each_with_its_own_settings(module: SkillModule, tmp_path: Path) -> None:
    given = replace(AGENT, schedule=Schedule("linear", 0, 1), high_level=LEARNING, low_level=FROZEN)
    result, _ = train(module, config(tmp_path / "high", agent=given))
    assert changed(result) == {"high_level"}
    given = replace(given, high_level=FROZEN, low_level=LEARNING)
    result, _ = train(module, config(tmp_path / "low", agent=given))
    assert changed(result) == {"low_level"}
    rows = [row for row in read_metrics(tmp_path / "low") if "low_level/kl" in row]
    assert len(rows) == 3, "at first the weight is zero"
    assert all(row["low_level/passes"] <= 3 for row in rows)


def changed(result: EvaluatedResult) -> set[str]:
    """The levels whose actors differ from one evaluation to the next."""
    checkpoints = sorted((result.run / "checkpoints").glob("0*"))
    first, last = (load_checkpoint(path, AGENT_KIND).weights for path in (checkpoints[0], checkpoints[-1]))
    return {name.split(".")[0] for name in first if ".actor." in name and np.abs(first[name] - last[name]).max() > 1e-5}


def test_learning_rates_fall_over_the_run(module: SkillModule, tmp_path: Path) -> None:
    """Down to nothing at its end: the last of ten iterations moves about a tenth as far as the first."""
    level = replace(LEARNING, final_learning_rate=0.0, epochs=1, minibatch=16, gradient_norm=1e6)
    given = replace(AGENT, residual=False, high_level=level)
    result, _ = train(module, config(tmp_path, agent=given, steps=10 * ITERATION, keep_checkpoints=20), (1.0,) * 10)
    checkpoints = sorted((result.run / "checkpoints").glob("0*"))
    biases = [load_checkpoint(path, AGENT_KIND).weights["high_level.critic.linear.1.bias"][0] for path in checkpoints]
    moves = np.abs(np.diff(biases))
    assert moves[0] > 5e-3
    assert moves[-1] < 0.25 * moves[0]


def test_a_policy_learns_to_reach_what_is_rewarded(module: SkillModule, tmp_path: Path) -> None:
    """Plain PPO on points that are rewarded for going to positive x."""

    class Eager(PointMass):
        def step(self, actions: np.ndarray, places: Any = None) -> Any:
            outcome = super().step(actions, places)
            return replace(outcome, reward=np.asarray(actions)[:, 0].astype(float))

    level = replace(LEARNING, epochs=10, minibatch=48, std=0.3, discount=0.8)
    given = replace(AGENT, skills=False, low_level=level)
    points = Eager(ENVS, lambda seed: Ending(STEPS))
    train(module, config(tmp_path, agent=given, steps=12 * ITERATION), (1.0,) * 12, points)
    rows = [row["train/return"] for row in read_metrics(tmp_path) if "train/return" in row]
    assert rows[-1] > rows[0] + 3


RUNNING = replace(
    AGENT,
    schedule=Schedule("linear", 0, 4 * ITERATION),
    high_level=replace(LEARNING, final_learning_rate=0.1),
    low_level=replace(LEARNING, final_learning_rate=0.1),
)


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(done: int, module: SkillModule, tmp_path: Path) -> None:
    """Environments, skills under way, both levels, random streams, the best so far; judged in the same steps."""
    returns = (1.0, 4.0, 2.0, 3.0)
    steady, _ = train(module, config(tmp_path / "steady", agent=RUNNING), returns, PointMass(ENVS))

    def interrupted() -> Iterator[float]:
        yield from returns[:done]
        raise KeyboardInterrupt

    given = config(tmp_path / "broken", agent=RUNNING)
    with pytest.raises(KeyboardInterrupt):
        AgentTrainer(given, [PointMass(ENVS)], TASK, module, Judge(interrupted())).run(show_progress=False)
    judge = Judge(iter(returns[done:]))
    broken = AgentTrainer(given, [PointMass(ENVS)], TASK, module, judge).run(show_progress=False)
    assert len(judge.policies) == 4 - done
    assert (broken.best_step, broken.evaluation, broken.steps) == (steady.best_step, steady.evaluation, steady.steps)
    assert broken.checkpoint.resolve().name == steady.checkpoint.resolve().name
    expected, found = (load_checkpoint(result.run / "checkpoints/last", AGENT_KIND) for result in (steady, broken))
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(array, found.weights[name], err_msg=name)
    states = [load_training_state(result.run / "checkpoints/last") for result in (steady, broken)]
    times = [state["progress"].pop("trained_s") for state in states]
    assert min(times) > 0
    for name, value in states[0].items():
        np.testing.assert_equal(states[1][name], value, err_msg=name)
    logged = [without_clock(result.run) for result in (steady, broken)]
    assert logged[0] == logged[1]


def without_clock(run: Path) -> list[dict[str, float]]:
    clock = ("train/steps_per_s", "train/learning_share", "train/trained_s")
    return [{name: value for name, value in row.items() if name not in clock} for row in read_metrics(run)]


def test_a_finished_run_is_left_as_it_is(module: SkillModule, tmp_path: Path) -> None:
    first, _ = train(module, config(tmp_path))
    again, judge = train(module, config(tmp_path, variant="renamed", threads=0, skills="elsewhere"), ())
    assert again == first
    assert not judge.policies
    with pytest.raises(CheckpointError, match="seed: 0 != 1"):
        train(module, config(tmp_path, seed=1), ())
    with pytest.raises(CheckpointError, match=r"agent\.min_weight: 0\.05 != 0\.5"):
        train(module, config(tmp_path, agent=replace(AGENT, min_weight=0.5)), ())


def test_a_run_keeps_its_configuration_and_its_skills(module: SkillModule, tmp_path: Path) -> None:
    given = config(tmp_path / "run")
    result, _ = train(module, given)
    assert load_config(AgentTrainingConfig, tmp_path / "run" / "config.yaml") == given
    checkpoint = load_checkpoint(result.run, AGENT_KIND)
    assert checkpoint.task == TASK
    assert checkpoint.document["agent"] == config_to_dict(AGENT)
    kept = {name.removeprefix("skills."): a for name, a in checkpoint.weights.items() if name.startswith("skills.")}
    acting = {name for name in module.checkpoint.weights if not name.startswith("encoder.")}
    assert kept.keys() == acting
    for name, array in kept.items():
        np.testing.assert_array_equal(array, module.checkpoint.weights[name])
    policy = load_policy(result.run)
    assert policy.module.checkpoint is not None
    assert policy.module.checkpoint.sha256 == module.checkpoint.sha256
    assert policy.checkpoint.document["training"]["seeding"] == SEEDING
    lineage = Lineage.of(checkpoint.document)
    assert (lineage.skills, lineage.task, lineage.profile) == (module.checkpoint.sha256, TASK.name, "fast")
    assert lineage.data is None
    levels = {name.split(".")[0] for name in checkpoint.weights}
    assert levels == {"skills", "high_level", "low_level"}


def test_what_is_not_finite_stops_the_run_and_leaves_the_last_good_checkpoint(
    module: SkillModule, tmp_path: Path
) -> None:
    class Broken(PointMass):
        def step(self, actions: np.ndarray, places: Any = None) -> Any:
            outcome = super().step(actions, places)
            return replace(outcome, reward=outcome.reward * (np.nan if len(self.actions) > 2 * STEPS else 1.0))

    with pytest.raises(
        TrainingError, match=f"step {2 * ITERATION}: .*not finite.*learning_rate of the level"
    ) as caught:
        train(module, config(tmp_path), environments=Broken(ENVS, lambda seed: Ending(STEPS)))
    assert str(tmp_path) in str(caught.value)
    report = json.loads((tmp_path / "not_finite_batch" / "report.json").read_text())
    assert report["step"] == 2 * ITERATION
    assert "not finite" in report["error"]
    assert load_training_state(tmp_path / "checkpoints" / "last")["progress"]["step"] == 2 * ITERATION


def test_plain_ppo_starts_from_what_was_demonstrated(module: SkillModule, tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data")
    given = replace(AGENT, skills=False, low_level=replace(FROZEN, hidden=(64,)))
    settings = config(tmp_path / "run", agent=given, steps=ITERATION, demonstrations=str(data), imitation_updates=600)
    result, _ = train(module, settings, (1.0,))
    dataset = DemoDataset.open(data)
    policy = load_policy(result.run)
    policy.reset(range(200))
    acted = policy.act(dataset.observation[:200]).action
    assert np.abs(acted - dataset.action[:200]).mean() < 0.15
    untrained, _ = train(module, replace(settings, out=str(tmp_path / "other"), imitation_updates=1), (1.0,))
    policy = load_policy(untrained.run)
    policy.reset(range(200))
    assert np.abs(policy.act(dataset.observation[:200]).action - dataset.action[:200]).mean() > 0.3


def test_demonstrations_and_skills_must_fit(module: SkillModule, tmp_path: Path) -> None:
    other = replace(TASK, name="other", obs=replace(TASK.obs, terms=TASK.obs.terms[:-1], frames=("gripper",)))
    points = [PointMass(ENVS)]
    with pytest.raises(CheckpointError, match="other"):
        AgentTrainer(config(tmp_path), points, other, module, Judge(iter(())))
    data = write_reaching_data(tmp_path / "data")
    slower = ActionSpec(tuple(replace(component, scale=1.0) for component in TASK.action.components))
    renamed = replace(TASK, name="renamed", action=slower)
    given = config(
        tmp_path, agent=replace(AGENT, skills=False), demonstrations=str(data), imitation_updates=1, task="renamed"
    )
    fitting = save_module(tmp_path / "module", random_model(small_config()), renamed)
    with pytest.raises(DataError, match="has other observations or actions than the task"):
        AgentTrainer(given, points, renamed, SkillModule.load(fitting, False), Judge(iter(())))
