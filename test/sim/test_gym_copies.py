"""Environments can be copied and sent to another process in the middle of an episode, as stock ones can."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

import reskill_sim  # noqa: F401 - registers the environments
from reskill_core.errors import SimulationError
from reskill_sim.gym.task_env import TaskEnv
from reskill_sim.gym.task_vector_env import TaskVectorEnv

# Every kind of state: many worlds, noise and delay of perception, delayed actions.
VARIED = {"friction": (0.5, 1.5), "perception_noise": (0.001, 0.01), "perception_delay": (0, 2), "action_delay": (1, 2)}
STEPS = 12


def single(**options: Any) -> Any:
    return TaskEnv("block", **options)


def vector(**options: Any) -> Any:
    return TaskVectorEnv("block", 3, max_episode_steps=9, **options)


def made(**options: Any) -> Any:
    return gymnasium.make("reskill/FetchBlock-v0", **options)


def vector_made(**options: Any) -> Any:
    return gymnasium.make_vec("reskill/FetchBlock-v0", num_envs=2, vectorization_mode="vector_entry_point", **options)


def goals(**options: Any) -> Any:
    options.pop("variation", None)
    return TaskEnv("block", goal_dict=True, **options)


def threaded(**options: Any) -> Any:
    return TaskVectorEnv("clean_up", 4, threads=2, autoreset_mode="SameStep", max_episode_steps=7, **options)


KINDS = [single, vector, made, vector_made, goals, threaded]


def actions(env: Any, seed: int, steps: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, *env.action_space.shape)).astype(np.float32)


def played(env: Any, moves: np.ndarray) -> list[Any]:
    """All that an environment answers; a new episode begins where one is over, with a drawn seed."""
    answers: list[Any] = []
    for move in moves:
        answers.append(env.step(move))
        if isinstance(env, gymnasium.Env) and (answers[-1][2] or answers[-1][3]):
            answers.append(env.reset())
    return answers


def begun(make: Any) -> Any:
    env = make(variation=VARIED)
    env.reset(seed=5)
    played(env, actions(env, 0, 5))
    return env


def plain(value: Any) -> Any:
    """An answer as lists and dictionaries, which can be compared at once."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
        return [plain(inner) for inner in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("how", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_goes_on_as_the_original_and_by_itself(make: Any, how: Any) -> None:
    env = begun(make)
    twin, other = how(env), how(env)
    moves = actions(env, 1, STEPS)
    played(other, actions(env, 2, STEPS))
    expected = played(env, moves)
    assert plain(played(twin, moves)) == plain(expected)
    assert plain(twin.reset()) == plain(env.reset())
    assert plain(played(other, moves)) != plain(expected)
    for each in (env, twin, other):
        each.close()


def test_a_copy_of_one_that_has_drawn_pictures_draws_its_own() -> None:
    env = TaskEnv("block", render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    twin = copy.deepcopy(env)
    np.testing.assert_array_equal(twin.render(), before)
    played(env, actions(env, 0, 5))
    env.close()
    np.testing.assert_array_equal(twin.render(), before)
    twin.close()


_ELSEWHERE = """
import pickle, sys
env, moves = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps([env.step(move) for move in moves]))
"""


@pytest.mark.parametrize("make", [made, threaded])
def test_another_process_goes_on_with_a_pickled_one(make: Any) -> None:
    env = begun(make)
    moves = actions(env, 1, 4)
    sent = pickle.dumps((env, moves))
    found = subprocess.run([sys.executable, "-c", _ELSEWHERE], input=sent, capture_output=True, timeout=100, check=True)
    assert plain(pickle.loads(found.stdout)) == plain([env.step(move) for move in moves])


@pytest.mark.parametrize(
    "options",
    [{"num_envs": 0}, {"num_envs": -1}, {"num_envs": 10**12}, {"threads": -1}, {"threads": 10**6}]
    + [{"max_episode_steps": steps} for steps in (0, -1)],
)
def test_sizes_that_cannot_be_are_refused_at_once(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(SimulationError, match=name):
        TaskVectorEnv("block", **options)
