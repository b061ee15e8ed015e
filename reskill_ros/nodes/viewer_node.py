"""viewer_node: live view of a run, as markers and as a page in the browser."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.viewer_node")

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from reskill_core.parameters import parameter
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.viewer.markers import markers
from reskill_ros.viewer.page_server import PageServer
from reskill_ros.viewer.scene import Scene

_STATUSES = ("command", "policy", "recorder")
_WORLD = "world"


@dataclass(frozen=True)
class ViewerParameters:
    """Parameters of viewer_node."""

    task: str = parameter("block", "Task that is shown.", read_only=True)
    skills: str = parameter("", "Checkpoint whose task is used instead; needs no simulator.", read_only=True)
    driver: str = parameter("sim", "Name of a file in config/drivers, or the path of one.", read_only=True)
    host: str = parameter("127.0.0.1", "Address that the page is served on; 0.0.0.0 for everybody.", read_only=True)
    port: int = parameter(8080, "Port of the page; 0 takes a free one.", low=0, high=65535, read_only=True)
    rate_hz: float = parameter(15.0, "Rate of the view [Hz].", low=0.1, high=100.0, read_only=True)
    length: int = parameter(500, "Control steps that are shown of path and actions.", low=2, high=10**5, read_only=True)


class ViewerNode(Node):
    """Node of the live view; it changes nothing.

    Attributes:
        scene: what is shown.
        page: server of the page.
    """

    def __init__(self) -> None:
        super().__init__("viewer_node")
        self._resources = ExitStack()
        values = Parameters(self, ViewerParameters()).values
        task, driver = task_spec(values.task, values.skills), load_driver(values.driver)
        self.scene = Scene(task, driver.gate, values.length)
        self._frame_id = driver.base_frame or _WORLD
        self._to_frame = driver.sensing.base.inverse
        self._task = task
        self._changed = False
        self.diagnostics = Diagnostics(self, self._report)
        self._resources.callback(self.diagnostics.close)
        self._markers = self.create_publisher(MarkerArray, "markers", qos.STATE)
        self._inputs = Inputs(self, self.diagnostics.publish)
        self._resources.callback(self._inputs.close)
        self._inputs.listen(Observation, "observation", self._on_observation, qos.NEWEST)
        self._inputs.listen(SkillAction, "skill_action", self._on_action, qos.NEWEST)
        for name in _STATUSES:
            self._inputs.listen(DiagnosticStatus, f"{name}/status", self._on_status(name), qos.LATCHED)
        self.page = PageServer(values.host, values.port)
        self._resources.callback(self.page.close)
        self.create_timer(1.0 / values.rate_hz, self._show, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"live view at {self.page.url}")

    def _on_observation(self, message: Observation) -> None:
        if convert.observation_fault(message, self._task):
            return
        vector = convert.observation_values(message)[0]
        self.scene.observe(vector, message.episode_id, message.episode_step)
        self._changed = True

    def _on_action(self, message: SkillAction) -> None:
        if len(message.action) == self._task.action.dim:
            self.scene.act(message.action, message.latent)
            self._changed = True

    def _on_status(self, name: str) -> Callable[[DiagnosticStatus], None]:
        def take(message: DiagnosticStatus) -> None:
            self.scene.states[name] = message.message
            self._changed = True

        return take

    def _show(self) -> None:
        if not self._changed:
            return
        self._changed = False
        self.page.publish(json.dumps(self.scene.document(), allow_nan=False))
        if self._markers.get_subscription_count():
            now = self.get_clock().now().to_msg()
            self._markers.publish(markers(self.scene, now, self._frame_id, self._to_frame))

    def _report(self, report: Report) -> None:
        report.state = "showing"
        report.values = {"url": self.page.url}
        self._inputs.report(report)

    def destroy_node(self) -> None:
        """Release everything."""
        self._resources.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(ViewerNode, args=args)
