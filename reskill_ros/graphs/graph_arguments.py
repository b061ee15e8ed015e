"""What every graph takes, and what every graph is asked: which nodes it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reskill_core.parameters import parameter
from reskill_ros.graphs.node_entry import NodeEntry


@dataclass(frozen=True)
class GraphArguments:
    """What every graph takes."""

    namespace: str = parameter("", "Namespace of all nodes, topics and services; empty for none.")
    params_file: str = parameter("", "YAML file of ROS parameters; overrides the arguments.")
    log_level: str = parameter(
        "info", "Lowest severity that nodes log.", choices=("debug", "info", "warn", "error", "fatal")
    )
    use_sim_time: str = parameter(
        "auto",
        "Use the time from /clock; auto: in graphs that publish it.",
        choices=("auto", "true", "false"),
    )
    autostart: bool = parameter(True, "Lifecycle nodes configure and activate themselves.")

    def violations(self) -> list[str]:
        """Files that are not there."""
        if self.params_file and not Path(self.params_file).is_file():
            return [f"params_file: there is no file {self.params_file}"]
        return []

    def nodes(self) -> list[NodeEntry]:
        """The graph's nodes, without what all nodes get alike."""
        raise NotImplementedError

    @property
    def publishes_clock(self) -> bool:
        """Whether a node of the graph publishes ``/clock``."""
        return True


def missing_path(name: str, path: str) -> list[str]:
    """What is wrong with an argument that has to name a file or folder which exists."""
    if not path:
        return [f"{name}: is required, give {name}:=<path>"]
    return [] if Path(path).exists() else [f"{name}: there is no {path}"]
