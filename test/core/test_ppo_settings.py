"""Every setting of PPO does what it says, and nothing is left out of what is learnt from; by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from reskill_core.errors import ConfigError, TrainingError
from reskill_core.rl.advantages import Experience
from reskill_core.rl.config import PpoConfig
from reskill_core.rl.ppo import Ppo

# Steps that change nothing to speak of.
FROZEN = PpoConfig(hidden=(8,), learning_rate=1e-9, epochs=1, minibatch=32, target_kl=1e3)


def experience(count: int = 64, seed: int = 0) -> Experience:
    rng = np.random.default_rng(seed)
    inputs, critic_inputs = rng.standard_normal((2, count, 3), dtype=np.float32)
    action = rng.standard_normal((count, 2), dtype=np.float32)
    log_prob, advantage, target = rng.standard_normal((3, count), dtype=np.float32)
    return Experience(inputs, critic_inputs, action, log_prob - 2, advantage, target + 3)


def made(config: PpoConfig, seed: int = 0) -> Ppo:
    return Ppo(3, 3, 2, config, seed)


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray], part: str) -> float:
    return max(float(np.abs(after[name] - before[name]).max()) for name in before if part in name)


@pytest.mark.parametrize(("rate", "critic_rate", "expected"), [(1e-3, None, 1e-3), (1e-3, 4e-3, 4e-3)])
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_steps_are_as_long_as_the_learning_rates(
    rate: float, critic_rate: float | None, expected: float, progress: float
) -> None:
    """The first step of Adam is one learning rate long, which falls to a quarter over the training."""
    config = replace(FROZEN, learning_rate=rate, critic_learning_rate=critic_rate, minibatch=64)
    ppo = made(replace(config, final_learning_rate=0.25, gradient_norm=1e6))
    before = ppo.weights()
    ppo.anneal(progress)
    ppo.learn_actor(experience())
    share = 1 - 0.75 * progress
    assert moved(before, ppo.weights(), "critic") == 0
    assert moved(before, ppo.weights(), "actor.linear.1") == pytest.approx(share * rate, rel=1e-2)
    assert moved(before, ppo.weights(), "log_std") == pytest.approx(share * rate, rel=1e-2)
    before = ppo.weights()
    ppo.learn_critic(experience())
    assert moved(before, ppo.weights(), "actor") == 0
    assert moved(before, ppo.weights(), "log_std") == 0
    assert moved(before, ppo.weights(), "critic") == pytest.approx(share * expected, rel=1e-2)


def test_gradients_are_limited() -> None:
    """Adam's mean of gradients is a tenth of the first one."""
    for limit in (0.01, 0.02):
        ppo = made(replace(FROZEN, gradient_norm=limit, minibatch=64))
        ppo.learn_actor(experience())
        ppo.learn_critic(experience())
        state = ppo.state()
        for name in ("actor", "critic"):
            assert np.linalg.norm(state[f"{name}/mean"]) == pytest.approx(0.1 * limit, rel=1e-4)


@pytest.mark.parametrize(
    ("epochs", "minibatch", "steps"), [(1, 64, 1), (1, 16, 4), (3, 16, 12), (2, 30, 4), (2, 100, 2)]
)
def test_passes_and_minibatches(epochs: int, minibatch: int, steps: int) -> None:
    """What does not fill a minibatch is left out of a pass, unless it is all there is."""
    ppo = made(replace(FROZEN, epochs=epochs, minibatch=minibatch))
    assert ppo.learn_actor(experience())["passes"] == epochs
    ppo.learn_critic(experience())
    assert ppo.state()["actor/steps"] == ppo.state()["critic/steps"] == steps


@pytest.mark.parametrize("row", range(6))
def test_every_decision_is_learnt_from_in_every_pass(row: int) -> None:
    config = replace(FROZEN, minibatch=2)
    broken = experience(6)
    broken.action[row, 0] = np.nan
    broken.target[row] = np.nan
    with pytest.raises(TrainingError, match="the gain is not finite"):
        made(config).learn_actor(broken)
    with pytest.raises(TrainingError, match="the squared error is not finite"):
        made(config).learn_critic(broken)


def test_minibatches_are_drawn_anew_in_every_pass_and_by_seed() -> None:
    """One decision of a pass is left out, each time another."""
    config = replace(FROZEN, minibatch=5, epochs=1)
    broken = experience(6)
    broken.target[0] = np.nan
    left_out = []
    for seed in (0, 0, 1):
        ppo, outcomes = made(config, seed), []
        for _ in range(40):
            try:
                ppo.learn_critic(broken)
                outcomes.append(True)
            except TrainingError:
                outcomes.append(False)
                ppo = _without_nan(ppo, config, seed)
        left_out.append(outcomes)
    assert left_out[0] == left_out[1] != left_out[2]
    assert 1 <= sum(left_out[0]) <= 20


