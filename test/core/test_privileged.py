"""Critics that know more than actors, and episodes that vary more and more: what is learnt, kept and deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from point_mass import PointMass
from sac_decisions import SMALL, decided, rows
from skill_fixtures import TASK, observations, random_model, save_module, small_config

from reskill_core.checkpoint import load_checkpoint, load_training_state
from reskill_core.config import config_from_dict
from reskill_core.environment import Places, variation_strengths
from reskill_core.errors import ConfigError
from reskill_core.rl.algorithm import ALGORITHMS
from reskill_core.rl.config import AgentTrainingConfig, PpoConfig, Schedule
from reskill_core.rl.ppo import Ppo
from reskill_core.rl.sac import Sac
from reskill_core.rl.transitions import SkillTransition
from reskill_core.runtime import SkillModule, load_policy
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.runtime.graph import Graph
from reskill_core.training.agent_trainer import AgentTrainer
from reskill_core.training.levels import set_strengths
from reskill_core.training.metrics import read_metrics
from reskill_core.training.onnx_files import onnx_files

ENVS, STEPS, WIDTH = 6, 12, 16
ITERATION = ENVS * STEPS
PPO = {"hidden": [8], "epochs": 2, "minibatch": 24}
SAC = {"algorithm": "sac", "hidden": [8], "critic_hidden": [8], "batch": 16, "updates": 0.5, "warm_up": 0}
LEVELS = pytest.mark.parametrize(
    "agent", [{"high_level": PPO, "low_level": PPO}, {"high_level": SAC, "residual": False}], ids=["ppo", "sac"]
)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    folder = save_module(tmp_path_factory.mktemp("skills") / "module", random_model(small_config()))
    return SkillModule.load(folder, batch_invariant=False)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskill_core.training.evaluated_run.plot_returns", lambda path, rows: None)


class OpenPoints(PointMass):
    """Points that tell where they are although they are seen 1 cm too far to the left, and start farther away later.

    Attributes:
        strengths: of all episodes, in order.
    """

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs)
        self.strength = np.ones(num_envs)
        self.strengths: list[float] = []

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> np.ndarray:
        super().reset(seeds, places)
        chosen = np.arange(self.num_envs) if places is None else np.asarray(places)
        self._rows[chosen, 0] += 0.3 * self.strength[chosen]
        self.strengths += self.strength[chosen].tolist()
        return self.observation()

    def observation(self) -> np.ndarray:
        return self.true_observation() - 0.01 * np.eye(TASK.obs.dim)[1]

    def true_observation(self) -> np.ndarray:
        return super().observation()

    def world_parameters(self) -> np.ndarray:
        return np.sin(self._rows[:, 11:])


def trainer(module: SkillModule, out: Path, agent: dict[str, Any], points: PointMass, **changes: Any) -> AgentTrainer:
    given = {
        "task": TASK.name,
        "skills": "skills",
        "out": str(out),
        "steps": 4 * ITERATION,
        "num_envs": ENVS,
        "rollout_steps": STEPS,
        "threads": 1,
        "evaluate_every": ITERATION,
        "keep_checkpoints": 10,
        "variation": {"mass": [0.5, 1.0]},
        "agent": {"schedule": {"end": 1}, "skill_steps": None, **agent},
        **changes,
    }
    returns = iter(range(100))
    config = config_from_dict(AgentTrainingConfig, given)
    return AgentTrainer(config, [points], TASK, module, lambda policy: {"return": float(next(returns))})


def known_by_critics(count: int) -> SkillTransition:
    """Decisions whose reward is the first privileged input, and depends on no feature."""
    privileged = rows(count, 2, seed=1)
    return decided(
        rows(count), rows(count, 2, seed=2), privileged[:, 0], privileged=privileged, next_privileged=privileged
    )


def scored(values: SkillTransition) -> SkillTransition:
    return replace(values, log_prob=np.full(len(values), -2.0, np.float32))


@pytest.mark.parametrize("privileged", [0, 2])
def test_what_only_critics_see_tells_them_the_value(privileged: int) -> None:
    """The reward itself is privileged: those who see it explain it, the others cannot."""
    config = PpoConfig(hidden=(32,), epochs=20, minibatch=64, discount=0.0, learning_rate=3e-3)
    level = Ppo(3, 3, 2, config, 0, privileged=privileged)
    seen = scored(known_by_critics(512))
    if not privileged:
        seen = replace(seen, privileged=seen.privileged[:, :0], next_privileged=seen.next_privileged[:, :0])
    for _ in range(3):
        level.observe(seen)
        found = level.update(0.0)
    level.observe(seen)
    explained = level.update(0.0)["explained"]
    assert explained > 0.9 if privileged else explained < 0.5, found


def test_the_actor_of_ppo_depends_on_privileged_inputs_by_advantages_only() -> None:
    config = PpoConfig(hidden=(8,), epochs=2, minibatch=64)
    one, two = (Ppo(3, 3, 2, config, 0, privileged=2) for _ in range(2))
    experience = one.experience(scored(known_by_critics(256)))
    np.testing.assert_array_equal(experience.critic_input[:, :3], experience.actor_input)
    other = replace(experience, critic_input=experience.critic_input + np.array([0, 0, 0, 1, -1], np.float32))
    for level, seen in ((one, experience), (two, other)):
        level.learn_actor(seen)
        level.learn_critic(seen)
    weights = one.weights(), two.weights()
    assert weights[0]["actor.linear.0.weight"].shape == (8, 3)
    assert weights[0]["critic.linear.0.weight"].shape == (8, 5)
    for name, array in weights[0].items():
        equal = np.array_equal(array, weights[1][name])
        assert equal != name.startswith("critic"), name
    np.testing.assert_array_equal(one.act(rows(5)).value, two.act(rows(5)).value)


def test_critics_of_sac_see_both_ends_of_a_decision() -> None:
    """Targets look at what is privileged at the end of a decision, values and the actor's gradient at its start."""
    config = replace(SMALL, regulariser="entropy", averaging_rate=1.0, soft_values=False)

    def updated(**changes: np.ndarray) -> tuple[np.ndarray, float, float]:
        level = Sac(inputs=3, features=3, decisions=2, config=config, seed=1, privileged=2)
        learner = level._learner
        seen = replace(known_by_critics(64), terminated=np.zeros(64, np.bool_), **changes)
        level.observe(seen)
        batch = learner.tensors(level._replay.rows(np.arange(64)))
        target = learner.target(batch)
        return target.numpy(), learner.learn_critics(batch, target)["q"], learner.learn_actor(batch)["actor_loss"]

    target, value, loss = updated()
    changed = rows(64, 2, seed=5)
    later, same_value, _ = updated(next_privileged=changed)
    same_target, other_value, other_loss = updated(privileged=changed)
    assert np.abs(later - target).max() > 1e-3
    np.testing.assert_array_equal(same_target, target)
    assert same_value == value
    assert other_value != value
    assert other_loss != loss


