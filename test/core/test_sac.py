"""Soft actor-critic: losses and targets by hand, optima that are known in closed form, what a run is resumed from."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sac_decisions import LIMIT, SMALL, WIDTH, decided, entropic, rows
from skill_fixtures import random_model, save_module, small_config

from reskill_core.errors import CheckpointError, TrainingError
from reskill_core.rl.config import SacConfig
from reskill_core.rl.sac import Sac
from reskill_core.rl.sac_actor import SacActor
from reskill_core.rl.sac_learner import SacLearner, target_cost
from reskill_core.rl.transitions import SkillTransition
from reskill_core.runtime import SkillModule


@pytest.fixture(scope="module")
def skills(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    folder = save_module(tmp_path_factory.mktemp("skills") / "module", random_model(small_config("gaussian")))
    return SkillModule.load(folder, batch_invariant=False)


def learner(config: SacConfig, decisions: int = 2, columns: tuple[int, ...] = (0, 1, 2)) -> SacLearner:
    return SacLearner(config, columns, columns, decisions, LIMIT, 0, np.random.default_rng(0))


def constant(module: Any, *outputs: float) -> None:
    """Make a network return the same for all inputs."""
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor(outputs))


def fixed(config: SacConfig, mean: float, std: float, values: tuple[float, float]) -> SacLearner:
    """A learner with a constant policy and constant target critics."""
    made = learner(config)
    free_mean, free_log_std = LIMIT * math.atanh(mean / LIMIT), math.log(std)
    low = math.log(config.min_std)
    constant(made.actor.net.linear[-1], *[free_mean] * 2, *[-low * math.atanh(free_log_std / -low)] * 2)
    each: Any = made.targets.each
    for critic, value in zip(each, values, strict=True):
        constant(critic.linear[-1], value)
    return made


def batch_of(reward: tuple[float, ...], discount: tuple[float, ...]) -> dict[str, torch.Tensor]:
    features = torch.from_numpy(rows(len(reward)))
    return {
        "features": features,
        "next_features": features,
        "reward": torch.tensor(reward),
        "discount": torch.tensor(discount),
    }


def test_targets_by_hand() -> None:
    """r + g (min Q - alpha KL), with KL = 2 (0.5^2 + 0.8^2 - 1 - 2 ln 0.8) / 2 = 0.3363 for two entries."""
    divergence = 0.25 + 0.64 - 1 - 2 * math.log(0.8)
    soft = fixed(replace(SMALL, temperature=0.4), 0.5, 0.8, (3.0, 2.0))
    batch = batch_of((1.0, -1.0), (0.9, 0.0))
    assert soft.target(batch).tolist() == pytest.approx([1 + 0.9 * (2 - 0.4 * divergence), -1.0], rel=1e-5)
    hard = fixed(replace(SMALL, temperature=0.4, soft_values=False), 0.5, 0.8, (3.0, 2.0))
    assert hard.target(batch).tolist() == pytest.approx([1 + 0.9 * 2, -1.0], rel=1e-5)
    followed = {"return_to_go": torch.tensor([2.0, -0.5])}
    assert hard.target(batch | followed).tolist() == pytest.approx([1 + 0.9 * 2, -0.5], rel=1e-5)
    config = replace(SMALL, temperature=0.4, regulariser="entropy", std=1.0)
    negative_entropy = -2 * (math.log(0.8) + 0.5 * math.log(2 * math.pi * math.e))
    found = fixed(config, 0.5, 0.8, (3.0, 2.0)).target(batch)
    assert found.tolist() == pytest.approx([1 + 0.9 * (2 - 0.4 * negative_entropy), -1.0], rel=1e-5)


def test_a_divergence_is_estimated_without_bias() -> None:
    estimated = fixed(replace(SMALL, samples=400), 0.5, 0.8, (0.0, 0.0))
    features = torch.from_numpy(rows(50))
    policy = estimated.actor(features)
    exact = policy.kl_to_standard_normal()
    assert estimated.cost(policy, features).mean().item() == pytest.approx(exact[0].item(), rel=0.05)


def test_critics_learn_the_target_and_see_limited_decisions() -> None:
    made = learner(replace(SMALL, critic_hidden=(64,), critic_learning_rate=1e-2, temperature_rate=0.0))
    features, decision = rows(256), 3 * rows(256, 2, seed=1)
    reward = np.clip(decision, -LIMIT, LIMIT)[:, 0]
    batch = {
        "features": features,
        "next_features": features,
        "decision": decision,
        "reward": reward,
        "discount": np.zeros(256, np.float32),
    }
    losses = [made.update(batch)["critic_loss"] for _ in range(150)]
    assert losses[-1] < 0.05 * losses[0]
    outside = torch.tensor([[5.0, -9.0]])
    limited = torch.tensor([[3.0, -3.0]])
    seen = torch.from_numpy(features[:1])
    assert torch.equal(made._limited(outside), limited)
    assert made.critics(seen, limited).mean().item() == pytest.approx(3.0, abs=0.5)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_learning_rates_fall_over_a_run(progress: float) -> None:
    """Adam's first step is one learning rate long: of the actor its own, of the critics theirs."""
    sac = entropic(learning_rate=1e-3, critic_learning_rate=2e-3, final_learning_rate=0.2)
    sac.observe(decided(rows(1), rows(1, 2), np.ones(1)))
    before = sac.state()
    assert sac.update(progress)
    after = sac.state()
    moved = {name: np.abs(after[f"{name}/vector"] - before[f"{name}/vector"]).max() for name in ("actor", "critics")}
    rate = {0.0: 1.0, 0.5: 0.6, 1.0: 0.2}[progress]
    assert moved == pytest.approx({"actor": rate * 1e-3, "critics": rate * 2e-3}, rel=0.01)