def _without_nan(ppo: Ppo, config: PpoConfig, seed: int) -> Ppo:
    """The same random stream, weights as at first."""
    fresh = made(config, seed)
    fresh.restore(fresh.weights(), {**fresh.state(), "critic/rng": ppo.state()["critic/rng"]})
    return fresh


def test_metrics_by_hand() -> None:
    """All log ratios are c: the estimate of the divergence is exp(c) - 1 - c, and all are clipped or none."""
    ppo, played = made(FROZEN), experience()
    for c, clipped in ((0.1, 0.0), (0.2, 1.0), (-0.3, 1.0)):
        mean, std = ppo.actor()
        density = -0.5 * (((played.action - mean(played.actor_input)) / std) ** 2).sum(axis=1) - math.log(2 * math.pi)
        metrics = ppo.learn_actor(replace(played, log_prob=density - np.float32(c)))
        assert metrics["kl"] == pytest.approx(math.exp(c) - 1 - c, rel=1e-3)
        assert metrics["clipped"] == clipped
        assert metrics["std"] == pytest.approx(1.0)
        assert metrics["passes"] == 1.0


def test_metrics_of_the_critic_by_hand() -> None:
    ppo, played = made(replace(FROZEN, epochs=3)), experience()
    # The value is zero everywhere at first.
    metrics = ppo.learn_critic(played)
    assert metrics["value_loss"] == pytest.approx(float((played.target**2).mean()), rel=1e-4)
    assert metrics["explained"] == pytest.approx(0.0, abs=1e-5)
    weights = ppo.weights()
    rng = np.random.default_rng(1)
    ppo.restore({k: a + 0.3 * rng.standard_normal(a.shape).astype(np.float32) for k, a in weights.items()}, ppo.state())
    predicted = ppo.values(played.critic_input)
    shifted = replace(played, target=(2 * predicted + 5).astype(np.float32))
    metrics = ppo.learn_critic(shifted)
    # Half of what varies is explained, three quarters of its variance.
    assert metrics["explained"] == pytest.approx(0.75, abs=1e-3)
    assert metrics["value_loss"] == pytest.approx(float(((predicted + 5) ** 2).mean()), rel=1e-3)
    assert ppo.learn_critic(replace(played, target=np.full(64, 3, np.float32)))["explained"] < -1


@pytest.mark.parametrize(("clip", "moves"), [(0.2, False), (0.5, True)])
def test_beyond_the_clip_a_better_ratio_earns_nothing(clip: float, moves: bool) -> None:
    """Of two decisions at a ratio of 1.3 the better one pulls no more; the worse one pushes all the same."""
    ppo = made(replace(FROZEN, learning_rate=1e-3, clip=clip, gradient_norm=1e6))
    action = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    density = -0.5 * (action**2).sum(axis=1) - np.float32(math.log(2 * math.pi))
    inputs = np.ones((2, 3), np.float32)
    before = ppo.actor()[0](inputs[:1])[0]
    good_and_bad = np.array([1.0, -1.0], np.float32)
    ppo.learn_actor(Experience(inputs, inputs, action, density - np.float32(math.log(1.3)), good_and_bad, good_and_bad))
    change = ppo.actor()[0](inputs[:1])[0] - before
    assert (change[0] > 1e-4) == moves, "towards the better one"
    assert change[1] < -1e-4, "away from the worse one"


def test_a_better_action_becomes_likelier_and_a_worse_one_less() -> None:
    ppo = made(replace(FROZEN, learning_rate=1e-2, epochs=5))
    inputs = np.zeros((64, 3), np.float32)
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((64, 2), dtype=np.float32)
    density = -0.5 * (drawn**2).sum(axis=1) - np.float32(math.log(2 * math.pi))
    ppo.learn_actor(Experience(inputs, inputs, drawn, density, drawn[:, 0] - drawn[:, 1], drawn[:, 0]))
    mean = ppo.actor()[0](inputs[:1])[0]
    assert mean[0] > 0.01
    assert mean[1] < -0.01


def test_advantages_count_relative_to_each_other() -> None:
    """Whatever their size and offset."""
    results = []
    for scale, offset in ((1.0, 0.0), (100.0, -7.0)):
        ppo, played = made(replace(FROZEN, learning_rate=1e-2, minibatch=64)), experience()
        ppo.learn_actor(replace(played, advantage=np.float32(scale) * played.advantage + np.float32(offset)))
        results.append(ppo.weights()["actor.linear.1.weight"])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-2, atol=1e-6)


