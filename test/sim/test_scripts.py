"""Fast scripts reach their tasks' rewards, remember nothing, and leave the demonstrators alone."""

from __future__ import annotations

import numpy as np
import pytest

from reskill_core.errors import ConfigError
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.demonstrators import CONTROLLERS, FAST_SCRIPTS, make_demonstrator, make_fast_script
from reskill_sim.fetch.demonstrators.motions import Reading
from reskill_sim.fetch.tasks import TASKS, get_task

# Least mean return, and success at the end, of 32 episodes.
EXPECTED = {
    "slippery_push": (83.0, 0.96),
    "clean_up": (32.0, 0.96),
    "pyramid_stack": (36.0, 0.96),
    # -1 until success, and ten steps of it.
    "hook": (-35.0, 0.93),
    "complex_hook": (70.0, 0.90),
    "complex_hook_held_out": (68.0, 0.87),
}


@pytest.mark.parametrize("task_name", FAST_SCRIPTS)
def test_fast_scripts_earn_what_is_promised(task_name: str) -> None:
    episodes = 32
    simulator = Simulator(get_task(task_name), episodes, "fast")
    ran = list(run_episodes(simulator, make_fast_script(task_name, episodes), range(episodes)))
    least_return, least_success = EXPECTED[task_name]
    assert np.mean([episode.reward.sum() for episode in ran]) >= least_return
    assert np.mean([episode.success for episode in ran]) >= least_success


@pytest.mark.parametrize("task_name", FAST_SCRIPTS)
def test_fast_scripts_see_each_row_alone_and_remember_nothing(task_name: str) -> None:
    task, script = get_task(task_name), FAST_SCRIPTS[task_name]
    simulator = Simulator(task, 6, "fast")
    observation, noise = simulator.observation(), np.random.default_rng(0)
    for _ in range(25):
        action = script(Reading(task.spec.obs, observation))
        assert action.shape == (6, 4)
        order = noise.permutation(6)
        assert np.array_equal(script(Reading(task.spec.obs, observation[order])), action[order])
        alone = [script(Reading(task.spec.obs, observation[row : row + 1]))[0] for row in range(6)]
        assert np.array_equal(alone, action)
        observation = simulator.step(action).observation


def test_fast_scripts_have_no_noise() -> None:
    observation = Simulator(get_task("clean_up"), 3, "fast").reset([1, 2, 3])
    script = make_fast_script("clean_up", 3)
    script.reset([1, 2, 3])
    answer = script.act(observation)
    assert np.array_equal(answer.action, answer.decoded_action)
    assert not answer.residual.any()
    assert script.source(0) == "fast"


def test_a_fast_script_answers_some_of_its_episodes() -> None:
    observation = Simulator(get_task("slippery_push"), 3, "fast").reset([1, 2, 3])
    script = make_fast_script("slippery_push", 3)
    script.reset([1, 2, 3])
    assert np.array_equal(script.act(observation[1:], [1, 2]).action, script.act(observation).action[1:])


def test_fast_scripts_are_no_demonstrators() -> None:
    assert list(CONTROLLERS["block"]) == ["pick_and_place", "push"]
    assert list(CONTROLLERS["hook"]) == ["hook"]
    assert set(FAST_SCRIPTS) <= set(CONTROLLERS) == set(TASKS)
    with pytest.raises(ConfigError, match="allowed: mixed, push"):
        make_demonstrator("slippery_push", "fast")


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown task with a fast script 'block'; allowed: clean_up, complex_hook"):
        make_fast_script("block")


@pytest.mark.parametrize(("task_name", "least_success"), [("clean_up", 0.9), ("pyramid_stack", 0.9)])
def test_demonstrators_place_the_block_where_the_task_wants_it(task_name: str, least_success: float) -> None:
    episodes = 64
    simulator = Simulator(get_task(task_name), episodes, "fast")
    demonstrator = make_demonstrator(task_name, noise_range=(0.0, 0.0), num_envs=episodes)
    assert (
        np.mean([episode.success for episode in run_episodes(simulator, demonstrator, range(episodes))])
        >= least_success
    )
