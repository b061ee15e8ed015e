"""Records of diverged simulations, for debugging."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.errors import SimulationError
from reskill_core.files import commit, part_path
from reskill_sim.engine.variation import Variation


@dataclass(frozen=True)
class Divergence:
    """Last valid state of an environment, and the action after which the physics diverged.

    Attributes:
        task: name of the task.
        profile: fidelity profile of the simulator.
        variation: the task's variation.
        seed: seed of the episode.
        step: control step of the episode.
        state: (S,) state of the environment, see :meth:`reskill_sim.engine.simulator.Simulator.state`.
        action: (A,) the action, before clipping.
        settings: the task's settings.
    """

    task: str
    profile: str
    variation: Variation
    seed: int
    step: int
    state: NDArray[np.float64]
    action: NDArray[np.float64]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Write the record to a folder, atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.task}_{self.profile}_seed{self.seed}_step{self.step}.npz"
        document = {
            "task": self.task,
            "profile": self.profile,
            "variation": config_to_dict(self.variation),
            "seed": self.seed,
            "step": self.step,
            "settings": dict(self.settings),
        }
        part = part_path(path)
        with part.open("wb") as stream:
            np.savez(stream, document=np.array(json.dumps(document)), state=self.state, action=self.action)
        commit(part, path)
        return path


def load_divergence(path: Path) -> Divergence:
    """Read a file of :meth:`Divergence.save`.

    Raises:
        SimulationError: it is missing or invalid.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            document = json.loads(str(arrays["document"]))
            variation = config_from_dict(Variation, document.pop("variation"), source=str(path))
            return Divergence(**document, variation=variation, state=arrays["state"], action=arrays["action"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise SimulationError(f"{path} holds no diverged simulation: {error}") from error
