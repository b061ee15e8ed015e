"""What an agent remembers, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acting_agents import ACTION, AGENT, ENVS, Agent, random_module  # noqa: F401 - a fixture
from skill_fixtures import observations

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError
from reskill_core.models.config import MemoryConfig
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig
from reskill_core.runtime import SkillModule
from reskill_core.runtime.agent import agent_policy
from reskill_core.runtime.memory import Memory

BOTH = np.arange(2)


def rows(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_the_newest_comes_first_and_an_episode_begins_without_actions() -> None:
    """One feature, one action, two places of which the second one starts again after two steps."""
    memory = Memory(MemoryConfig(actions=2, features=2), 1, 1)
    memory.start(2)
    assert memory.dim == 4
    assert memory.extended(rows(1, 10), BOTH).tolist() == [[1, 0, 0, 1, 1], [10, 0, 0, 10, 10]]
    memory.remember(rows(1, 10), rows(0.1, 0.5), BOTH)
    memory.remember(rows(2, 20), rows(0.2, 0.6), BOTH)
    found = memory.extended(rows(3, 30), BOTH)
    np.testing.assert_allclose(found, np.array([[3, 0.2, 0.1, 2, 1], [30, 0.6, 0.5, 20, 10]]))
    memory.reset(BOTH[1:])
    np.testing.assert_allclose(memory.extended(rows(3, 30), BOTH), np.array([[3, 0.2, 0.1, 2, 1], [30, 0, 0, 30, 30]]))
    memory.remember(rows(30), rows(0.7), BOTH[1:])
    np.testing.assert_allclose(memory.extended(rows(40), BOTH[1:]), np.array([[40, 0.7, 0, 30, 30]]))
    np.testing.assert_allclose(
        memory.extended(rows(3), BOTH[:1]), np.array([[3, 0.2, 0.1, 2, 1]]), err_msg="others stay"
    )
    extended = memory.extended(rows(3, 40)[:, None], BOTH)
    assert extended.shape == (2, 1, 5)
    np.testing.assert_array_equal(memory.plain(extended), rows(3, 40)[:, None])


def test_the_remembered_actions_are_those_that_were_executed(module: SkillModule, tmp_path: Path) -> None:
    """Residual included, and clipped: what the robot was told, not what a level wanted."""
    agent = Agent(module, replace(AGENT, memory=MemoryConfig(actions=2)))
    policy = agent_policy(agent.checkpoint(tmp_path / "agent", 0.7), batch_invariant=False)
    policy.reset([0] * ENVS)
    first, second = (policy.act(observations(ENVS)).action for _ in range(2))
    extended = policy.features(observations(ENVS), np.arange(ENVS))
    np.testing.assert_array_equal(extended[:, -2 * ACTION :], np.concatenate([second, first], axis=1))
    assert np.abs(first).max() > 0.01
    policy.reset([5], [2])
    extended = policy.features(observations(ENVS), np.arange(ENVS))
    assert not extended[2, -2 * ACTION :].any()
    assert extended[1, -2 * ACTION :].any()


def test_imitation_has_nothing_to_remember() -> None:
    document = {"task": "clean_up", "out": "o", "demonstrations": "d", "imitation_updates": 5}
    agent = {"skills": False, "memory": {"actions": 1}}
    with pytest.raises(ConfigError, match=r"imitation_updates: not with agent\.memory"):
        config_from_dict(AgentTrainingConfig, document | {"agent": agent})
    assert config_from_dict(AgentConfig, agent).memory == MemoryConfig(actions=1)
