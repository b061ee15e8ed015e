"""Run episodes in a batch and keep what happened, for collecting data and for evaluation alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reskill_core.data import Episode
from reskill_core.runtime import SkillAction
from reskill_sim.engine.simulator import Simulator, StepResult

IntArray = NDArray[np.int64]


class Actor(Protocol):
    """Whatever answers observations: a demonstrator, a skill policy, a baseline."""

    def reset(self, seeds: Sequence[int], indices: Sequence[int] | None = None) -> None:
        """Start new episodes in the places ``indices``."""

    def act(self, observation: NDArray[np.float64], indices: Sequence[int] | IntArray | None = None) -> SkillAction:
        """Answer observations (n, O) of the episodes in the places ``indices``."""


class _Tape:
    """(N, T, ...) arrays that the running episodes are recorded on."""

    def __init__(self, simulator: Simulator) -> None:
        spec = simulator.task.spec
        shape = (simulator.num_envs, spec.horizon)
        self.arrays: dict[str, NDArray[Any]] = {
            "observation": np.zeros((*shape, spec.obs.dim), np.float32),
            "action": np.zeros((*shape, spec.action.dim), np.float32),
            "executed_action": np.zeros((*shape, spec.action.dim), np.float32),
            "sim_state": np.zeros((*shape, simulator.state_dim)),
            "reward": np.zeros(shape, np.float32),
        }

    def write(self, envs: IntArray, steps: IntArray, **values: NDArray[Any]) -> None:
        for name, value in values.items():
            self.arrays[name][envs, steps] = value

    def episode(self, env: int, length: int) -> dict[str, Any]:
        return {name: array[env, :length].copy() for name, array in self.arrays.items()}


def run_episodes(
    simulator: Simulator,
    actor: Actor,
    seeds: Sequence[int],
    describe: Callable[[int], tuple[str, float]] = lambda place: ("", 0.0),
) -> Iterator[Episode]:
    """Run one episode for each seed, as many at a time as the simulator has environments.

    What an episode contains depends on its seed alone, not on the batch it ran in.

    Args:
        simulator: where they run.
        actor: who acts; has as many places as the simulator has environments.
        seeds: one for each episode.
        describe: name of the actor's source and its noise scale in a place, for the record.

    Yields:
        Episodes in the order in which they end. Those in which the physics broke down are left out.
    """
    waiting = list(reversed(seeds))
    tape = _Tape(simulator)
    seed_of = np.zeros(simulator.num_envs, dtype=np.int64)

    def start(places: IntArray) -> IntArray:
        places = places[: len(waiting)]
        seed_of[places] = [waiting.pop() for _ in places]
        simulator.reset(seed_of[places].tolist(), places.tolist())
        actor.reset(seed_of[places].tolist(), places.tolist())
        return places

    active = start(np.arange(simulator.num_envs))
    observation = simulator.observation()
    while len(active):
        steps = simulator.step_count[active]
        action = actor.act(observation[active], active)
        tape.write(
            active,
            steps,
            observation=observation[active],
            action=action.decoded_action,
            executed_action=action.action,
            sim_state=simulator.state(active),
        )
        result = simulator.step(action.action, active)
        tape.write(active, steps, reward=result.reward)
        observation[active] = result.observation
        for at in map(int, np.flatnonzero(result.done & ~result.diverged)):
            place = int(active[at])
            source, noise_scale = describe(place)
            yield Episode(
                **tape.episode(place, int(steps[at]) + 1),
                **_outcome(result, at),
                seed=int(seed_of[place]),
                noise_scale=noise_scale,
                source=source,
            )
        if result.done.any():
            started = start(active[result.done])
            active = np.sort(np.concatenate([active[~result.done], started]))
            observation[started] = simulator.observation()[started]


def _outcome(result: StepResult, at: int) -> dict[str, Any]:
    return {
        "final_observation": result.observation[at].astype(np.float32),
        "success": bool(result.success[at]),
        "terminated": bool(result.terminated[at]),
        "truncated": bool(result.truncated[at]),
    }
