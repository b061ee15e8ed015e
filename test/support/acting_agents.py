"""Agents with random weights for the environments of ``point_mass``, as they act while training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from point_mass import PointMass, randomised
from skill_fixtures import TASK, random_model, save_module, small_config

from reskill_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from reskill_core.config import config_to_dict
from reskill_core.estimation.config import EstimatorConfig
from reskill_core.estimation.network import EstimatorNetwork
from reskill_core.models.io import state_arrays
from reskill_core.rl.actor import Actor
from reskill_core.rl.advantages import Experience
from reskill_core.rl.collector import Collected, Collector
from reskill_core.rl.config import AgentConfig, PpoConfig
from reskill_core.rl.ppo import Ppo
from reskill_core.rl.rollout import EnvironmentGroup, Rollout
from reskill_core.runtime import SkillModule
from reskill_core.runtime.agent import AGENT_KEY, AGENT_KIND, SKILLS_KEY, WEIGHT_KEY, agent_of
from reskill_core.runtime.estimator import CORRECTION_SCALE, MEAN, SCALE
from reskill_core.runtime.memory import Memory
from reskill_core.runtime.networks import Weights
from reskill_core.runtime.skill_policy import residual_dim

ENVS, STRIDE, HORIZON, LATENT, ACTION = 6, 100, 4, 3, 4
# Almost no exploration.
STILL = PpoConfig(hidden=(16, 16), std=1e-6, min_std=1e-6)
AGENT = AgentConfig(skill_steps=None, high_level=replace(STILL, discount=0.9), low_level=replace(STILL, discount=0.8))


@pytest.fixture(scope="module", name="module")
def random_module(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    model = random_model(small_config())
    with torch.no_grad():  # actions in the sensitive range of tanh
        for name in ("decoder.linear.2.weight", "decoder.linear.2.bias"):
            model.get_parameter(name).mul_(0.1)
    folder = save_module(tmp_path_factory.mktemp("skills") / "module", model)
    return SkillModule.load(folder, batch_invariant=False)


class Agent:
    """Two levels with weights that have nothing neutral about them."""

    def __init__(self, module: SkillModule, config: AgentConfig) -> None:
        self.module, self.config = module, config
        width = module.features(np.zeros((1, TASK.obs.dim))).shape[1]
        width += Memory(config.memory, width, ACTION).dim
        self.width = width
        self.high = Ppo(width, width, LATENT, cast(PpoConfig, config.high_level), 0) if config.skills else None
        self.low: Ppo | None = None
        if config.residual:
            self.low = Ppo(
                residual_dim(module, width), width, ACTION, cast(PpoConfig, config.low_level), 0, "low_level"
            )
        for number, level in enumerate((self.high, self.low)):
            if level is not None:
                level.restore(randomised(level.weights(), number), level.state())

    def group(self, environments: PointMass, high: Actor | None = None, low: Actor | None = None) -> EnvironmentGroup:
        places, config = np.arange(ENVS), self.config
        policy = agent_of(self.module, config, high or self.high, low or self.low, task=TASK)
        discounts = config.high_level.discount, config.low_level.discount
        return EnvironmentGroup(environments, policy, discounts, places, places, STRIDE)

    def act(self, group: EnvironmentGroup, steps: int, weight: float) -> Rollout:
        """Without exploration."""
        noise, deviation = (np.zeros((steps, ENVS, size), np.float32) for size in (LATENT, ACTION))
        return group.act(noise, deviation, weight, np.ones(ENVS))

    def learnt_from(self, collected: Collected) -> tuple[Experience | None, Experience | None]:
        """What the levels make of transitions."""
        pairs = ((self.high, collected.high_level), (self.low, collected.low_level))
        one, two = (None if level is None or kept is None else level.experience(kept) for level, kept in pairs)
        return one, two

    def checkpoint(self, folder: Path, weight: float) -> Checkpoint:
        """As training writes it, and as it is read again."""
        skills = self.module.checkpoint
        weights = {f"skills.{name}": array for name, array in skills.weights.items()}
        for prefix, level in (("high_level.", self.high), ("low_level.", self.low)):
            if level is not None:
                weights |= {f"{prefix}{name}": array for name, array in level.weights().items()}
        document = {
            "task": TASK.to_dict(),
            AGENT_KEY: config_to_dict(self.config),
            SKILLS_KEY: skills.document,
            WEIGHT_KEY: weight,
        }
        return load_checkpoint(save_checkpoint(folder, AGENT_KIND, weights, document), AGENT_KIND)


def random_estimator(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Weights of a state estimator that changes what is observed."""
    torch.manual_seed(seed)
    network = EstimatorNetwork(EstimatorConfig(hidden=8, actions=2), TASK.obs.dim, ACTION)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ones = np.ones(TASK.obs.dim, np.float32)
    return {**state_arrays(network), MEAN: 0 * ones, SCALE: ones, CORRECTION_SCALE: 0.1 * ones}


def collector(
    agent: Agent, *groups: PointMass, seed: int = 0, threads: int = 1, estimator: Weights | None = None
) -> Collector:
    levels = agent.high, agent.low
    return Collector(groups, agent.module, TASK, agent.config, *levels, seed, threads, estimator)
