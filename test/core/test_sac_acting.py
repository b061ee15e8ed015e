"""What acts by soft actor-critic, what it sees and what it begins as; the replay memory; what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sac_decisions import LIMIT, SMALL, WIDTH, decided, entropic, rows
from skill_fixtures import observations, random_model, save_module, small_config

from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.errors import CheckpointError, ConfigError
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.rl.config import AgentConfig, SacConfig
from reskill_core.rl.replay import Replay
from reskill_core.rl.sac import Sac, columns_of
from reskill_core.runtime import SkillModule


@pytest.fixture(scope="module")
def skills(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    folder = save_module(tmp_path_factory.mktemp("skills") / "module", random_model(small_config("gaussian")))
    return SkillModule.load(folder, batch_invariant=False)


def test_the_first_policy_is_the_prior_exactly(skills: SkillModule) -> None:
    sac = Sac(inputs=WIDTH, features=WIDTH, decisions=3, config=SMALL, seed=0, limit=LIMIT, skills=skills)
    draws = rows(5)
    for actor in (sac, Sac.actor_from(sac.weights(), "")):
        value, log_prob = actor.act(rows(5, WIDTH), draws)
        np.testing.assert_array_equal(value, draws)
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.from_numpy(draws)).sum(dim=1)
        assert log_prob is not None
        np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    # Without a prior, as wide as a uniform distribution.
    np.testing.assert_allclose(entropic().act(rows(5), draws[:, :2]).value, draws[:, :2] / math.sqrt(3), rtol=1e-5)


def test_what_acts_computes_what_learns() -> None:
    sac = entropic(actor_inputs=("vector",))
    policy = sac._learner.deployed
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    features, draws = rows(20), rows(20, 2, seed=1)
    expected = policy(torch.from_numpy(features))
    actor = Sac.actor_from({f"level.{name}": array for name, array in sac.weights().items()}, "level.")
    value, log_prob = actor.act(features, draws)
    np.testing.assert_allclose(value, expected.from_noise(torch.from_numpy(draws)).detach(), rtol=1e-4, atol=1e-5)
    assert log_prob is not None
    np.testing.assert_allclose(log_prob, expected.log_prob(torch.from_numpy(value)).detach(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(actor.act(features).value, expected.mean.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        actor.act(features[:, None]).value, np.stack([actor.act(f[None, None]).value[0] for f in features])
    )
    assert np.abs(actor.act(features).value).max() <= 1.0


class Columns:
    """Skills whose features are a state of two entries, a picture's, and the prior's own of it."""

    feature_columns: ClassVar = {"vector": (0, 2), "x": (0, 1), "camera": (2, 5), "prior_camera": (5, 7)}


def test_actor_and_critics_see_the_features_that_are_named() -> None:
    skills: Any = Columns()
    assert columns_of("actor_inputs", (), 7, skills) == list(range(7))
    assert columns_of("actor_inputs", ("camera",), 7, skills) == [2, 3, 4, 5, 6]
    assert columns_of("actor_inputs", ("prior_camera", "x"), 7, skills) == [0, 5, 6]
    assert columns_of("critic_inputs", ("vector",), 5, None) == [0, 1, 2, 3, 4]
    with pytest.raises(
        ConfigError, match="actor_inputs: there are no features depth; allowed: vector, x, camera, prior"
    ):
        columns_of("actor_inputs", ("depth",), 7, skills)
    config = replace(SMALL, actor_inputs=("camera",), critic_inputs=("vector",), learning_rate=1e-2)
    sac = Sac(inputs=7, features=7, decisions=2, config=config, seed=0, skills=skills)
    features = rows(64, 7)
    sac.observe(decided(features, rows(64, 2), features[:, 2]))
    sac.update(0.0)
    other = features.copy()
    other[:, :2] += 1.0
    np.testing.assert_array_equal(sac.act(other).value, sac.act(features).value)
    assert np.abs(sac.act(features + 1).value - sac.act(features).value).max() > 1e-4
    values = sac._learner.critics
    pictures = torch.from_numpy(features).clone()
    pictures[:, 2:] += 1.0
    decision = torch.zeros(64, 2)
    assert torch.equal(values(pictures, decision), values(torch.from_numpy(features), decision))


def test_latents_diverge_from_the_prior_of_the_skills(skills: SkillModule) -> None:
    config = replace(SMALL, space="latent", warm_up=100, initial_updates=200, hidden=(32,))
    sac = Sac(inputs=WIDTH, features=WIDTH, decisions=3, config=config, seed=0, limit=10.0, skills=skills)
    features = skills.features(observations(120))
    draws = rows(120)
    # The prior itself acts in the warm-up, by the same draws as in numpy.
    np.testing.assert_allclose(
        sac.act(features, draws).value, skills.prior_features(draws, features), rtol=1e-4, atol=1e-5
    )
    before = sac._learner.actor(torch.from_numpy(features))
    sac.observe(decided(features, draws, np.zeros(120)))
    prior = skills.torch_model.prior_of(torch.from_numpy(features))
    assert isinstance(prior, DiagonalGaussian)
    policy = sac._learner.actor(torch.from_numpy(features))
    expected = policy.kl(prior)
    assert expected.mean().item() < 0.2 * before.kl(prior).mean().item(), "the actor begins close to the prior"
    stored = sac._replay.rows(np.arange(120))
    moments = DiagonalGaussian(*torch.from_numpy(stored["prior"]).chunk(2, dim=1))
    np.testing.assert_allclose(policy.kl(moments).detach(), expected.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        sac._learner.cost(policy, torch.from_numpy(features)).detach(), expected.detach(), rtol=1e-4, atol=1e-5
    )
    sac.observe(decided(features, draws, np.zeros(120)))
    assert math.isfinite(sac.update(0.0)["cost"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "low_level: there is no prior without skills; choose regulariser: entropy"),
        ({"inputs": 5}, "low_level: sac learns from transitions between features"),
    ],
)
def test_levels_that_cannot_learn_by_it_are_refused(changes: dict, message: str) -> None:
    given = {"inputs": 3, "features": 3, "decisions": 2, "config": SMALL, "seed": 0, "level": "low_level", **changes}
    with pytest.raises(ConfigError, match=message):
        Sac(**given)


def test_rules_of_the_settings() -> None:
    agent = config_from_dict(AgentConfig, {"high_level": {"algorithm": "sac", "target": 4.0}})
    assert agent.high_level == SacConfig(target=4.0)
    with pytest.raises(ConfigError, match=r"temperature: must be from min_temperature 0\.2 to .*, got 0\.02"):
        config_from_dict(AgentConfig, {"high_level": {"algorithm": "sac", "min_temperature": 0.2}})
    with pytest.raises(ConfigError, match=r"return_bound: .* set soft_values: false"):
        config_from_dict(AgentConfig, {"high_level": {"algorithm": "sac", "return_bound": True}})
    with pytest.raises(ConfigError, match="target: a divergence is never negative, got -1"):
        config_from_dict(AgentConfig, {"high_level": {"algorithm": "sac", "target": -1.0}})
    latent = {"high_level": {"algorithm": "sac", "space": "latent"}}
    with pytest.raises(ConfigError, match="latent_source: must be standard_normal where high_level"):
        config_from_dict(AgentConfig, latent)
    assert config_from_dict(AgentConfig, {**latent, "latent_source": "standard_normal"}).violations() == []
    with pytest.raises(ConfigError, match="space: latent is for a divergence from the prior"):
        config_from_dict(AgentConfig, {"high_level": {**latent["high_level"], "regulariser": "entropy"}})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("space", ["noise", "latent"])
def test_updates_run_on_a_gpu(space: str, skills: SkillModule) -> None:
    """It starts as on the CPU, learns, and is resumed there."""
    config = config_from_dict(
        SacConfig, {**config_to_dict(SMALL), "space": space, "device": "cuda", "initial_updates": 5}
    )
    sacs = [
        Sac(inputs=WIDTH, features=WIDTH, decisions=3, config=given, seed=0, skills=skills)
        for given in (config, *[replace(config, device="cuda")] * 2)
    ]
    for name, array in sacs[0].weights().items():
        np.testing.assert_array_equal(sacs[1].weights()[name], array)
    sacs[1].observe(decided(rows(64, WIDTH), rows(64), np.ones(64)))
    before = sacs[1].weights()
    assert math.isfinite(sacs[1].update(0.0)["critic_loss"])
    assert any((sacs[1].weights()[name] != array).any() for name, array in before.items())
    sacs[2].restore(sacs[1].weights(), sacs[1].state())
    np.testing.assert_array_equal(sacs[2].act(rows(5, WIDTH)).value, sacs[1].act(rows(5, WIDTH)).value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no GPU that torch can use here"):
        entropic(device="cuda")
    assert entropic(device="auto")._learner.device.type == "cpu"


def test_the_replay_memory_keeps_the_newest() -> None:
    replay = Replay(5, {"pair": 2, "number": 0})
    rng = np.random.default_rng(0)

    def numbers() -> list[float]:
        return replay.rows(np.arange(len(replay)))["number"].tolist()

    def add(*values: int) -> None:
        column = np.array(values, np.float32)
        replay.add({"pair": np.stack([column, -column], axis=1), "number": column})

    add(1, 2, 3)
    assert numbers() == [1, 2, 3]
    add(4, 5, 6)
    assert numbers() == [6, 2, 3, 4, 5]
    add(*range(7, 20))
    assert sorted(numbers()) == [15, 16, 17, 18, 19]
    drawn = replay.sample(rng, 5000)
    np.testing.assert_array_equal(drawn["pair"][:, 1], -drawn["number"])
    counts = np.unique(drawn["number"], return_counts=True)[1]
    assert len(counts) == 5
    assert counts.min() > 850
    other = Replay(5, {"pair": 2, "number": 0})
    other.restore(replay.state())
    for memory in (replay, other):
        memory.add({"pair": np.zeros((1, 2)), "number": np.array([42.0])})
    assert other.rows(np.arange(5))["number"].tolist() == numbers()
    with pytest.raises(CheckpointError, match="replay column pair is missing"):
        other.restore({"next": 0})


def test_acting_needs_no_torch(tmp_path: Path) -> None:
    """See test_agent_trainer for whole agents."""
    import subprocess
    import sys

    code = (
        "import sys; from reskill_core.rl.algorithm import ALGORITHMS; sac = ALGORITHMS.get('sac');"
        "assert sac.Config().algorithm == 'sac'; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0