@pytest.mark.parametrize(("target", "rises"), [(0.1, True), (3.0, False)])
def test_the_temperature_leads_the_divergence_to_its_target(target: float, rises: bool) -> None:
    config = replace(SMALL, target=target, temperature=0.5, temperature_rate=0.01)
    made = fixed(config, 1.0, 0.5, (0.0, 0.0))  # a divergence of 1.64
    made.learn_actor({"features": torch.from_numpy(rows(32))})
    cost = 2 * 0.5 * (1 + 0.25 - 1 - 2 * math.log(0.5))
    step = 0.01 * min((cost - target) / 1.0 if target < 1 else (cost - target) / target, 3.0)
    assert made.temperature == pytest.approx(0.5 * math.exp(step), rel=1e-5)
    assert (made.temperature > 0.5) == rises
    held = fixed(replace(config, min_temperature=0.5, max_temperature=0.5), 1.0, 0.5, (0.0, 0.0))
    held.learn_actor({"features": torch.from_numpy(rows(32))})
    assert held.temperature == 0.5


def test_targets_of_the_temperature() -> None:
    assert target_cost(SMALL, 10, 3.0) == 5.0
    assert target_cost(replace(SMALL, target=2.0), 10, 3.0) == 2.0
    entropic = replace(SMALL, regulariser="entropy")
    assert target_cost(entropic, 4, 1.0) == 4.0
    assert target_cost(entropic, 4, 3.0) == pytest.approx(4 * (1 - math.log(3.0)))
    assert target_cost(replace(entropic, target=-2.0), 4, 1.0) == 2.0


def test_a_bandit_ends_at_the_known_optimum(skills: SkillModule) -> None:
    """Reward -k (n - m)^2 / 2: the best Gaussian has mean k m / (k + alpha) and variance alpha / (k + alpha).

    What is learnt from is what the prior decides.
    """
    k, best, alpha = 2.0, np.array([1.5, -0.5, 0.0], np.float32), 1.0
    config = replace(
        SMALL,
        hidden=(32,),
        critic_hidden=(64,),
        batch=128,
        updates=0.6,
        temperature=alpha,
        temperature_rate=0.0,
        learning_rate=3e-3,
        actor_every=1,
        averaging_rate=0.02,
    )
    sac = Sac(inputs=WIDTH, features=WIDTH, decisions=3, config=config, seed=0, limit=LIMIT, skills=skills)
    features, draws = np.float32(0.1) * rows(1000, WIDTH), rows(1000, seed=1)
    decision = sac.act(features, draws).value
    reward = -0.5 * k * ((np.clip(decision, -LIMIT, LIMIT) - best) ** 2).sum(axis=1)
    sac.observe(decided(features, decision, reward))
    metrics = sac.update(0.0)
    features = features[:500]
    actor = SacActor.from_weights(sac.weights())
    mean = actor.act(features).value
    std = actor.act(features, np.ones((500, 3), np.float32)).value - mean
    np.testing.assert_allclose(mean.mean(axis=0), k * best / (k + alpha), atol=0.12)
    np.testing.assert_allclose(std.mean(axis=0), math.sqrt(alpha / (k + alpha)), atol=0.08)
    assert metrics["temperature"] == alpha
    assert metrics["replay"] == 1000.0


