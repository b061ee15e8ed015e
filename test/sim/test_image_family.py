"""A family that is no simulator and observes images: collected, evaluated and as Gymnasium environments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from painted_dot import DOTS, SPEC, WIDTH, DotEnv, Rightwards

from reskill_core.data import DemoDataset
from reskill_core.errors import SimulationError
from reskill_sim import families
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.evaluation import evaluate_policy
from reskill_sim.experiments.collect import CollectConfig, collect
from reskill_sim.families import get_task
from reskill_sim.gym.registration import env_id
from reskill_sim.gym.task_env import TaskEnv
from reskill_sim.gym.task_vector_env import TaskVectorEnv


@pytest.fixture(autouse=True)
def dots(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The family is registered."""
    known = {**families._families_by_task(), "dot_right": DOTS}
    monkeypatch.setattr(families, "_families_by_task", lambda: known)
    yield
    families._make_task.cache_clear()


def test_episodes_keep_every_frame_and_what_is_seen_at_the_end() -> None:
    episodes = list(run_episodes(DotEnv(2), Rightwards(2), range(5)))
    assert sorted(episode.seed for episode in episodes) == list(range(5))
    for episode in episodes:
        frames = episode.images["view"].array()
        start = int(frames[0].argmax())
        assert frames.shape == (episode.num_steps + 1, *SPEC.obs.images[0].frame_shape)
        # From where it starts to the right end, a pixel at a time.
        assert frames.reshape(len(frames), WIDTH).argmax(axis=1).tolist() == list(range(start, WIDTH))
        assert frames.reshape(len(frames), WIDTH).sum(axis=1).tolist() == [255] * len(frames)
        np.testing.assert_allclose(episode.observation[:, 0], 0.1 * np.arange(episode.num_steps), rtol=1e-6)
        assert episode.terminated
        assert episode.success


def test_it_is_collected_and_evaluated(tmp_path: Path) -> None:
    # In this process: workers know nothing of a family that only a test knows.
    from reskill_sim.experiments import collect as module

    config = CollectConfig("dot_right", 4, str(tmp_path / "data"), workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_simulate", lambda jobs, workers: inline(jobs))
        report = collect(config, show_progress=False)
    assert report.num_by_source == {"rightwards": 4}
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.spec.task == SPEC
    assert dataset.episode(0).images["view"].array()[-1].argmax() == WIDTH - 1
    evaluation = evaluate_policy(get_task("dot_right"), Rightwards, "rightwards", 3)
    assert evaluation.success.mean == 1.0
    assert [outcome.metrics for outcome in evaluation.outcomes] == [{"end": WIDTH - 1}] * 3


def inline(jobs):
    """Jobs and their episodes, one after the other."""
    from reskill_sim.experiments.collect import _run_job

    yield from ((job, _run_job(job)) for job in jobs)


def test_the_space_has_a_box_of_bytes_for_each_image() -> None:
    env = TaskEnv("dot_right")
    assert env_id("dot_right") == "reskill/DotRight-v0"
    assert isinstance(env.observation_space, gymnasium.spaces.Dict)
    view = env.observation_space["view"]
    assert view.shape == (2, 1, WIDTH, 1)
    assert view.dtype == np.uint8
    first, _ = env.reset(seed=3)
    kept = first["view"].copy()
    env.step(np.ones(1))
    # What was shown stays as it was, although the environment goes on painting.
    np.testing.assert_array_equal(first["view"], kept)
    check_env(TaskEnv("dot_right"), skip_render_check=True)
    with pytest.raises(SimulationError, match="no goal form"):
        TaskEnv("dot_right", goal_dict=True)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_many_at_once_are_what_single_ones_are(mode: AutoresetMode) -> None:
    many = TaskVectorEnv("dot_right", 3, autoreset_mode=mode)
    single = SyncVectorEnv([lambda: TaskEnv("dot_right")] * 3, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    for got, expected in zip(many.reset(seed=5), single.reset(seed=5), strict=True):
        assert_equal(got, expected)
    for _ in range(40):
        actions = rng.uniform(-0.2, 1.0, (3, 1)).astype(np.float32)
        for got, expected in zip(many.step(actions), single.step(actions), strict=True):
            assert_equal(got, expected)


def assert_equal(got: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert isinstance(got, dict)
        assert set(got) == set(expected)
        for name, value in expected.items():
            assert_equal(got[name], value)
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        for one, other in zip(got, expected, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(got, expected)


def test_its_state_brings_back_what_is_seen() -> None:
    env = DotEnv(3)
    env.step(np.ones((3, 1)))
    seen, state = {name: part.copy() for name, part in env.observation().items()}, env.state()
    env.step(-np.ones((3, 1)))
    env.set_state(state)
    for name, part in seen.items():
        np.testing.assert_array_equal(env.observation()[name], part)