def test_critics_of_sac_learn_what_only_they_see() -> None:
    config = replace(SMALL, regulariser="entropy", critic_hidden=(32,), updates=2.0, critic_learning_rate=3e-3)
    level = Sac(inputs=3, features=3, decisions=2, config=config, seed=1, privileged=2)
    level.observe(known_by_critics(400))
    level.update(0.0)
    level.observe(known_by_critics(50))
    assert level.update(0.0)["td_error"] < 0.1
    assert level.weights()["actor.linear.0.weight"].shape == (16, 3)


@LEVELS
def test_what_is_deployed_knows_nothing_of_it(agent: dict[str, Any], module: SkillModule, tmp_path: Path) -> None:
    run = trainer(module, tmp_path, {**agent, "privileged_critics": True}, OpenPoints(ENVS))
    result = run.run(show_progress=False)
    checkpoint = load_checkpoint(result.run, AGENT_KIND)
    width = module.features(TASK.obs.zeros(1)).shape[1]
    assert checkpoint.weights["high_level.actor.linear.0.weight"].shape == (8, width)
    policy = load_policy(result.run)
    policy.reset(range(3))
    assert np.isfinite(policy.act(observations(3)).action).all()
    graph = Graph(onnx_files(checkpoint)["high_level.onnx"])
    features = module.features(observations(3))
    acted = run._levels["high_level."].actor_from(checkpoint.weights, "high_level.").act(features).value
    np.testing.assert_allclose(graph.run({"features": features})[0], acted, rtol=1e-4, atol=1e-5)
    if "low_level" in agent:
        assert checkpoint.weights["high_level.critic.linear.0.weight"].shape == (8, width + width + 1)
        assert checkpoint.weights["low_level.critic.linear.0.weight"].shape == (8, width + width + 1)


