"""Views of a simulated robot: camera images on a topic, and a window."""

from __future__ import annotations

from array import array
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from reskill_ros.plumbing import convert, qos
from reskill_ros.simulation.sim_parameters import SimParameters
from reskill_ros.simulation.simulated_robot import SimulatedRobot
from reskill_sim.families import get_task

if TYPE_CHECKING:
    from reskill_sim.engine.interfaces import Renderer, Viewer

_JPEG_QUALITY = 85


class SimViews:
    """Enabled views; rendering modules are imported only if there are any."""

    def __init__(self, node: Node, parameters: SimParameters) -> None:
        self._parameters = parameters
        self._task = ""
        self._resources = ExitStack()
        self._renderer: Renderer | None = None
        self._viewer: Viewer | None = None
        if parameters.camera:
            self._publisher = node.create_publisher(CompressedImage, "camera/image/compressed", qos.STATE)
            self._message = CompressedImage(format="jpeg")
            self._message.header.frame_id = "camera"

    def show(self, robot: SimulatedRobot) -> None:
        """Show the robot's state.

        Raises:
            SimulationError: there is no way to draw off-screen here, or no display for a window.
        """
        if robot.task != self._task:
            self._open(robot)
        if self._renderer is not None:
            import imageio.v3 as imageio

            picture = self._renderer.render(robot.state)
            jpeg = imageio.imwrite("<bytes>", picture, extension=".jpg", quality=_JPEG_QUALITY)
            self._message.header.stamp = convert.ns_to_stamp(robot.stamp_ns)
            self._message.data = array("B", jpeg)
            self._publisher.publish(self._message)
        if self._viewer is not None:
            self._viewer.show(robot.state)

    def close(self) -> None:
        """Close the window and stop rendering."""
        self._resources.close()

    def _open(self, robot: SimulatedRobot) -> None:
        self.close()
        self._task = robot.task
        task, parameters = get_task(robot.task, robot.variation, robot.spec.settings), self._parameters
        if parameters.camera:
            self._renderer = task.family.make_renderer(
                task, parameters.camera_width, parameters.camera_height, robot.profile
            )
            self._resources.callback(self._renderer.close)
        if not parameters.headless:
            self._viewer = task.family.make_viewer(task, robot.profile)
            self._resources.callback(self._viewer.close)
