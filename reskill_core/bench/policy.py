"""Benchmark of a skill policy: time of one control step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.models.config import FeatureConfig, ReskillModelConfig
from reskill_core.runtime import SkillModule, SkillPolicy
from reskill_core.spec import ObsSpec, TaskSpec, frame_term, zeros_term

_WARM_UP_TICKS = 200


@dataclass(frozen=True)
class TickTimes:
    """Time of :meth:`SkillPolicy.act`.

    Attributes:
        envs: number of environments in the batch.
        batch_invariant: whether results are independent of the batch, bit for bit.
        mean_us: mean over all steps, including those that choose a skill [us].
        p50_us: median [us].
        p99_us: 99th percentile [us].
        max_us: maximum [us].
        new_skill_us: mean over the steps that choose a skill, every H-th one [us].
        per_env_us: mean per environment [us].
    """

    envs: int
    batch_invariant: bool
    mean_us: float
    p50_us: float
    p99_us: float
    max_us: float
    new_skill_us: float
    per_env_us: float


def measure_ticks(
    skills: Path | str = "", batches: tuple[int, ...] = (1, 64, 512), ticks: int = 2000
) -> list[TickTimes]:
    """Measure a skill module's policy for several batch sizes, with and without batch invariance.

    Args:
        skills: run folder or checkpoint; empty for an untrained module of the usual size.
        batches: numbers of environments.
        ticks: number of measured control steps of one environment; batches take fewer, for a similar duration.
    """
    cases = [(envs, invariant) for envs in batches for invariant in (True, False)]
    return [_measure(_module(skills, invariant), envs, max(ticks // envs, 100)) for envs, invariant in cases]


def _measure(module: SkillModule, envs: int, ticks: int) -> TickTimes:
    policy = SkillPolicy(module)
    policy.reset(range(envs))
    observations = np.random.default_rng(0).normal(size=(envs, module.task_spec.obs.dim)).astype(np.float32)
    for _ in range(_WARM_UP_TICKS - _WARM_UP_TICKS % module.horizon):
        policy.act(observations)
    times_us = np.empty(ticks)
    for tick in range(ticks):
        started = time.perf_counter_ns()
        policy.act(observations)
        times_us[tick] = (time.perf_counter_ns() - started) * 1e-3
    return TickTimes(
        envs=envs,
        batch_invariant=module.batch_invariant,
        mean_us=float(times_us.mean()),
        p50_us=float(np.median(times_us)),
        p99_us=float(np.percentile(times_us, 99)),
        max_us=float(times_us.max()),
        new_skill_us=float(times_us[:: module.horizon].mean()),
        per_env_us=float(times_us.mean() / envs),
    )


def _module(skills: Path | str, batch_invariant: bool) -> SkillModule:
    if skills:
        return SkillModule.load(skills, batch_invariant)
    return SkillModule(_untrained(), batch_invariant)


def _untrained() -> Checkpoint:
    """Create a skill module of the size for the block task, with random weights."""
    import torch

    from reskill_core.models.io import module_contents
    from reskill_core.models.skill_vae import SkillVae

    names = ("gripper", "block", "goal")
    terms = (*(frame_term(f"{name}_position", "position", name) for name in names), zeros_term("padding", 16))
    task = TaskSpec("untrained", ObsSpec(names, (), terms))
    pairs = (("goal_position", "block_position"), ("block_position", "gripper_position"))
    config = ReskillModelConfig(features=FeatureConfig(relative=pairs))
    observations: NDArray[np.float32] = np.random.default_rng(0).normal(size=(100, task.obs.dim)).astype(np.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights, document = module_contents(SkillVae.fitted(config, task, observations), task)
    return Checkpoint(weights, document, Path("(untrained)"))
