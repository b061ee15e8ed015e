"""Evaluation, part by part: what is counted, from which episodes, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from skill_fixtures import block_episode

from reskill_core.data import Episode
from reskill_core.lineage import Lineage
from reskill_core.results import EpisodeOutcome
from reskill_core.runtime import SkillModule
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.evaluation import SkillEvaluation, evaluate_policy, metrics_table
from reskill_sim.evaluation.policies import PolicyEvaluation, ZeroPolicy
from reskill_sim.evaluation.reconstruction import ReconstructionOutcome, Tape, reconstruct
from reskill_sim.evaluation.rollouts import (
    RolloutOutcome,
    UniformPolicy,
    paths_from_one_state,
    plain_action,
    policy_of,
    rollout_outcomes,
)
from reskill_sim.fetch.demonstrators import make_demonstrator
from reskill_sim.fetch.object_metrics import TITLES, object_metrics, object_positions
from reskill_sim.fetch.tasks import get_task

TASK = get_task("block")
SPEC = TASK.spec


shown = partial(block_episode, SPEC)


def test_an_object_is_followed_to_the_last_observation() -> None:
    path = [[1.3, 0.7, 0.425], [1.3, 0.72, 0.43], [1.3, 0.75, 0.44]]
    np.testing.assert_allclose(object_positions(SPEC, shown(path, [1.3, 0.8, 0.425])), path, rtol=1e-6)


def test_outcomes_by_hand() -> None:
    goal = [1.0, 1.0, 0.5]
    start = [1.0, 0.5, 0.5]
    metrics = object_metrics(SPEC, shown([start, [1.0, 0.5, 0.8], [1.3, 0.9, 0.5]], goal))
    assert metrics["travel_m"] == pytest.approx(0.5, abs=1e-6)
    assert metrics["final_distance_m"] == pytest.approx(np.hypot(0.3, 0.1), abs=1e-6)
    # Just below and just above two centimetres, and five from the goal; downwards is not lifted.
    for moved, lifted, end in (
        (False, False, [1.0, 0.519, 0.5]),
        (True, False, [1.0, 0.521, 0.5]),
        (False, False, [1.0, 0.5, 0.519]),
        (True, True, [1.0, 0.5, 0.521]),
        (True, False, [1.0, 0.5, 0.4]),
    ):
        found = object_metrics(SPEC, shown([start, end], goal))
        assert (found["moved"], found["lifted"]) == (moved, lifted)
    for reached, end in ((False, [1.0, 0.949, 0.5]), (True, [1.0, 0.951, 0.5])):
        assert object_metrics(SPEC, shown([start, end, start], goal))["reached"] == reached


def test_uniform_actions_are_uniform_and_depend_on_the_seed_alone() -> None:
    actor = UniformPolicy(SPEC, 3)
    actor.reset([5, 6, 7])
    nothing = np.zeros((3, SPEC.obs.dim))
    first = [actor.act(nothing).action for _ in range(200)]
    drawn = np.stack(first)
    assert drawn.shape == (200, 3, 4)
    assert drawn.dtype == np.float32
    assert drawn.min() < -0.95
    assert drawn.max() > 0.95
    assert np.abs(drawn).max() <= 1
    assert abs(drawn.mean()) < 0.05
    assert np.abs(drawn[:, 0] - drawn[:, 1]).max() > 0.5
    other = UniformPolicy(SPEC, 3)
    other.reset([0, 0, 0])
    other.reset([7, 5], [0, 2])
    np.testing.assert_array_equal(other.act(nothing[:2], [2, 0]).action, first[0][[0, 2]])
    # The one in the middle went on with nothing.
    other.reset([6], [1])
    np.testing.assert_array_equal(other.act(nothing[:1], [1]).action, first[0][[1]])


def test_sources_of_rollouts() -> None:
    module = SkillModule.load("skills/block")
    uniform = policy_of("uniform", module, 2)
    assert isinstance(uniform, UniformPolicy)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        uniform.reset([1, 2], [0])
    observation = Simulator(TASK, 2).reset([1, 2])
    latents = {}
    for source in ("prior", "standard_normal"):
        actor = policy_of(source, module, 2)
        actor.reset([1, 2])
        latents[source] = actor.act(observation).latent
    expected = module.noise_to_latent(latents["standard_normal"], observation)
    np.testing.assert_allclose(latents["prior"], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(latents["prior"] - latents["standard_normal"]).max() > 0.01


def test_plain_actions_know_neither_skills_nor_residuals() -> None:
    action = np.full((2, 4), 0.5, np.float32)
    answer = plain_action(action)
    np.testing.assert_array_equal(answer.decoded_action, action)
    assert not answer.residual.any()
    assert answer.residual.shape == (2, 4)
    assert answer.residual_weight.tolist() == [0.0, 0.0]
    assert answer.residual_weight.dtype == np.float32
    assert answer.latent.shape == (2, 0)
    assert answer.latent.dtype == np.float32
    assert answer.skill_step.tolist() == [0, 0]
    assert answer.skill_step.dtype == np.int64


def test_paths_start_at_one_place_and_spread() -> None:
    paths = paths_from_one_state(TASK, UniformPolicy(SPEC, 3), 3, "turbo")
    assert paths.shape == (3, SPEC.horizon + 1, 3)
    np.testing.assert_array_equal(paths[0, 0], paths[1, 0])
    assert np.abs(paths[0] - paths[1]).max() > 0.01
    assert 1.2 < paths[..., 0].mean() < 1.5


def test_rollouts_are_those_of_the_evaluation_seeds_in_order() -> None:
    episodes: list[Episode] = []
    outcomes = rollout_outcomes(
        TASK, lambda n: make_demonstrator("block", num_envs=n), 5, 0, "turbo", on_episode=episodes.append
    )
    assert [outcome.seed for outcome in outcomes] == list(range(10**9, 10**9 + 5))
    assert sorted(outcomes, key=lambda outcome: outcome.seed) == sorted(
        (RolloutOutcome(e.seed, e.success, object_metrics(SPEC, e), float(e.reward.sum())) for e in episodes),
        key=lambda outcome: outcome.seed,
    )
    assert outcomes == rollout_outcomes(TASK, lambda n: make_demonstrator("block", num_envs=n), 5, 1, "turbo")


class Oracle:
    """In place of a skill module: a latent is a window, which it decodes to what was demonstrated in it.

    After a whole window it goes on with its last action, times ``afterwards``.
    """

    horizon, state_dim, task_spec = 10, 1, TASK.spec

    def __init__(self, demonstrations: list[Episode], scale: float, afterwards: float = 0.0) -> None:
        self._windows: list[np.ndarray] = []
        self._scale, self._afterwards = scale, afterwards
        self._steps: dict[int, int] = {}

    def encode(self, observation: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = len(self._windows)
        self._windows += list(action)
        numbers = np.arange(first, len(self._windows), dtype=np.float32)[:, None]
        return numbers, np.ones_like(numbers)

    def features(self, observation: np.ndarray) -> np.ndarray:
        return observation

    def begin(self, features: np.ndarray, latents: np.ndarray) -> np.ndarray:
        return latents

    def act(self, features: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        actions = []
        for number in states[:, 0].astype(int):
            step = self._steps.get(number, 0)
            self._steps[number] = step + 1
            scale = self._scale if step < self.horizon else self._afterwards
            actions.append(scale * self._windows[number][min(step, self.horizon - 1)])
        return np.stack(actions), states


@pytest.fixture(scope="module")
def demonstrations() -> list[Episode]:
    """Without noise, so that what was demonstrated is what was executed; cut to whole windows."""
    demonstrator = make_demonstrator("block", "push", noise_range=(0.0, 0.0), num_envs=4)
    episodes = list(run_episodes(Simulator(TASK, 4, "turbo"), demonstrator, range(4), lambda place: ("push", 0.0)))
    whole = []
    for number, episode in enumerate(episodes):
        steps = 20 if number else 10
        assert episode.num_steps > steps
        parts = {
            name: getattr(episode, name)[:steps]
            for name in ("observation", "action", "executed_action", "reward", "sim_state")
        }
        whole.append(replace(episode, **parts, final_observation=episode.observation[steps]))
    return whole


def test_who_does_again_what_was_demonstrated_reconstructs_it(demonstrations: list[Episode]) -> None:
    again: Any = Oracle(demonstrations, 1.0)
    outcomes = reconstruct(TASK, again, demonstrations, 0, "turbo")
    assert [(outcome.seed, outcome.source) for outcome in outcomes] == [(e.seed, "push") for e in demonstrations]
    assert max(outcome.error_m for outcome in outcomes) < 1e-6
    assert all(outcome.reconstructed for outcome in outcomes)
    for outcome in outcomes:
        assert outcome.demonstrated["travel_m"] > 0
        assert outcome.metrics == pytest.approx(outcome.demonstrated, abs=1e-5)


def test_the_last_skill_goes_on_until_success_or_the_end(demonstrations: list[Episode]) -> None:
    """Nothing of what comes later counts within the time of the demonstration."""
    moving: Any = Oracle(demonstrations, 1.0, afterwards=1.0)
    outcomes = reconstruct(TASK, moving, demonstrations, 0, "turbo")
    assert max(outcome.error_m for outcome in outcomes) < 1e-6
    for outcome in outcomes:
        assert outcome.metrics == pytest.approx(outcome.demonstrated, abs=1e-5)
    further = [outcome.prolonged["travel_m"] - outcome.metrics["travel_m"] for outcome in outcomes]
    assert min(further) > -1e-3
    assert max(further) > 0.05
    # One goes on to the end after its first window, another one only until it succeeds.
    after = sorted(steps for steps in moving._steps.values() if steps > 10)
    assert after[-1] == TASK.spec.horizon - 10
    assert after[0] < after[-1]


def test_a_success_counts_from_its_step_on() -> None:
    tape = Tape(SPEC, 2, 3)
    rows, zeros = np.arange(2), np.zeros((2, SPEC.obs.dim))
    for step, success in enumerate(([False, False], [True, False], [False, False])):
        said = np.array(success)
        result: Any = SimpleNamespace(reward=said.astype(float), success=said)
        tape.record(step, rows, zeros, np.zeros((2, SPEC.action.dim)), result)
    episode = next(iter(run_episodes(Simulator(TASK, 1, "turbo"), make_demonstrator("block", num_envs=1), range(1))))
    found = [[tape.episode(row, episode, steps, zeros[0]).success for steps in (1, 2, 3)] for row in range(2)]
    assert found == [[False, True, True], [False, False, False]]
    assert tape.success.tolist() == [True, False]
    assert tape.episode(0, episode, 2, zeros[0]).reward.tolist() == [0.0, 1.0]


def test_who_does_nothing_leaves_the_object_where_it_was(demonstrations: list[Episode]) -> None:
    nothing: Any = Oracle(demonstrations, 0.0)
    outcomes = reconstruct(TASK, nothing, demonstrations, 0, "turbo")
    for outcome, episode in zip(outcomes, demonstrations, strict=True):
        path = object_positions(SPEC, episode)
        assert outcome.error_m == pytest.approx(float(np.linalg.norm(path[-1] - path[0])), abs=2e-3)
    assert max(outcome.error_m for outcome in outcomes) > 0.03
    assert [outcome.reconstructed for outcome in outcomes] == [outcome.error_m < 0.03 for outcome in outcomes]


def test_reconstructed_is_within_three_centimetres() -> None:
    assert [ReconstructionOutcome(0, "", error_m).reconstructed for error_m in (0.0299, 0.03)] == [True, False]


def outcomes(*moved: bool) -> list[RolloutOutcome]:
    rest = {"lifted": False, "reached": True, "final_distance_m": 0.1, "travel_m": 0.2}
    return [RolloutOutcome(n, n == 0, {"moved": one, **rest}, 3.0) for n, one in enumerate(moved)]


def test_a_skill_evaluation_is_summed_up_by_hand() -> None:
    evaluation = SkillEvaluation(
        "block",
        {"prior": outcomes(True, True, False, False), "uniform": outcomes(False)},
        [ReconstructionOutcome(0, "push", 0.01), ReconstructionOutcome(1, "lift", 0.05)],
        {"kl": 1.25},
        "a note",
        {"rollouts": "here"},
        TITLES,
    )
    summary = evaluation.summary()
    assert summary["task"] == "block"
    assert summary["held_out"] == "a note"
    assert summary["likelihood"] == {"kl": 1.25}
    assert summary["worlds"] == {"rollouts": "here"}
    means = {s: {m: v["mean"] for m, v in found.items()} for s, found in summary["rollouts"].items()}
    numbers = {"final_distance_m": pytest.approx(0.1), "travel_m": pytest.approx(0.2), "return": 3.0}
    assert means == {
        "prior": {"moved": 0.5, "lifted": 0.0, "reached": 1.0, "success": 0.25, **numbers},
        "uniform": {"moved": 0.0, "lifted": 0.0, "reached": 1.0, "success": 1.0, **numbers},
    }
    assert summary["rollouts"]["prior"]["moved"]["count"] == 4
    reconstructed = {source: value["mean"] for source, value in summary["reconstruction"].items()}
    assert reconstructed == {"all": 0.5, "lift": 0.0, "push": 1.0}
    lines = evaluation.table()
    heads = ["rollouts", "of", "moved", ">2cm", "lifted", ">2cm", "<5cm", "of", "goal", "success"]
    assert lines[0].split()[: len(heads)] == heads
    assert lines[1].startswith("  prior           0.500 [0.150,0.850]")
    assert lines[3:] == [
        "world of the rollouts: here",
        "held out: a note",
        "reconstruction in the simulator, result within 3 cm of the demonstration's",
        f"  all             {_told(summary['reconstruction']['all'])}",
        f"  lift            {_told(summary['reconstruction']['lift'])}",
        f"  push            {_told(summary['reconstruction']['push'])}",
        "held-out windows",
        "  kl              1.2500",
    ]
    bare = SkillEvaluation("block", {"prior": outcomes(True)})
    assert len(bare.table()) == 2
    assert bare.summary()["reconstruction"] == {}


def _told(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} [{value['low']:.3f},{value['high']:.3f}]"


def test_a_policy_evaluation_is_summed_up_by_hand() -> None:
    outcomes = tuple(
        EpisodeOutcome("block", "agent", n, n < 3, value, metrics={"travel_m": value, "moved": n < 1})
        for n, value in enumerate((10.0, 20.0, 30.0, 40.0))
    )
    evaluation = PolicyEvaluation("block", "agent", outcomes, 2, Lineage(agent="a" * 64, skills="s" * 64), "runs/x")
    figures = evaluation.figures
    assert (figures.task, figures.policy, figures.checkpoint) == ("block", "agent", "runs/x")
    assert (figures.episodes, figures.diverged) == (4, 2)
    assert figures.lineage == {"agent": "a" * 64, "skills": "s" * 64}
    assert (figures.success.mean, figures.success.count) == (0.75, 4)
    assert (figures.episode_return.mean, figures.episode_return.count) == (25.0, 4)
    assert evaluation.acting == "a" * 64
    assert replace(evaluation, lineage=Lineage(skills="s" * 64)).acting == "s" * 64
    assert {name: value.mean for name, value in figures.metrics.items()} == {"moved": 0.25, "travel_m": 25.0}
    moved, travelled = metrics_table([evaluation])[2:]
    assert moved.startswith("| block | agent | moved >2cm | 0.250 [0.0")
    assert travelled.startswith("| block | agent | travel_m | 25.000 [")
    assert metrics_table([replace(evaluation, outcomes=())]) == []
    success, returned, diverged = evaluation.cells()
    assert success.startswith("0.750 [")
    assert returned.startswith("25.00 [")
    assert diverged == "2"


def test_a_plain_evaluation_is_exact_and_of_the_reported_seeds() -> None:
    task = get_task("complex_hook")
    plain = evaluate_policy(task, lambda n: ZeroPolicy(task.spec), "zero", 2)
    assert plain == evaluate_policy(task, lambda n: ZeroPolicy(task.spec), "zero", 2, "exact", 1)
    assert (plain.task, plain.policy, plain.num_diverged) == ("complex_hook", "zero", 0)
    assert [row.seed for row in plain.outcomes] == [10**9, 10**9 + 1]
    assert [row.steps for row in plain.outcomes] == [task.spec.horizon] * 2
    assert plain.lineage.profile == "exact"
    others = evaluate_policy(task, lambda n: ZeroPolicy(task.spec), "zero", 2, "turbo", first_seed=7)
    assert [row.seed for row in others.outcomes] == [7, 8]


def test_a_batch_is_as_large_as_it_may_be_and_no_larger_than_needed() -> None:
    task, sizes = get_task("block"), []

    def make(num_envs: int) -> ZeroPolicy:
        sizes.append(num_envs)
        return ZeroPolicy(task.spec)

    for episodes in (1, 64, 65):
        assert len(evaluate_policy(task, make, "zero", episodes, "turbo").outcomes) == episodes
    assert sizes == [1, 64, 64]
