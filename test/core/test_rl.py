"""Advantages by hand, the residual's schedule, and PPO on problems with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reskill_core.config import config_from_dict
from reskill_core.errors import CheckpointError, ConfigError, TrainingError
from reskill_core.models.networks import Mlp as TorchMlp
from reskill_core.rl.advantages import Decisions, Experience, generalised_advantages
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, PpoConfig, Schedule
from reskill_core.rl.gaussian import log_density
from reskill_core.rl.networks import Adam, Mlp, Parameters, mlp_shapes
from reskill_core.rl.ppo import Ppo

pytestmark = pytest.mark.core


def decisions(
    reward: list[float],
    discount: list[float],
    value: list[float],
    next_value: list[float],
    terminated: list[bool],
    ended: list[bool],
) -> Decisions:
    """Decisions of a single environment."""

    def column(values: list[float]) -> np.ndarray:
        return np.array(values, np.float32)[:, None]

    return Decisions(
        column(reward),
        column(discount),
        column(value),
        column(next_value),
        np.array(terminated)[:, None],
        np.array(ended)[:, None],
    )


def test_advantages_by_hand() -> None:
    # Two decisions of ten steps and one of three, after which a time limit cuts the episode off.
    given = decisions(
        reward=[1.0, 2.0, 3.0],
        discount=[0.5, 0.5, 0.8],
        value=[10.0, 20.0, 30.0],
        next_value=[20.0, 30.0, 40.0],
        terminated=[False, False, False],
        ended=[False, False, True],
    )
    # Surprises: 1 + 10 - 10, 2 + 15 - 20, 3 + 32 - 30; each carries discount * trace of the next.
    third = 5.0
    second = -3.0 + 0.5 * 0.9 * third
    first = 1.0 + 0.5 * 0.9 * second
    assert generalised_advantages(given, 0.9)[:, 0] == pytest.approx([first, second, third])


def test_nothing_follows_a_real_end_and_no_episode_leaks_into_the_one_before() -> None:
    given = decisions(
        reward=[1.0, 1.0, 1.0],
        discount=[0.5, 0.5, 0.5],
        value=[0.0, 0.0, 0.0],
        next_value=[8.0, 8.0, 8.0],
        terminated=[True, False, False],
        ended=[True, True, False],
    )
    # At a real end the next value counts nothing, at a time limit it does.
    assert generalised_advantages(given, 1.0)[:, 0] == pytest.approx([1.0, 5.0, 5.0])


def test_environments_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((4, 5, 3)).astype(np.float32)
    flags = rng.random((2, 5, 3)) < 0.3
    together = generalised_advantages(Decisions(*arrays, *flags), 0.95)
    for column in range(3):
        alone = Decisions(*(array[:, [column]] for array in (*arrays, *flags)))
        np.testing.assert_array_equal(together[:, [column]], generalised_advantages(alone, 0.95))


def test_residual_weight_rises_as_scheduled() -> None:
    linear = Schedule("linear", 100, 300)
    assert [linear.weight(steps) for steps in (0, 100, 200, 300, 999)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    logistic = Schedule("logistic", 100, 300)
    assert logistic.weight(200) == pytest.approx(0.5)
    assert logistic.weight(100) == pytest.approx(0.018, abs=1e-3)
    assert logistic.weight(300) == pytest.approx(0.982, abs=1e-3)
    for kind in ("linear", "logistic"):
        assert [Schedule(kind, 100, 100).weight(steps) for steps in (0, 99, 100, 101)] == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"schedule": {"begin": 6, "end": 5}}, "schedule.begin: must not be above end"),
        ({"high_level": {"min_std": 2.0}}, "std: must be at least min_std"),
        ({"low_level": {"discount": 1.5}}, "discount: must be at most 1"),
        ({"high_level": {"minibatch": 0}}, "minibatch: must be at least 1"),
        ({"residul": True}, "did you mean residual"),
    ],
)
def test_wrong_settings_are_named(document: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_dict(AgentConfig, document)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"num_envs": 1000, "rollout_steps": 1000}, []),
        ({"variant": "a/b", "task": "../x"}, ["task: ", "variant: "]),
        (
            {"num_envs": 1001, "rollout_steps": 1000},
            ["num_envs times rollout_steps: must be at most 1000000, got 1001000"],
        ),
        ({"imitation_updates": 1, "demonstrations": "data", "agent": AgentConfig(skills=False)}, []),
        (
            {"imitation_updates": 1, "demonstrations": "data"},
            ["imitation_updates: needs demonstrations, and agent.skills=false: skills have learnt from them already"],
        ),
        (
            {"imitation_updates": 1, "agent": AgentConfig(skills=False)},
            ["imitation_updates: needs demonstrations, and agent.skills=false: skills have learnt from them already"],
        ),
    ],
)
def test_rules_of_a_run(changes: dict, faults: list[str]) -> None:
    found = AgentTrainingConfig(**{"task": "task", "skills": "skills", "out": "out", **changes}).violations()
    assert len(found) == len(faults)
    assert all(one.startswith(fault) for one, fault in zip(found, faults, strict=True))


def test_rules_of_an_agent() -> None:
    assert AgentConfig().violations() == []
    assert AgentConfig(skills=False, residual=False).violations() == [
        "residual: must be true where skills is false: nothing acts"
    ]
    assert PpoConfig(std=()).violations() == ["std: needs one value at least, got none"]
    assert PpoConfig(std=(1.0, 0.1)).violations() == []
    assert PpoConfig(std=(1.0, 0.05)).violations() == ["std: must be at least min_std 0.1, got (1.0, 0.05)"]


def play(ppo: Ppo, rng: np.random.Generator, count: int = 512) -> Experience:
    """A bandit with a context: the best action is the context's first two entries, negated."""
    context = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
    mean, std = ppo.actor()
    drawn = rng.standard_normal((count, 2), dtype=np.float32)
    action = mean(context) + std * drawn
    log_prob = log_density(drawn, np.log(std))
    reward = -((action + context[:, :2]) ** 2).sum(axis=1)
    return Experience(context, context, action, log_prob, reward - ppo.values(context), reward)