def test_time_limits_are_no_terminal_states() -> None:
    sac = entropic()
    terminated = np.array([True, False, False])
    sac.observe(decided(rows(3), rows(3, 2), np.ones(3), terminated=terminated, ended=np.array([True, True, False])))
    assert sac._replay.rows(np.arange(3))["discount"].tolist() == pytest.approx([0.0, 0.9, 0.9])


def test_updates_are_due_by_decisions_after_a_warm_up_counted_in_steps() -> None:
    sac = entropic(warm_up=50, updates=0.5, batch=4)
    ten = decided(rows(10), rows(10, 2), np.ones(10), length=np.full(10, 3))
    counts = []
    for _ in range(4):
        sac.observe(ten)
        counts.append(sac._due)
        found = sac.update(0.0)
        assert bool(found) == (counts[-1] > 0)
    assert counts == [0.0, 0.0, 5.0, 5.0]
    sac.observe(ten.take(np.arange(1)))
    assert sac.update(0.0) == {}, "half an update is kept for later"
    sac.observe(ten.take(np.arange(1)))
    assert sac.update(0.0)["updates_per_s"] > 0


def test_learning_continues_to_the_same_bits() -> None:
    def played(seed: int) -> SkillTransition:
        return decided(
            rows(40, seed=seed), rows(40, 2, seed=seed), rows(40, 1, seed)[:, 0], terminated=np.zeros(40, np.bool_)
        )

    steady, first = entropic(capacity=100), entropic(capacity=100)
    for sac in (steady, first):
        for seed in range(3):
            sac.observe(played(seed))
            sac.update(0.0)
    state = first.state()
    values = json.loads(json.dumps({name: value for name, value in state.items() if not isinstance(value, np.ndarray)}))
    second = Sac(inputs=3, features=3, decisions=2, config=first.config, seed=99)
    second.restore(first.weights(), {**state, **values})
    for sac in (steady, second):
        sac.observe(played(7))
        sac.update(0.0)
    for found, expected in ((second.state(), steady.state()), (second.weights(), steady.weights())):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_equal(found[name], value, err_msg=name)
    narrow = Sac(inputs=3, features=3, decisions=2, config=replace(first.config, hidden=(8,)), seed=0)
    with pytest.raises(CheckpointError, match=r"actor.linear.0.weight of shape \(8, 3\) is not in the checkpoint"):
        narrow.restore(first.weights(), state)
    small = Sac(inputs=3, features=3, decisions=2, config=replace(first.config, capacity=50), seed=0)
    with pytest.raises(
        CheckpointError, match=r"features is of shape \(100, 3\), expected up to 50 rows of shape \(3,\)"
    ):
        small.restore(first.weights(), state)


def test_what_is_not_finite_stops_and_leaves_the_networks_alone() -> None:
    sac = entropic()
    sac.observe(decided(rows(40), rows(40, 2), np.full(40, np.inf)))
    before = sac.state()
    with pytest.raises(TrainingError, match="the critics' loss is not finite: inf"):
        sac.update(0.0)
    for name, value in sac.state().items():
        if name.startswith(("actor/vector", "critics/vector")):
            np.testing.assert_array_equal(value, before[name])


def test_imitation_fits_mean_and_deviation() -> None:
    sac = entropic(hidden=(32,))
    features = rows(2000)
    noise = 0.1 * rows(2000, 2, seed=1)
    sac.imitate(features, 0.5 * np.tanh(features[:, :2]) + noise, 250)
    mean = sac.act(features).value
    assert np.abs(mean - 0.5 * np.tanh(features[:, :2])).mean() < 0.05
    std = sac.act(features, np.ones((2000, 2), np.float32)).value - mean
    assert std.mean() == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(SacActor.from_weights(sac.weights()).act(features).value, mean)
