"""Closed-loop reconstruction: can the skills do again what a demonstration did?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reskill_core.data import Episode
from reskill_core.runtime import SkillModule
from reskill_sim.engine.task import Task
from reskill_sim.evaluation.rollouts import object_positions

RECONSTRUCTED_M = 0.03


@dataclass(frozen=True)
class ReconstructionOutcome:
    """How well one demonstration was done again.

    Attributes:
        seed: seed of the demonstration.
        source: its demonstrator.
        error_m: distance between where the object ended in the demonstration and in its reconstruction [m].
    """

    seed: int
    source: str
    error_m: float

    @property
    def reconstructed(self) -> bool:
        """Whether the object ended within 3 cm of where the demonstration left it."""
        return self.error_m < RECONSTRUCTED_M


def reconstruct(
    task: Task, module: SkillModule, demonstrations: Sequence[Episode], threads: int, profile: str
) -> list[ReconstructionOutcome]:
    """Do demonstrations again in closed loop, from their recorded starts.

    Each demonstration is cut into consecutive windows; the posterior mean of each is decoded at what the simulator
    shows, not at what the demonstration saw. What is left over at the end belongs to the window that ends there.
    """
    count, horizon = len(demonstrations), module.horizon
    environments = task.make_env(count, profile, threads)
    environments.set_state(np.stack([episode.sim_state[0] for episode in demonstrations]))
    latents = [window_latents(module, episode) for episode in demonstrations]
    states = np.zeros((count, module.state_dim), np.float32)
    lengths = np.array([episode.num_steps for episode in demonstrations])
    observation = environments.observation()
    for step in range(lengths.max()):
        active = np.flatnonzero(lengths > step)
        features = module.features(observation[active])
        if step % horizon == 0:
            chosen = np.stack([latents[index][step // horizon] for index in active])
            states[active] = module.begin(features, chosen)
        action, states[active] = module.act(features, states[active])
        observation[active] = environments.step(action, active).observation
    column = task.spec.obs.slice(f"{task.spec.obs.objects[0]}_position")
    ends = np.stack([object_positions(task.spec, episode)[-1] for episode in demonstrations])
    errors = np.linalg.norm(observation[:, column] - ends, axis=1)
    return [
        ReconstructionOutcome(episode.seed, episode.source, float(error))
        for episode, error in zip(demonstrations, errors, strict=True)
    ]


def window_latents(module: SkillModule, episode: Episode) -> NDArray[np.float32]:
    """(W, Z) posterior means of an episode's consecutive windows, the last one ending with the episode."""
    horizon = module.horizon
    starts = np.arange(0, episode.num_steps, horizon)
    starts[-1] = max(0, min(starts[-1], episode.num_steps - horizon))
    steps = starts[:, None] + np.arange(horizon)
    return module.encode(episode.observation[steps], episode.action[steps])[0]