def test_ppo_solves_a_bandit_with_a_context() -> None:
    ppo = Ppo(3, 3, 2, PpoConfig(learning_rate=3e-3, minibatch=128, std=0.5, min_std=0.05), seed=0)
    rng = np.random.default_rng(0)
    for _ in range(120):
        metrics = learn(ppo, play(ppo, rng))
    mean, std = ppo.actor()
    context = rng.uniform(-1, 1, (100, 3)).astype(np.float32)
    assert np.abs(mean(context) + context[:, :2]).mean() < 0.1
    assert std.max() < 0.2
    assert metrics["kl"] < 1.0


def learn(ppo: Ppo, played: Experience) -> dict[str, float]:
    return ppo.learn_actor(played) | ppo.learn_critic(played)


def test_densities_are_those_of_a_gaussian() -> None:
    rng = np.random.default_rng(1)
    mean, drawn, log_std = rng.standard_normal((3, 5, 4)).astype(np.float32)
    expected = torch.distributions.Normal(torch.tensor(mean), torch.tensor(np.exp(log_std[0])))
    values = torch.tensor(mean + np.exp(log_std[0]) * drawn)
    np.testing.assert_allclose(log_density(drawn, log_std[0]), expected.log_prob(values).sum(dim=-1), atol=1e-5)


SIZES = (5, 8, 6, 2)


def networks() -> tuple[Parameters, Mlp, TorchMlp]:
    """A network that learns in numpy, and the same in torch."""
    parameters = Parameters(mlp_shapes(SIZES))
    mine, theirs = Mlp(parameters, np.random.default_rng(0)), TorchMlp(SIZES)
    # The last layer starts at zero, through which nothing would flow back.
    parameters.values["linear.2.weight"][:] = np.random.default_rng(1).standard_normal((6, 2))
    theirs.load_state_dict({name: torch.from_numpy(array.T.copy()) for name, array in parameters.values.items()})
    return parameters, mine, theirs


def test_gradients_are_those_of_automatic_differentiation() -> None:
    parameters, mine, theirs = networks()
    inputs, wanted = (np.random.default_rng(2).standard_normal((7, width), dtype=np.float32) for width in (5, 2))
    error = mine(inputs) - wanted
    mine.backward(2 * error)
    loss = (theirs(torch.from_numpy(inputs)) - torch.from_numpy(wanted)).square().sum()
    loss.backward()
    assert float((error**2).sum()) == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in theirs.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(parameters.gradients[name], parameter.grad.numpy().T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gradient_norm", [0.5, 1e9])
def test_steps_are_those_of_adam(gradient_norm: float) -> None:
    parameters, _, theirs = networks()
    rng = np.random.default_rng(3)
    mine, other = Adam(parameters, 1e-2), torch.optim.Adam(theirs.parameters(), lr=1e-2, eps=Adam.EPSILON)
    for _ in range(5):
        for name, parameter in theirs.named_parameters():
            gradient = rng.standard_normal(parameter.shape, dtype=np.float32)
            parameters.gradients[name][:] = gradient.T
            parameter.grad = torch.from_numpy(gradient)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), gradient_norm)
        other.step()
        mine.step(gradient_norm)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(parameters.values[name], parameter.detach().numpy().T, rtol=1e-5, atol=1e-6)


