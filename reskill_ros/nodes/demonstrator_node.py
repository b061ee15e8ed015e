"""demonstrator_node: responds to each observation with the action of a scripted controller."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.demonstrator_node")

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rclpy.node import Node

from reskill_core.parameters import MAX_SEED, parameter
from reskill_ros.nodes.policy_server import PolicyServer
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.task_settings import SETTINGS, parse_settings
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED
from reskill_sim.families import family_of


@dataclass(frozen=True)
class DemonstratorParameters:
    """Parameters of demonstrator_node."""

    task: str = parameter("block", "Task to demonstrate.", read_only=True)
    task_settings: str = parameter("", SETTINGS, read_only=True)
    kind: str = parameter(MIXED, "Controller that demonstrates; mixed draws one per episode.", read_only=True)
    noise_scale: float = parameter(
        -1.0,
        "Standard deviation of the noise on actions; negative: drawn anew for each episode.",
        low=-1.0,
        high=10.0,
        read_only=True,
    )
    seed: int = parameter(
        0, "Seed of the first episode without a seed of its own.", low=0, high=MAX_SEED, read_only=True
    )


class DemonstratorNode(Node):
    """Node of a demonstrator."""

    def __init__(self) -> None:
        super().__init__("demonstrator_node")
        self._resources = ExitStack()
        values = Parameters(self, DemonstratorParameters()).values
        noise_range = DEFAULT_NOISE_RANGE if values.noise_scale < 0 else (values.noise_scale, values.noise_scale)
        demonstrator = family_of(values.task).make_demonstrator(
            values.task, values.kind, noise_range, settings=parse_settings(values.task_settings)
        )
        self.diagnostics = Diagnostics(self, self._report)
        self._resources.callback(self.diagnostics.close)
        self._server = PolicyServer(
            self,
            demonstrator,
            demonstrator.task,
            lambda: (demonstrator.source(0), float(demonstrator.noise_scale[0])),
            self.diagnostics,
            values.seed,
            self._resources,
        )
        self._resources.enter_context(self._server.serving())

    def _report(self, report: Report) -> None:
        report.state = "demonstrating"
        self._server.report(report)

    def destroy_node(self) -> None:
        """Release everything."""
        self._resources.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(DemonstratorNode, args=args)
