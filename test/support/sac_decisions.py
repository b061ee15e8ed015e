"""Decisions and small learners for the tests of soft actor-critic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reskill_core.rl.config import SacConfig
from reskill_core.rl.sac import Sac
from reskill_core.rl.transitions import SkillTransition

LIMIT = 3.0
# Features of the skills.
WIDTH = 16
SMALL = SacConfig(hidden=(16,), critic_hidden=(16,), batch=32, warm_up=0, updates=1.0)


def decided(features: np.ndarray, decision: np.ndarray, reward: np.ndarray, **changes: Any) -> SkillTransition:
    """Decisions of a step that end the episode."""
    count = len(reward)
    terminal = np.ones(count, np.bool_)
    values = SkillTransition(
        features=features,
        inputs=features,
        decision=decision.astype(np.float32),
        log_prob=np.full(count, np.nan, np.float32),
        reward=reward.astype(np.float32),
        discount=np.full(count, 0.9, np.float32),
        length=np.ones(count, np.int64),
        next_features=features,
        terminated=terminal,
        ended=terminal,
        place=np.arange(count),
        privileged=features[:, :0],
        next_privileged=features[:, :0],
    )
    return replace(values, **changes)


def rows(count: int, width: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32)


def entropic(**changes: Any) -> Sac:
    """A level without skills."""
    config = replace(SMALL, regulariser="entropy", **changes)
    return Sac(inputs=3, features=3, decisions=2, config=config, seed=1)