@LEVELS
def test_such_a_run_goes_on_to_the_same_bits(agent: dict[str, Any], module: SkillModule, tmp_path: Path) -> None:
    """Interrupted between evaluations, with episodes of different strengths and skills under way."""
    agent, curriculum = {**agent, "privileged_critics": True}, {"begin": 0, "end": 3 * ITERATION}
    trainer(module, tmp_path / "steady", agent, OpenPoints(ENVS), curriculum=curriculum).run(show_progress=False)
    broken = trainer(module, tmp_path / "broken", agent, OpenPoints(ENVS), curriculum=curriculum)

    def interrupt(policy: object) -> dict[str, float]:
        if broken.progress.step == 3 * ITERATION:
            raise KeyboardInterrupt
        return {"return": broken.progress.step / ITERATION - 1}

    broken._evaluate = interrupt
    with pytest.raises(KeyboardInterrupt):
        broken.run(show_progress=False)
    resumed = trainer(module, tmp_path / "broken", agent, OpenPoints(ENVS), curriculum=curriculum)
    resumed._evaluate = lambda policy: {"return": resumed.progress.step / ITERATION - 1}
    resumed.run(show_progress=False)
    lasts = [tmp_path / run / "checkpoints" / "last" for run in ("steady", "broken")]
    one, two = ({**load_checkpoint(last, AGENT_KIND).weights, **load_training_state(last)} for last in lasts)
    one["progress"].pop("trained_s")
    two["progress"].pop("trained_s")
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_equal(two[name], value, err_msg=name)
    assert one["group0/pending/privileged"].shape == (ENVS, WIDTH + 1)


def test_older_states_have_neither_strength_nor_privileged_inputs(module: SkillModule, tmp_path: Path) -> None:
    run = trainer(module, tmp_path, {"high_level": PPO, "low_level": PPO}, OpenPoints(ENVS))
    run.run(show_progress=False)
    state = run.state()
    older = {name: value for name, value in state.items() if not name.endswith(("strength", "pending/privileged"))}
    assert len(older) == len(state) - 2
    again = trainer(module, tmp_path, {"high_level": PPO, "low_level": PPO}, OpenPoints(ENVS))
    again.restore(run.checkpoint()[0], older)
    for name, value in again.state().items():
        np.testing.assert_equal(value, state[name], err_msg=name)


@pytest.mark.parametrize("high_level", [PPO, SAC], ids=["ppo", "sac"])
def test_an_episode_has_the_strength_of_the_iteration_that_it_starts_in(
    high_level: dict[str, Any], module: SkillModule, tmp_path: Path
) -> None:
    """Three iterations from nominal to full; episodes last from 5 to 11 steps."""
    points = OpenPoints(ENVS)
    agent = {"residual": False, "high_level": high_level}
    curriculum = {"begin": ITERATION, "end": 3 * ITERATION}
    trainer(module, tmp_path, agent, points, curriculum=curriculum).run(show_progress=False)
    # Those that the environments were made with.
    started = np.array(points.strengths[ENVS:])
    assert sorted(set(points.strengths)) == [0.0, 0.5, 1.0]
    assert (np.diff(started) >= 0).all()
    logged = [row["train/variation_strength"] for row in read_metrics(tmp_path) if "train/variation_strength" in row]
    assert logged == [0.0, 0.0, 0.5, 1.0]
    assert points.strengths[:ENVS] == [0.0] * ENVS


