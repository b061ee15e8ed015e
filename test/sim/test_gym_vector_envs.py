"""Many environments as one of Gymnasium's: the same as one by one, and when the next episode starts."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gym_tasks import assert_same, demonstration, make, make_vec, random_actions
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from reskill_sim.fetch.tasks import get_task
from reskill_sim.gym.registration import env_id


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(("task", "goal_dict"), [("block", False), ("clean_up", False), ("slippery_push", True)])
def test_many_are_the_same_as_one_by_one(task: str, goal_dict: bool, mode: AutoresetMode) -> None:
    options: dict[str, Any] = {"goal_dict": goal_dict}
    ours = make_vec(task, 3, threads=2, autoreset_mode=mode, **options)
    theirs = SyncVectorEnv([lambda: gymnasium.make(env_id(task), **options)] * 3, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is mode
    seed, demonstrated = demonstration(task)
    assert_same(ours.reset(seed=seed), theirs.reset(seed=seed))
    horizon = get_task(task).spec.horizon
    ends = 0
    for step, actions in enumerate(random_actions((2 * horizon + 5, 3))):
        if step < len(demonstrated):
            actions[0] = demonstrated[step]
        if step % 30 == 7:
            # Ends one episode before the others.
            actions[2] = np.nan
        one, other = ours.step(actions), theirs.step(actions)
        assert_same(one, other)
        ends += int((one[2] | one[3]).sum())
        assert not (one[2] & one[3]).any()
        if step in (40, 41):
            # Some are started again by hand, one of them with a seed, while others may be over.
            seeds, mask = [None, 77, None], np.array([False, True, True])
            given = ours.reset(seed=seeds, options={"reset_mask": mask})
            assert_same(given, theirs.reset(seed=seeds, options={"reset_mask": mask.copy()}))
    assert ends > 6
    assert_same(ours.np_random_seed, theirs.np_random_seed)
    assert_same(ours.reset(), theirs.reset())
    assert_same(ours.reset(seed=[9, 3, 9])[0], theirs.reset(seed=[9, 3, 9])[0])


def test_the_next_step_starts_the_next_episode() -> None:
    envs = make_vec("block", 2)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    envs.reset(seed=0)
    actions = np.zeros((2, 4))
    actions[1] = np.nan
    *_, truncated, info = envs.step(actions)
    assert truncated.tolist() == [False, True]
    assert info["_is_success"].tolist() == [True, True]
    observation, reward, terminated, truncated, info = envs.step(actions)
    assert reward.tolist() == [-1.0, 0.0]
    assert not (terminated | truncated).any()
    assert info["_is_success"].tolist() == [True, False]
    assert info["_seed"].tolist() == [False, True]
    np.testing.assert_array_equal(observation[1], make("block").reset(seed=int(info["seed"][1]))[0])


def test_nothing_starts_by_itself_without_autoreset() -> None:
    envs = make_vec("block", 2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    actions = np.zeros((2, 4))
    actions[1] = np.nan
    assert envs.step(actions)[3].tolist() == [False, True]
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"\[1\]"):
        envs.step(actions)
    envs.reset(options={"reset_mask": np.array([False, True])})
    assert not envs.step(np.zeros((2, 4)))[3].any()


def test_works_with_gymnasiums_statistics() -> None:
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(make_vec("slippery_push", 4, profile="turbo"))
    envs.reset(seed=0)
    for actions in random_actions((100, 4)):
        *_, truncated, info = envs.step(actions)
    assert truncated.all()
    assert info["episode"]["l"].tolist() == [100] * 4
