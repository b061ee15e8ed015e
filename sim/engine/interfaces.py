"""Interfaces of what a family makes: robots, demonstrators, renderers, viewers."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reskill_core.environment import RestorableVectorEnv
from reskill_core.observation import SensorFrame
from reskill_core.policy import Policy
from reskill_core.spec import TaskSpec

Image = NDArray[np.uint8]


@runtime_checkable
class RobotEnv(RestorableVectorEnv, Protocol):
    """Environments whose sensors can be read, so that they can stand behind the topics of a real robot."""

    @property
    def frame(self) -> SensorFrame:
        """Sensor values of all N environments, as they are."""

    @property
    def perceived_frame(self) -> SensorFrame:
        """Sensor values of all N environments as a robot perceives them: observations are computed from these."""

    @property
    def step_count(self) -> NDArray[np.int64]:
        """(N,) control steps since the start of each episode."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the robot's J joints, as its driver names them."""

    def joint_positions(self, place: int = 0) -> NDArray[np.float64]:
        """(J,) positions [m or rad] in one environment."""

    def joint_velocities(self, place: int = 0) -> NDArray[np.float64]:
        """(J,) velocities [m/s or rad/s] in one environment."""


class Demonstrator(Policy, Protocol):
    """A scripted policy whose actions are disturbed by noise, and that says what it does."""

    @property
    def task(self) -> TaskSpec:
        """What is demonstrated."""

    @property
    def noise_scale(self) -> NDArray[np.float64]:
        """(N,) standard deviation of the noise in the episode of each place, in action units."""

    def source(self, place: int = 0) -> str:
        """Name of the controller that demonstrates the episode in a place."""


class Renderer(Protocol):
    """Draws states of a task's environments."""

    def render(self, state_row: NDArray[np.float64]) -> Image:
        """Picture (height, width, 3) of the state of one environment."""

    def close(self) -> None:
        """Release graphics memory."""

    def __enter__(self) -> Renderer:
        """The renderer itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


class Viewer(Protocol):
    """A window that shows states of a task's environments."""

    def show(self, state_row: NDArray[np.float64]) -> None:
        """Show the state of one environment."""

    def close(self) -> None:
        """Close the window."""
