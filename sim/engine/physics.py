"""Physics of a batch of environments: MuJoCo's threaded rollout over control periods."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import mujoco
import numpy as np
from mujoco.rollout import Rollout

from reskill_core.arrays import Float64Array
from reskill_sim.engine.mechanism import Mechanism

# Chunks of the batch per thread: few enough for low overhead, enough to balance the load.
_CHUNKS = 4

# The simulator reports diverged environments. MuJoCo's own warnings, which it would write to the terminal and to a file
# in the current folder, go to this logger.
if mujoco.get_mju_user_warning() is None:
    mujoco.set_mju_user_warning(logging.getLogger("mujoco").info)


class BatchedPhysics:
    """Batched physics of environments that share a mechanism but may have different scenes.

    Args:
        mechanism: the mechanism.
        control_period_s: duration of a control period [s].
        threads: threads that share the environments; 0 steps them in the calling thread.
    """

    def __init__(self, mechanism: Mechanism, control_period_s: float, threads: int) -> None:
        self._mechanism = mechanism
        self._substeps = round(control_period_s / mechanism.model.opt.timestep)
        self._rollout = Rollout(nthread=threads)
        self._datas = [mujoco.MjData(mechanism.model) for _ in range(max(1, threads))]

    def advance(
        self, models: Sequence[mujoco.MjModel], physics: Float64Array, sensors: Float64Array, actions: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Simulate one control period; returns physics (n, P) and sensors (n, S).

        Args:
            models: n models of the environments' scenes.
            physics: (n, P) physical states.
            sensors: (n, S) sensor values after the previous control period.
            actions: (n, A) in [-1, 1].
        """

        def integrate(physics: Float64Array, control: Float64Array, substeps: int) -> tuple[Float64Array, Float64Array]:
            return self._integrate(models, physics, control, substeps)

        return self._mechanism.advance(integrate, physics, sensors, actions, self._substeps)

    def _integrate(
        self, models: Sequence[mujoco.MjModel], physics: Float64Array, control: Float64Array, substeps: int
    ) -> tuple[Float64Array, Float64Array]:
        states = np.empty((len(physics), substeps, physics.shape[1]))
        readings = np.empty((len(physics), substeps, self._mechanism.model.nsensordata))
        self._rollout.rollout(
            models,
            self._datas,
            np.ascontiguousarray(physics),
            np.repeat(control[:, None], substeps, axis=1),
            control_spec=self._mechanism.control_spec,
            skip_checks=True,
            nstep=substeps,
            state=states,
            sensordata=readings,
            chunk_size=max(1, len(physics) // (_CHUNKS * len(self._datas))),
        )
        return states[:, -1], readings
