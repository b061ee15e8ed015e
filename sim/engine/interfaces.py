"""Interfaces of a family's products: robots, demonstrators, renderers, viewers."""

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
    """Environments with sensor readings, which can be simulated robots with the topics of a real one."""

    @property
    def frame(self) -> SensorFrame:
        """True sensor readings of all N environments."""

    @property
    def perceived_frame(self) -> SensorFrame:
        """Perceived sensor readings of all N environments, from which observations are computed."""

    @property
    def step_count(self) -> NDArray[np.int64]:
        """(N,) control steps since the start of each episode."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The driver's names of the robot's J joints."""

    def joint_positions(self, place: int = 0) -> NDArray[np.float64]:
        """(J,) joint positions [m or rad] in one environment."""

    def joint_velocities(self, place: int = 0) -> NDArray[np.float64]:
        """(J,) joint velocities [m/s or rad/s] in one environment."""


@runtime_checkable
class DescribedRobot(Protocol):
    """Environments whose robot is described by a URDF."""

    def robot_description(self, root: str = "world") -> str:
        """URDF of the robot, with the driver's names of joints, from the world's frame of that name on."""


class Demonstrator(Policy, Protocol):
    """Scripted policy with action noise."""

    @property
    def task(self) -> TaskSpec:
        """The demonstrated task."""

    @property
    def noise_scale(self) -> NDArray[np.float64]:
        """(N,) standard deviation of the noise in each episode, in action units."""

    def source(self, place: int = 0) -> str:
        """Return the name of an episode's controller."""


class Renderer(Protocol):
    """Renderer of states of a task's environments."""

    def render(self, state_row: NDArray[np.float64]) -> Image:
        """Render the state of one environment as an image (height, width, 3)."""

    def close(self) -> None:
        """Release graphics memory."""

    def __enter__(self) -> Renderer:
        """Return the renderer itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


class Viewer(Protocol):
    """Window that shows states of a task's environments."""

    def show(self, state_row: NDArray[np.float64]) -> None:
        """Show the state of one environment."""

    def close(self) -> None:
        """Close the window."""
