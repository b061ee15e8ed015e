"""The tasks as Gymnasium environments, and actions for them."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium
import numpy as np

from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.demonstrators import make_demonstrator
from reskill_sim.fetch.tasks import get_task
from reskill_sim.gym.registration import env_id
from reskill_sim.gym.task_env import TaskEnv
from reskill_sim.gym.task_vector_env import TaskVectorEnv


def make(task: str, **options: Any) -> TaskEnv:
    env = gymnasium.make(env_id(task), **options).unwrapped
    assert isinstance(env, TaskEnv)
    return env


def make_vec(task: str, num_envs: int, **options: Any) -> TaskVectorEnv:
    envs = gymnasium.make_vec(env_id(task), num_envs, "vector_entry_point", **options)
    assert isinstance(envs, TaskVectorEnv)
    return envs


def random_actions(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, 4)).astype(np.float32)


@cache
def demonstration(task: str) -> tuple[int, tuple[np.ndarray, ...]]:
    """Seed and actions (4,) of an episode that succeeds in the profile for learning."""
    simulator, demonstrator = Simulator(get_task(task), profile="fast"), make_demonstrator(task, noise_range=(0.0, 0.0))
    for seed in range(5):
        demonstrator.reset([seed])
        observation, actions, successes, done = simulator.reset([seed]), [], 0, False
        while not done:
            actions.append(demonstrator.act(observation).action[0].astype(np.float32))
            result = simulator.step(actions[-1][None])
            observation, done = result.observation, bool(result.done[0])
            successes += int(result.success[0])
        if successes > 1:
            return seed, tuple(actions)
    raise AssertionError(f"no demonstration of {task} succeeds")


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit and of the same types, all the way down."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if one.dtype == object:
            for pair in zip(one, other, strict=True):
                assert_same(*pair)
        else:
            np.testing.assert_array_equal(one, other)
    else:
        assert one == other
