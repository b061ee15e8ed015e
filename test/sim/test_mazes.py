"""The maze family: physics as in a whole maze, pictures as MuJoCo draws them, demonstrations that arrive."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import imageio.v3 as iio
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from reskill_core.data import DemoDataset
from reskill_core.runtime import load_policy
from reskill_core.seeding import EVALUATION_SEED, episode_rng
from reskill_core.spec import VECTOR
from reskill_sim.engine.divergence import load_divergence
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.evaluation import make_policy, rollouts
from reskill_sim.evaluation.plots import plot_paths
from reskill_sim.experiments import collect as module
from reskill_sim.experiments.report import skill_choices
from reskill_sim.maze import constants
from reskill_sim.maze.family import MAZE
from reskill_sim.maze.planar_base import looking_down
from reskill_sim.maze.tasks import MazeTask

SMALL = {"size": 8}


def driven(task: MazeTask, steps: int, num_envs: int = 4) -> tuple[Simulator, np.ndarray]:
    """A simulator, and the actions that it is driven by: most of the time into some wall."""
    simulator = MAZE.make_env(task, num_envs)
    rng = np.random.default_rng(0)
    actions = np.repeat(rng.uniform(-1, 1, (steps // 20 + 1, num_envs, 2)), 20, axis=0)[:steps]
    return simulator, np.clip(3.0 * actions, -1, 1).astype(np.float32)


def test_four_boxes_act_as_the_whole_maze() -> None:
    task = MazeTask("maze", settings={"layout_seed": 4, "size": 8})
    simulator, actions = driven(task, 300)
    start = simulator.state()
    whole = simulator.mechanism.compiled(4, looks=True)
    touched = 0
    for place in range(simulator.num_envs):
        data = mujoco.MjData(whole)
        data.qpos[:] = simulator.qpos_of(start[place])
        expected = []
        for action in actions[:, place]:
            data.ctrl[:] = np.clip(action, -1, 1) * constants.MAX_SPEED
            # As rollouts do, whose result depends on nothing but the state.
            data.qacc_warmstart[:] = 0.0
            mujoco.mj_step(whole, data)
            touched += data.ncon > 0
            expected.append(data.qpos.copy())
        alone = MAZE.make_env(task, 1)
        alone.set_state(start[[place]])
        path = [alone.step(action[None]).observation[0, :2] for action in actions[:, place]]
        # Where several contacts act at once, their forces are found by iteration.
        np.testing.assert_allclose(path, expected, rtol=0.0, atol=1e-6)
    assert touched > 300


def test_a_commanded_velocity_is_reached_and_walls_hold() -> None:
    task = MazeTask("maze", settings={"layout_seed": 4, "size": 40})
    simulator, actions = driven(task, 400, 16)
    walls = task.layout(4).walls
    fastest = 0.0
    for action in actions:
        observation = simulator.step(action).observation
        x, y = np.floor(observation[:, :2]).astype(int).T
        assert not walls[x, y].any()
        fastest = max(fastest, np.abs(observation[:, 2:4]).max() / constants.CONTROL_PERIOD_S)
    # A wall may push a little faster.
    assert 0.97 * constants.MAX_SPEED < fastest < 1.1 * constants.MAX_SPEED


def test_the_goal_ends_an_episode_with_its_only_reward() -> None:
    task = MazeTask("maze", settings=SMALL)
    simulator = MAZE.make_env(task, 1)
    simulator.reset([3])
    row = simulator.state()
    goal = simulator.goal_of(row[0])
    for distance, there in ((0.98, True), (1.02, False)):
        placed = row.copy()
        placed[0, simulator.layout.qpos] = goal[:2] + np.array([distance, 0.0])
        simulator.set_state(placed)
        result = simulator.step(np.zeros((1, 2)))
        assert (result.success[0], result.terminated[0], result.reward[0]) == (there, there, float(there))
    row[0, simulator.layout.step] = task.spec.horizon - 1
    simulator.set_state(row)
    result = simulator.step(np.zeros((1, 2)))
    assert result.truncated[0]
    assert not result.terminated[0]


def test_pictures_are_what_mujoco_draws() -> None:
    """But for perspective: seen from 5 m, the top of a wall 20 cm above the floor is larger by 4 %."""
    task = MazeTask("maze_images", settings={"size": 12})
    simulator = MAZE.make_env(task, 2)
    painted = simulator.observation()["camera"][:, -1].astype(float)
    goal_seen = simulator.state()
    goal_seen[0, simulator.layout.goal][:2] = simulator.qpos_of(goal_seen[0]) + np.array([1.0, 0.5])
    simulator.set_state(goal_seen)
    painted[0] = simulator.observation()["camera"][0, -1]
    for row, ours in zip(simulator.state(), painted, strict=True):
        model = simulator.mechanism.compiled(simulator.scene_of(row), looks=True)
        data = mujoco.MjData(model)
        data.qpos[:] = simulator.qpos_of(row)
        simulator.mechanism.show_goal(model, simulator.goal_of(row))
        mujoco.mj_forward(model, data)
        with mujoco.Renderer(model, 128, 128) as renderer:
            renderer.update_scene(data, looking_down(data.qpos, constants.CAMERA_DISTANCE_M))
            drawn = renderer.render().reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
        difference = np.abs(drawn - ours).max(axis=2)
        assert np.median(difference) < 2.0
        assert (difference > 40).mean() < 0.12
    # Red to the right and above, green in the middle.
    red = painted[0, :, :, 0] - painted[0, :, :, 1]
    assert np.unravel_index(red.argmax(), red.shape) in {(11, 23), (12, 23), (12, 24), (11, 24)}
    assert painted[:, 15:17, 15:17].argmax(axis=-1).tolist() == [[[1, 1], [1, 1]]] * 2


def test_a_picture_shows_motion_by_less_than_a_pixel() -> None:
    simulator = MAZE.make_env(MazeTask("maze_images", settings={"layout_seed": 0}))
    row = simulator.state()
    seen = []
    for shift in (0.0, 0.02, 0.04):
        moved = row.copy()
        moved[0, simulator.layout.qpos] += np.array([shift, 0.0])
        simulator.set_state(moved)
        seen.append(simulator.observation()["camera"][0, -1].astype(int))
    assert np.abs(seen[1] - seen[0]).max() > 10
    np.testing.assert_allclose(seen[1] - seen[0], seen[2] - seen[1], atol=25)


def test_a_row_brings_back_mazes_of_many_layouts() -> None:
    task = MazeTask("maze_images", settings=SMALL)
    simulator, actions = driven(task, 30, 3)
    for action in actions[:20]:
        simulator.step(action)
    state = simulator.state()
    expected = [simulator.step(action).observation for action in actions[20:]]
    expected = [{name: part.copy() for name, part in one.items()} for one in expected[-1:]]
    other = MAZE.make_env(task, 3)
    other.set_state(state[::-1])
    for action in actions[20:]:
        got = other.step(action[::-1]).observation
    for name in (VECTOR, "camera"):
        np.testing.assert_array_equal(got[name][::-1], expected[0][name])


def test_a_diverged_state_is_kept_with_the_settings_that_it_needs(tmp_path: Path) -> None:
    simulator = MAZE.make_env(MazeTask("maze", settings=SMALL), divergence_folder=tmp_path)
    assert simulator.step(np.full((1, 2), np.nan)).diverged[0]
    kept = load_divergence(next(tmp_path.iterdir()))
    again = MAZE.make_env(MazeTask(kept.task, settings=kept.settings))
    again.set_state(kept.state[None])
    np.testing.assert_array_equal(again.observation(), simulator.observation())


@pytest.mark.parametrize("settings", [{}, {"layout_seed": 3, "size": 40, "start": [10, 24], "goal": [18, 8]}])
def test_the_planner_arrives(settings: dict) -> None:
    task = MazeTask("maze", settings=settings)
    planner = MAZE.make_demonstrator("maze", num_envs=4, settings=settings)
    episodes = list(run_episodes(MAZE.make_env(task, 4), planner, range(4), lambda place: (planner.source(place), 0.0)))
    assert all(episode.success and episode.terminated and episode.source == "planner" for episode in episodes)
    metrics = [task.metrics(episode) for episode in episodes]
    for episode, found in zip(episodes, metrics, strict=True):
        assert found["reached"]
        assert found["steps"] == episode.num_steps == len(task.path(episode)) - 1
        cells = {tuple(cell) for cell in np.floor(task.path(episode)).astype(int).tolist()}
        assert found["coverage"] == len(cells) / len(task.layout(task.draw_scene(episode.seed)).free)
    labels = np.concatenate([episode.action for episode in episodes])
    assert not np.array_equal(labels, np.concatenate([episode.executed_action for episode in episodes]))


def test_demonstrations_are_collected_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = module.CollectConfig("maze_images", 3, str(tmp_path / "data"), task_settings=SMALL)

    # In this process, which starts faster than workers.
    def simulate(jobs, workers):
        yield from ((job, module._run_job(job)) for job in jobs)

    monkeypatch.setattr(module, "_simulate", simulate)
    module.collect(config, show_progress=False)
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.spec.task.settings["size"] == 8
    episode = dataset.episode(0)
    frames = episode.images["camera"].array()
    assert frames.shape == (episode.num_steps + 1, 32, 32, 3)
    # The same again, from its first state.
    task = MazeTask("maze_images", settings=dataset.spec.task.settings)
    simulator = MAZE.make_env(task, 1)
    simulator.set_state(episode.sim_state[:1])
    for action, frame in zip(episode.executed_action, frames[1:], strict=True):
        seen = simulator.step(action[None]).observation
        np.testing.assert_array_equal(seen["camera"][0, -1], frame)
    np.testing.assert_array_equal(seen[VECTOR][0].astype(np.float32), episode.final_observation)


def test_baselines_act_on_pictures() -> None:
    task = MazeTask("maze_images", settings=SMALL)
    for name in ("zero", "random", "demonstrator"):
        policy = make_policy(name, task.spec, 3)
        policy.reset(range(3))
        assert policy.act(MAZE.make_env(task, 3).observation()).action.shape == (3, 2)


@pytest.mark.parametrize("name", ["Maze", "MazeImages"])
def test_mazes_are_gymnasium_environments(name: str) -> None:
    env = gymnasium.make(f"reskill/{name}-v0", settings={"layout_seed": 2, "size": 12}).unwrapped
    check_env(env, skip_render_check=True)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)


def test_a_maze_is_drawn_from_above_with_the_way_so_far() -> None:
    task = MazeTask("maze_images", settings={"layout_seed": 2, "size": 12})
    simulator = MAZE.make_env(task)
    states = [simulator.state()[0]]
    planner = MAZE.make_demonstrator("maze_images", settings=task.spec.settings)
    planner.reset([0])
    for _ in range(60):
        seen = simulator.step(planner.act(simulator.observation()).action).observation["camera"][0, -1].copy()
        states.append(simulator.state()[0])
    with MAZE.make_renderer(task, 184, 120) as renderer:
        first, *_, last = [renderer.render(state) for state in states]
        again = renderer.render(states[0])
    np.testing.assert_array_equal(again, first)
    assert last.shape == (120, 184, 3)
    # What the camera sees, twice as large.
    np.testing.assert_array_equal(last[:64, -64:], np.repeat(np.repeat(seen, 2, axis=0), 2, axis=1))
    centres = 10 * np.arange(12) + 2
    brown = (first[::-1][np.ix_(centres, centres)] == constants.WALL_RGB).all(axis=-1).T
    np.testing.assert_array_equal(brown, task.layout(2).walls)
    x, y = simulator.qpos_of(states[-1])
    assert last[119 - int(10 * y), int(10 * x)].tolist() == list(constants.BASE_RGB)
    x, y = simulator.qpos_of(states[25])
    assert last[119 - int(10 * y), int(10 * x)].tolist() == [230, 230, 230]
    assert first[119 - int(10 * y), int(10 * x)].tolist() != [230, 230, 230]


def test_paths_of_rollouts_are_plotted_over_the_walls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "_PATH_STEPS", 5)
    task = MazeTask("maze_images", settings=SMALL)
    paths = rollouts.paths_from_one_state(task, rollouts.UniformPolicy(task.spec, 3), 3, "exact")
    assert paths.shape == (3, 6, 2)
    start = task.sample_start(episode_rng(EVALUATION_SEED, "reset"), task.draw_scene(EVALUATION_SEED))
    np.testing.assert_allclose(paths[:, 0], np.tile(start.object_poses[0, :2], (3, 1)))
    assert len(np.unique(paths[:, -1], axis=0)) == 3
    walls = task.obstacles(EVALUATION_SEED)
    assert len(walls) == task.layout(task.draw_scene(EVALUATION_SEED)).walls.sum()
    plot_paths(tmp_path / "paths.png", task, {"uniform": paths})
    picture = iio.imread(tmp_path / "paths.png")
    grey = (picture[..., :3] == round(0.75 * 255)).all(axis=-1).mean()
    # Half of a small maze is wall, and the plot fills most of the picture.
    assert 0.2 < grey < 0.6


def test_choices_in_a_report_are_those_made_by_pictures() -> None:
    policy = load_policy("agents/maze_images")
    task = MazeTask("maze_images", settings={"size": 12})
    simulator = Simulator(task, 1)
    policy.reset([EVALUATION_SEED])
    [episode] = run_episodes(simulator, policy, [EVALUATION_SEED])
    choices = skill_choices(policy, [episode])
    policy.reset([EVALUATION_SEED])
    observation, chosen = simulator.reset([EVALUATION_SEED]), []
    for _ in range(episode.num_steps):
        action = policy.act(observation)
        if action.skill_step[0] == 0:
            chosen.append(action.latent[0])
        observation = simulator.step(action.action).observation
    assert choices is not None
    np.testing.assert_array_equal(choices.chosen, chosen)
    assert choices.sampled.std(axis=0).min() > 0.1