def test_an_update_is_that_of_the_clipped_objective() -> None:
    ppo = Ppo(3, 3, 2, PpoConfig(minibatch=64, epochs=1, std=(0.5, 0.7), entropy=0.1, gradient_norm=1e9), seed=0)
    rng = np.random.default_rng(0)
    for _ in range(3):  # away from a ratio of 1 and a mean of 0
        learn(ppo, play(ppo, rng, 64))
    played = play(ppo, rng, 64)
    played.log_prob[:] += rng.uniform(-0.5, 0.5, 64)
    before, state = ppo.weights(), ppo.state()
    actor = TorchMlp((3, 64, 64, 2))
    actor.load_state_dict({n.removeprefix("actor."): torch.from_numpy(a) for n, a in before.items() if "actor" in n})
    log_std = torch.from_numpy(before["log_std"]).requires_grad_()
    density = torch.distributions.Normal(actor(torch.from_numpy(played.actor_input)), log_std.exp())
    log_ratio = density.log_prob(torch.from_numpy(played.action)).sum(dim=-1) - torch.from_numpy(played.log_prob)
    scaled = torch.from_numpy((played.advantage - played.advantage.mean()) / played.advantage.std())
    ratio = log_ratio.exp()
    assert ((ratio - 1).abs() > 0.2).any()
    (-torch.minimum(ratio * scaled, ratio.clamp(0.8, 1.2) * scaled).mean() - 0.1 * log_std.sum()).backward()
    ppo.learn_actor(played)
    # What Adam made of it: its mean of gradients, which moved a tenth of the way to the new one.
    mean_before, mean_after = (np.array(s["actor/mean"]) for s in (state, ppo.state()))
    found = (mean_after - 0.9 * mean_before) / 0.1
    expected = [parameter.grad.numpy().T.ravel() for parameter in (*actor.parameters(), log_std)]  # type: ignore[union-attr]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=2e-5)


def test_the_first_policy_is_the_standard_normal() -> None:
    mean, std = Ppo(3, 3, 2, PpoConfig(std=1.0), seed=5).actor()
    assert not mean(np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32)).any()
    assert (std == 1.0).all()


def test_learning_continues_to_the_same_bits() -> None:
    config = PpoConfig(minibatch=64, epochs=3)
    steady, first = (Ppo(3, 3, 2, config, seed=1) for _ in range(2))
    batches = [play(steady, np.random.default_rng(seed), 256) for seed in range(2)]
    for batch in batches:
        learn(steady, batch)
    learn(first, batches[0])
    second = Ppo(3, 3, 2, config, seed=99)
    second.restore(first.weights(), first.state())
    learn(second, batches[1])
    for name, array in steady.weights().items():
        np.testing.assert_array_equal(array, second.weights()[name])


def test_weights_of_another_shape_are_refused() -> None:
    wide, narrow = (Ppo(3, 3, 2, PpoConfig(hidden=(width,)), seed=0) for width in (8, 4))
    with pytest.raises(CheckpointError, match=r"actor.linear.0.weight of shape \(4, 3\)"):
        narrow.restore(wide.weights(), wide.state())


def test_annealed_to_nothing_nothing_is_learnt() -> None:
    played = play(Ppo(3, 3, 2, PpoConfig(), seed=0), np.random.default_rng(0))
    moved = []
    for progress in (0.0, 0.5, 1.0):
        ppo = Ppo(3, 3, 2, PpoConfig(final_learning_rate=0.0, epochs=1), seed=0)
        before = ppo.weights()["critic.linear.0.weight"]
        ppo.anneal(progress)
        learn(ppo, played)
        moved.append(float(np.abs(ppo.weights()["critic.linear.0.weight"] - before).max()))
    # Adam's steps are as long as the learning rate.
    assert moved[1] == pytest.approx(0.5 * moved[0], rel=0.2)
    assert moved[2] == 0.0


def test_passes_end_when_the_policy_has_moved_far_enough() -> None:
    played = play(Ppo(3, 3, 2, PpoConfig(), seed=0), np.random.default_rng(0))
    free = learn(Ppo(3, 3, 2, PpoConfig(learning_rate=0.05, target_kl=1e9), seed=0), played)
    held = learn(Ppo(3, 3, 2, PpoConfig(learning_rate=0.05, target_kl=1e-3), seed=0), played)
    assert (free["passes"], held["passes"]) == (10.0, 1.0)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_policy_alone() -> None:
    ppo = Ppo(3, 3, 2, PpoConfig(), seed=0)
    before = ppo.weights()
    played = play(ppo, np.random.default_rng(0))
    played.target[3] = np.inf
    with pytest.raises(TrainingError, match="not finite"):
        learn(ppo, played)
    assert all(np.isfinite(array).all() for array in ppo.weights().values())
    assert before.keys() == ppo.weights().keys()