def test_without_a_curriculum_every_episode_has_the_whole_variation(module: SkillModule, tmp_path: Path) -> None:
    points = OpenPoints(ENVS)
    trainer(module, tmp_path, {"residual": False, "high_level": PPO}, points).run(show_progress=False)
    assert set(points.strengths) == {1.0}
    assert not any("train/variation_strength" in row for row in read_metrics(tmp_path))


def test_a_share_of_the_environments_is_nominal(module: SkillModule, tmp_path: Path) -> None:
    """The first ones, throughout."""
    groups = [OpenPoints(ENVS), OpenPoints(ENVS)]
    set_strengths(groups, variation_strengths(2 * ENVS, 0.75))
    assert [group.strength.tolist() for group in groups] == [[0.0] * ENVS, [0.0] * (ENVS // 2) + [1.0] * (ENVS // 2)]
    points = OpenPoints(ENVS)
    run = trainer(module, tmp_path, {"residual": False, "high_level": PPO}, points, nominal_share=0.5)
    run.run(show_progress=False)
    assert points.strength.tolist() == [0.0] * (ENVS // 2) + [1.0] * (ENVS // 2)
    # Those of the episodes that it has started; before, they are as the environments were made.
    assert set(points.strengths[ENVS:]) == {0.0, 1.0}


def test_the_strength_by_steps() -> None:
    config = AgentTrainingConfig("task", "out", skills="skills", variation={"mass": [0.5, 1.0]})
    assert [config.variation_strength(steps) for steps in (0, 10**9)] == [1.0, 1.0]
    rising = replace(config, curriculum=Schedule("linear", 100, 500))
    assert [rising.variation_strength(steps) for steps in (0, 100, 200, 400, 500, 10**9)] == [0, 0, 0.25, 0.75, 1, 1]
    assert rising.violations() == []
    assert replace(rising, variation=None).violations() == [
        "curriculum: needs a variation whose strength it raises, got none"
    ]
    with pytest.raises(ConfigError, match=r"curriculum\.begin: must not be above end, got 8 and 7"):
        config_from_dict(AgentTrainingConfig, {"task": "t", "out": "o", "curriculum": {"begin": 8, "end": 7}})


def test_what_cannot_be_had_is_refused(module: SkillModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = {"high_level": PPO, "low_level": PPO}
    with pytest.raises(
        ConfigError, match="privileged_critics: the environments of task 'reach' only tell what the agent"
    ):
        trainer(module, tmp_path, {**agent, "privileged_critics": True}, PointMass(ENVS))
    with pytest.raises(
        ConfigError, match=r"the variation of task 'reach' cannot be weakened.*leave curriculum and nominal_share out"
    ):
        trainer(module, tmp_path, agent, PointMass(ENVS), curriculum={"end": 100})
    known = dict.fromkeys(ALGORITHMS.names, "") | {"ppo": "reskill_core.rl.ppo:Ppo"}
    monkeypatch.setitem(vars(ALGORITHMS), "_places", known | {"linear_search": "linear_search:LinearSearch"})
    searching = {"high_level": {"algorithm": "linear_search", "spread": 0.5}, "low_level": PPO}
    trainer(module, tmp_path, searching, OpenPoints(ENVS))
    with pytest.raises(
        ConfigError, match="privileged_critics: high_level learns by linear_search, which has no critics"
    ):
        trainer(module, tmp_path, {**searching, "privileged_critics": True}, OpenPoints(ENVS))
