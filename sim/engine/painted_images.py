"""Observed images of a batch of environments: stacks of frames that the mechanism paints from sensor readings.

The frames are no part of a state row, because those of earlier steps are painted again from the readings in its
history. So a row restores what is seen, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import BoolArray, Float64Array, IntArray
from reskill_core.environment import Places
from reskill_core.frame_stacks import SteppedFrames
from reskill_core.spec import ImageFeature
from reskill_sim.engine.mechanism import Mechanism
from reskill_sim.engine.perception import Perception
from reskill_sim.engine.rows import RowLayout
from reskill_sim.engine.task import SimulatedTask


class PaintedImages:
    """Stacks of the image features of a task in N environments; without images it does nothing.

    They show the true state, as late as the variation delays perception.

    Args:
        task: the task.
        mechanism: the mechanism, which paints.
        perception: sensor frames of rows.
        layout: layout of the rows.
        num_envs: number N of environments.
    """

    def __init__(
        self, task: SimulatedTask, mechanism: Mechanism, perception: Perception, layout: RowLayout, num_envs: int
    ) -> None:
        self._mechanism, self._perception, self._layout = mechanism, perception, layout
        self._stacks = [SteppedFrames(image, num_envs) for image in task.spec.obs.images]

    def restore(self, rows: Float64Array, places: Places) -> None:
        """Paint whole stacks of the environments in ``places`` from their rows (n, S)."""
        for stack in self._stacks:
            oldest, *later = range(stack.feature.stack - 1, -1, -1)
            stack.reset(self._painted(stack.feature, rows, oldest), places)
            for age in later:
                stack.push(self._painted(stack.feature, rows, age), places)

    def push(self, rows: Float64Array, places: IntArray | None, stepped: BoolArray) -> None:
        """Add the frames after a control step.

        Args:
            rows: (n, S) rows after the step.
            places: (n,) indices of the environments; all by default.
            stepped: (n,) whether the environment made the step; the stacks of the others stay.
        """
        if not self._stacks:
            return
        if not stepped.all():
            places, rows = (np.arange(len(rows)) if places is None else places)[stepped], rows[stepped]
        for stack in self._stacks:
            stack.push(self._painted(stack.feature, rows, 0), places)

    def images(self, places: IntArray | None) -> Mapping[str, NDArray[np.uint8]]:
        """(n, stack, H, W, C) images by name; of all environments, they are overwritten by the next step."""
        return {stack.feature.name: stack.images if places is None else stack.images[places] for stack in self._stacks}

    def _painted(self, image: ImageFeature, rows: Float64Array, age: int) -> NDArray[np.uint8]:
        """(n, H, W, C) frames that were the newest ones ``age`` control steps ago."""
        delay = rows[:, self._layout.delays][:, 0].astype(int)
        readings = self._perception.known(rows)[np.arange(len(rows)), delay + age]
        frame = self._perception.frame(readings, rows[:, self._layout.goal])
        return self._mechanism.paint(image, frame, rows[:, self._layout.scene][:, 0].astype(np.int64))
