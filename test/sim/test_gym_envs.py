"""The tasks as Gymnasium environments, and an unmodified learner on them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gym_tasks import assert_same, demonstration, make, make_vec, random_actions
from gymnasium.utils.env_checker import check_env

from reskill_core.errors import ConfigError, SimulationError, SpecError
from reskill_sim.engine.simulator import Simulator
from reskill_sim.families import task_names
from reskill_sim.fetch.demonstrators import CONTROLLERS
from reskill_sim.fetch.tasks import TASKS, get_task
from reskill_sim.gym.registration import env_id, register_envs
from reskill_sim.gym.task_env import TaskEnv

GOAL_OBJECTS = {name: get_task(name).goal_object for name in TASKS if get_task(name).goal_object is not None}
DEMONSTRATED_GOALS = sorted(GOAL_OBJECTS.keys() & CONTROLLERS.keys())


# ---------------------------------------------------------------------- registration


def test_every_task_has_an_id() -> None:
    registered = {spec.id for spec in gymnasium.registry.values() if spec.namespace == "reskill"}
    assert registered == {env_id(name) for name in task_names()}
    assert env_id("clean_up") == "reskill/FetchCleanUp-v0"


def test_registering_again_changes_nothing() -> None:
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_envs()
    assert gymnasium.registry == before


@pytest.mark.parametrize(
    "code",
    [
        "gymnasium.make('reskill_sim:reskill/FetchCleanUp-v0').reset(seed=1)",
        "gymnasium.make_vec('reskill_sim:reskill/FetchCleanUp-v0', 2).reset(seed=1)",
        "import reskill_sim; assert 'mujoco' not in sys.modules; gymnasium.make('reskill/FetchHook-v0').reset(seed=1)",
    ],
)
def test_makes_in_a_process_that_has_imported_nothing_else(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", f"import sys, gymnasium; {code}"], check=True)


# ---------------------------------------------------------------------- one environment


@pytest.mark.parametrize(
    ("task", "goal_dict"), [*((name, False) for name in TASKS), *((name, True) for name in GOAL_OBJECTS)]
)
def test_passes_the_checker_without_a_warning(task: str, goal_dict: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(task, goal_dict=goal_dict))


@pytest.mark.parametrize("task", TASKS)
def test_is_the_simulator(task: str) -> None:
    env, simulator = make(task), Simulator(get_task(task), profile="fast")
    assert env.reset(seed=5)[1] == {"seed": 5}
    simulator.reset([5])
    for action in random_actions((20,)):
        observation, reward, terminated, truncated, info = env.step(action)
        result = simulator.step(action[None])
        np.testing.assert_array_equal(observation, result.observation[0])
        assert (reward, terminated, truncated) == (result.reward[0], result.terminated[0], result.truncated[0])
        assert info == {"is_success": bool(result.success[0]), "diverged": False}


def test_spaces() -> None:
    env, envs = make("hook"), make_vec("hook", 3)
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    assert env.observation_space.shape == (43,)
    assert env.observation_space.dtype == np.float64
    assert envs.single_observation_space == env.observation_space
    assert envs.observation_space.shape == (3, 43)
    assert envs.action_space.shape == (3, 4)
    envs.reset(seed=0)
    for actions in random_actions((30, 3)):
        assert envs.step(actions)[0] in envs.observation_space


def test_episodes_follow_from_seeds() -> None:
    one, other = make("block"), make("block")
    first, _ = one.reset(seed=11)
    again, info = one.reset()
    assert not np.array_equal(first, again)
    assert_same(other.reset(seed=11)[0], first)
    assert_same(other.reset(), (again, info))
    # A drawn seed starts the same episode as the same seed given.
    assert_same(other.reset(seed=info["seed"])[0], again)
    assert one.reset()[1] != make("block").reset()[1]


def test_terminates_when_success_has_held() -> None:
    env, (seed, actions) = make("block"), demonstration("block")
    env.reset(seed=seed)
    *before, (_, reward, terminated, truncated, info) = [env.step(action) for action in actions]
    assert not any(step[2] or step[3] for step in before)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["is_success"]
    assert len(before) + 1 < get_task("block").spec.horizon


@pytest.mark.parametrize("task", ["clean_up", "slippery_push"])
def test_goes_on_to_the_horizon_where_every_step_of_success_pays(task: str) -> None:
    env, (seed, actions) = make(task), demonstration(task)
    env.reset(seed=seed)
    steps = [env.step(action) for action in actions]
    assert len(steps) == get_task(task).spec.horizon
    assert sum(step[4]["is_success"] for step in steps) > 1
    assert [step[3] for step in steps] == [False] * (len(steps) - 1) + [True]
    assert not any(step[2] for step in steps)


def test_a_shorter_limit_truncates() -> None:
    single = gymnasium.make(env_id("clean_up"), max_episode_steps=3)
    envs = make_vec("clean_up", 2, max_episode_steps=3)
    single.reset(seed=0)
    envs.reset(seed=0)
    for truncated in (False, False, True):
        assert single.step(np.zeros(4, np.float32))[2:4] == (False, truncated)
        assert envs.step(np.zeros((2, 4), np.float32))[3].tolist() == [truncated] * 2


def test_diverged_is_truncated_with_the_last_good_observation() -> None:
    env = make("clean_up")
    env.reset(seed=0)
    good = env.step(np.zeros(4))[0]
    observation, reward, terminated, truncated, info = env.step(np.full(4, np.nan))
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info == {"is_success": False, "diverged": True}
    positions = [
        i for term in ("block_position", "goal_position") for i in range(25)[get_task("clean_up").spec.obs.slice(term)]
    ]
    np.testing.assert_array_equal(observation[positions], good[positions])
    assert observation in env.observation_space
    env.reset(seed=1)
    assert not env.step(np.zeros(4))[4]["diverged"]


def test_wrong_use_says_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match="unknown simulator profile 'slow'"):
        make("block", profile="slow")
    with pytest.raises(SimulationError, match="unknown render mode 'depth'"):
        TaskEnv("block", render_mode="depth")
    env, envs = make("block"), make_vec("block", 2)
    env.reset()
    with pytest.raises(SpecError, match=r"shape \(1, 3\), expected \(1, 4\)"):
        env.step(np.zeros(3))
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(np.zeros((2, 4)))
    envs.reset()
    with pytest.raises(SpecError, match=r"shape \(4,\), expected \(2, 4\)"):
        envs.step(np.zeros(4))
    with pytest.raises(SimulationError, match="3 seeds for 2"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(SimulationError, match="reset_mask"):
        envs.reset(options={"reset_mask": np.ones(2)})


def test_renders() -> None:
    env, envs = make("block", render_mode="rgb_array"), make_vec("block", 2, render_mode="rgb_array")
    env.reset(seed=1)
    envs.reset(seed=0)
    picture, pictures = env.render(), envs.render()
    assert picture is not None
    assert pictures is not None
    assert picture.shape == (360, 480, 3)
    np.testing.assert_array_equal(pictures[1], picture)
    assert not np.array_equal(pictures[0], picture)
    env.close()
    envs.close()
    assert make("block").render() is None


# ---------------------------------------------------------------------- goals


@pytest.mark.parametrize("task", sorted(set(TASKS) - GOAL_OBJECTS.keys()))
def test_refuses_goals_where_the_reward_needs_more(task: str) -> None:
    with pytest.raises(SimulationError, match="tasks that have: block"):
        make(task, goal_dict=True)
    with pytest.raises(SimulationError, match="need goal_dict=True"):
        make(task).compute_reward(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("task", DEMONSTRATED_GOALS)
def test_outcomes_are_computed_from_goals(task: str) -> None:
    env, plain, (seed, actions) = make(task, goal_dict=True), make(task), demonstration(task)
    env.reset(seed=seed)
    plain.reset(seed=seed)
    rewards, goals, infos = [], [], []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        arguments = observation["achieved_goal"], observation["desired_goal"], info
        assert env.compute_reward(*arguments) == reward
        assert env.compute_terminated(*arguments) == terminated
        assert env.compute_truncated(*arguments) == truncated
        # The same episode as without dictionaries, and nothing in `observation` tells of the goal.
        flat, *others, fewer = plain.step(action)
        assert others == [reward, terminated, truncated]
        assert fewer.items() <= info.items()
        assert set(observation["observation"]) <= set(flat)
        assert not set(observation["desired_goal"]) & set(observation["observation"])
        rewards.append(reward)
        goals.append([observation["achieved_goal"], observation["desired_goal"]])
        infos.append(info)
    assert len(set(rewards)) == 2
    achieved, desired = np.array(goals).transpose(1, 0, 2)
    np.testing.assert_array_equal(env.compute_reward(achieved, desired, infos), rewards)
    batch = {name: np.array([info[name] for info in infos]) for name in infos[0]}
    for compute in (env.compute_terminated, env.compute_truncated):
        np.testing.assert_array_equal(compute(achieved, desired, infos), compute(achieved, desired, batch))
    assert (terminated, truncated) == (env.compute_terminated(*arguments), env.compute_truncated(*arguments))
    # In hindsight everything was a success, and nothing far away is.
    assert set(env.compute_reward(achieved, achieved)) == {max(rewards)}
    assert set(env.compute_reward(achieved, achieved + 0.2)) == {min(rewards)}


# ---------------------------------------------------------------------- learners


def test_stable_baselines_learns_with_ppo() -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.utils import set_random_seed

    set_random_seed(0)
    env = gymnasium.make(env_id("slippery_push"), profile="turbo")
    model = PPO("MlpPolicy", env, n_steps=512, n_epochs=4, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(2048)
    assert model.num_timesteps == 2048
    logged = model.logger.name_to_value
    assert np.isfinite([logged[f"train/{name}"] for name in ("loss", "value_loss", "policy_gradient_loss")]).all()
    assert any((one != other).any() for one, other in zip(before, model.policy.parameters(), strict=True))
    # Monitor, which it wraps around the environment, has seen whole episodes.
    assert {episode["l"] for episode in model.ep_info_buffer or ()} == {100}
    assert len(model.ep_success_buffer or ()) == 2048 // 100
    action, _ = model.predict(env.reset(seed=1)[0])
    assert action in env.action_space


def test_stable_baselines_learns_with_sac_in_hindsight() -> None:
    from stable_baselines3 import SAC, HerReplayBuffer

    env = gymnasium.make(env_id("block"), profile="turbo", goal_dict=True)
    model = SAC(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerReplayBuffer,
        policy_kwargs={"net_arch": [32, 32]},
        learning_starts=300,
        seed=0,
        device="cpu",
    )
    model.learn(600)
    logged = model.logger.name_to_value
    assert np.isfinite([logged[f"train/{name}"] for name in ("actor_loss", "critic_loss")]).all()
    assert model.replay_buffer is not None
    sample: Any = model.replay_buffer.sample(1000)
    rewards = sample.rewards.numpy()[:, 0]
    # Next to no random episode succeeds; most of the relabelled ones do somewhere.
    assert set(rewards) == {-1.0, 0.0}
    assert (rewards == 0.0).mean() > 0.1
    achieved, desired = (sample.next_observations[f"{kind}_goal"].numpy() for kind in ("achieved", "desired"))
    np.testing.assert_array_equal(rewards == 0.0, np.linalg.norm(achieved - desired, axis=1) < 0.03)
    action, _ = model.predict(env.reset(seed=1)[0])
    assert action in env.action_space


def test_variations_reach_the_world_and_are_checked() -> None:
    plain, late = (make("block", variation=variation) for variation in ({}, {"action_delay": [2, 2]}))
    plain.reset(seed=0)
    late.reset(seed=0)
    moving, gripper = np.array([1, 0, 0, 0], dtype=np.float32), get_task("block").spec.obs.slice("gripper_position")
    started = late.step(moving)[0][gripper]
    assert np.linalg.norm(plain.step(moving)[0][gripper] - started) > 0.01
    with pytest.raises(ConfigError, match="did you mean friction"):
        make("block", variation={"frictoin": [1, 1]})
    for name, high in (("perception_noise", 0.1), ("perception_bias", 0.1), ("perception_delay", 1)):
        with pytest.raises(SimulationError, match="leave perception_noise, perception_bias and perception_delay at 0"):
            make("block", variation={name: [0, high]}, goal_dict=True)