def test_entropy_widens_and_the_smallest_deviation_holds() -> None:
    played = replace(experience(), advantage=np.zeros(64, np.float32))
    wider = made(replace(FROZEN, learning_rate=1e-2, entropy=1.0))
    wider.learn_actor(played)
    assert (wider.actor()[1] > 1.005).all()
    plain = made(replace(FROZEN, learning_rate=1e-2))
    plain.learn_actor(played)
    assert plain.actor()[1] == pytest.approx(1.0, abs=1e-3)
    # Actions near the mean are the better ones: deviations shrink, but not below their limit.
    near = replace(experience(), advantage=-np.abs(experience().action).sum(axis=1))
    near = replace(near, log_prob=(-0.5 * near.action**2).sum(axis=1) - np.float32(math.log(2 * math.pi)))
    narrow = made(replace(FROZEN, learning_rate=0.1, epochs=10, min_std=0.8))
    narrow.learn_actor(near)
    assert narrow.actor()[1] == pytest.approx(0.8, rel=1e-6)


def test_deviations_start_as_they_are_set() -> None:
    assert made(replace(FROZEN, std=(0.5, 2.0))).actor()[1] == pytest.approx([0.5, 2.0])
    assert made(replace(FROZEN, std=0.3)).actor()[1] == pytest.approx([0.3, 0.3])
    with pytest.raises(ConfigError, match="one value or 2, one for each entry of actions"):
        made(replace(FROZEN, std=(1.0, 1.0, 1.0)))


def test_hidden_layers_are_as_wide_as_they_are_set() -> None:
    weights = Ppo(3, 5, 2, replace(FROZEN, hidden=(7, 6)), 0).weights()
    assert {name: array.shape for name, array in weights.items()} == {
        "actor.linear.0.weight": (7, 3),
        "actor.linear.0.bias": (7,),
        "actor.linear.1.weight": (6, 7),
        "actor.linear.1.bias": (6,),
        "actor.linear.2.weight": (2, 6),
        "actor.linear.2.bias": (2,),
        "log_std": (2,),
        "critic.linear.0.weight": (7, 5),
        "critic.linear.0.bias": (7,),
        "critic.linear.1.weight": (6, 7),
        "critic.linear.1.bias": (6,),
        "critic.linear.2.weight": (1, 6),
        "critic.linear.2.bias": (1,),
    }
    # Uniform within one over the root of the inputs.
    for name, inputs in (("actor.linear.1.weight", 7), ("critic.linear.0.weight", 5)):
        assert 0.7 / math.sqrt(inputs) < np.abs(weights[name]).max() <= 1 / math.sqrt(inputs)


def test_levels_and_seeds_start_otherwise() -> None:
    weights = [
        Ppo(3, 3, 2, FROZEN, seed, level).weights()
        for seed, level in ((0, "high_level"), (0, "low_level"), (1, "high_level"), (0, "high_level"))
    ]
    one, two, three, again = ({n: a for n, a in w.items() if "linear.0" in n} for w in weights)
    for name, array in one.items():
        assert np.abs(array - two[name]).max() > 1e-3
        assert np.abs(array - three[name]).max() > 1e-3
        np.testing.assert_array_equal(array, again[name])
    assert np.abs(one["actor.linear.0.weight"] - one["critic.linear.0.weight"]).max() > 1e-3


def test_imitation_learns_the_labels_and_nothing_else() -> None:
    config = replace(FROZEN, hidden=(32,), gradient_norm=10.0)
    ppo = made(config)
    before = ppo.weights()
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2000, 3), dtype=np.float32)
    labels = np.stack([np.tanh(inputs[:, 0]), -inputs[:, 1]], axis=1)
    ppo.imitate(inputs, labels, 1000)
    assert np.abs(ppo.actor()[0](inputs) - labels).mean() < 0.1
    assert moved(before, ppo.weights(), "critic") == moved(before, ppo.weights(), "log_std") == 0
    # The steps of PPO start afresh.
    assert ppo.state()["actor/steps"] == 0
    few = made(config)
    few.imitate(inputs, labels, 1)
    assert 0 < moved(before, few.weights(), "actor.linear.1") < 2e-3


@pytest.mark.parametrize("part", ["mean", "square", "steps", "rng"])
@pytest.mark.parametrize("level", ["actor", "critic"])
def test_what_is_kept_is_all_there_is(level: str, part: str) -> None:
    """Restored without one part of its state, it goes on otherwise."""
    config = replace(FROZEN, learning_rate=1e-2, minibatch=16)

    def learn(ppo: Ppo, seed: int) -> None:
        ppo.learn_actor(experience(seed=seed))
        ppo.learn_critic(experience(seed=seed))

    steady = made(config)
    learn(steady, 1)
    weights, state = steady.weights(), steady.state()
    kept = {name: np.copy(value) if isinstance(value, np.ndarray) else value for name, value in state.items()}
    learn(steady, 2)
    whole, partial = made(config, 7), made(config, 7)
    whole.restore(weights, state)
    learn(whole, 2)
    for name, array in steady.weights().items():
        np.testing.assert_array_equal(array, whole.weights()[name])
    partial.restore(weights, {**kept, f"{level}/{part}": partial.state()[f"{level}/{part}"]})
    learn(partial, 2)
    assert moved(steady.weights(), partial.weights(), level) > 1e-5
