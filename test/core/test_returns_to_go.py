"""Returns to go in a replay memory, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sac_decisions import decided, entropic

from reskill_core.rl.replay import Replay
from reskill_core.rl.returns_to_go import RETURN_TO_GO, ReturnsToGo
from reskill_core.rl.sac import Sac
from reskill_core.rl.transitions import SkillTransition


def moves(places: list[int], starts: list[float], rewards: list[float], ends: list[bool]) -> SkillTransition:
    """Decisions by which places advance by one on a line; the discount is 0.5, at time limits, too."""
    features = np.array(starts, np.float32)[:, None].repeat(3, axis=1)
    ended, count = np.array(ends), len(places)
    return decided(
        features,
        np.zeros((count, 2)),
        np.array(rewards),
        next_features=features + 1,
        discount=np.full(count, 0.5, np.float32),
        terminated=np.zeros(count, np.bool_),
        ended=ended,
        place=np.array(places),
    )


def bounded(**changes: Any) -> Sac:
    return entropic(return_bound=True, soft_values=False, **changes)


def returns(sac: Sac) -> list[float]:
    return sac._replay.columns[RETURN_TO_GO][: len(sac._replay)].tolist()


def test_rewards_count_for_earlier_decisions_of_the_same_episode() -> None:
    """Place 0 gets 0, 2 and 1: 1, 2 + 0.5 · 1, and 0.5 · 2.5 to go; place 1 a 4 in its second decision."""
    sac = bounded()
    sac.observe(moves([0, 1, 0], [0, 10, 1], [0, 0, 2], [False] * 3))
    assert returns(sac) == [1.0, 0.0, 2.0]
    sac.observe(moves([1, 0], [11, 2], [4, 1], [False, True]))
    assert returns(sac) == [1.25, 2.0, 2.5, 4.0, 1.0]
    sac.observe(moves([0, 1], [3, 12], [8, 2], [False, False]))
    # The next episode of place 0 begins where the last one ended, and is another one nevertheless.
    assert returns(sac) == [1.25, 2.5, 2.5, 5.0, 1.0, 8.0, 2.0]


def test_what_does_not_continue_from_the_last_decision_is_another_episode() -> None:
    sac = bounded()
    sac.observe(moves([0, 0], [0, 7], [0, 1], [False, False]))
    assert returns(sac) == [0.0, 1.0]


def test_overwritten_decisions_get_no_more_rewards() -> None:
    sac = bounded(capacity=4)
    sac.observe(moves([0, 1, 0, 1], [0, 10, 1, 11], [0] * 4, [False] * 4))
    sac.observe(moves([1], [12], [8], [False]))
    # Row 0 belongs to place 1 now.
    assert returns(sac) == [8.0, 2.0, 0.0, 4.0]
    sac.observe(moves([0], [2], [4], [False]))
    assert returns(sac) == [8.0, 4.0, 2.0, 4.0]


def test_of_more_decisions_than_there_is_room_for_the_newest_count() -> None:
    sac = bounded(capacity=2)
    sac.observe(moves([1, 0, 0], [10, 1, 2], [0, 0, 8], [False] * 3))
    assert sorted(returns(sac)) == [4.0, 8.0]


def test_a_resumed_run_goes_on_with_running_episodes() -> None:
    sac, resumed = bounded(), bounded()
    sac.observe(moves([0, 1, 0], [0, 10, 1], [0, 0, 0], [False] * 3))
    resumed.restore(sac.weights(), sac.state())
    for each in (sac, resumed):
        each.observe(moves([1, 0], [11, 2], [0, 8], [False, True]))
    assert returns(resumed) == returns(sac) == [2.0, 0.0, 4.0, 0.0, 8.0]


def test_without_running_episodes_there_is_nothing_to_restore() -> None:
    made = ReturnsToGo(Replay(1, {}).columns)
    made.restore(made.state())
    assert [len(rows) for rows in made.state().values()] == [0, 0]


@pytest.mark.parametrize(("return_bound", "expected"), [(True, 1.0), (False, 0.0)])
def test_one_success_is_learnt_from_along_its_whole_way(return_bound: bool, expected: float) -> None:
    """Forty decisions to a single reward, with targets that hardly move: only its bound tells the first one of it."""
    changes: dict[str, Any] = {"critic_hidden": (64,), "critic_learning_rate": 1e-2}
    sac = entropic(return_bound=return_bound, soft_values=False, target_rate=1e-6, updates=8.0, **changes)
    features = np.linspace(0, 1, 41, dtype=np.float32)[:, None].repeat(3, axis=1)
    last = np.arange(40) == 39
    way = {"discount": np.ones(40, np.float32), "terminated": last, "ended": last, "place": np.zeros(40, np.int64)}
    sac.observe(decided(features[:-1], np.zeros((40, 2)), last, next_features=features[1:], **way))
    sac.update(0.0)
    value = sac._learner.critics(torch.from_numpy(features[:1]), torch.zeros(1, 2)).mean().item()
    assert value == pytest.approx(expected, abs=0.35)
