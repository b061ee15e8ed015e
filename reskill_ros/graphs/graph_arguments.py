"""Arguments and interface shared by all graphs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reskill_core.parameters import parameter
from reskill_ros.graphs.node_entry import NodeEntry


@dataclass(frozen=True)
class GraphArguments:
    """Arguments of every graph."""

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
        """List missing files."""
        if self.params_file and not Path(self.params_file).is_file():
            return [f"params_file: there is no file {self.params_file}"]
        return []

    def nodes(self) -> list[NodeEntry]:
        """Return the graph's nodes, without the parameters shared by all nodes."""
        raise NotImplementedError

    @property
    def publishes_clock(self) -> bool:
        """Whether a node of the graph publishes ``/clock``."""
        return True


def missing_path(name: str, path: str) -> list[str]:
    """List the violations of an argument that must name an existing file or folder."""
    if not path:
        return [f"{name}: is required, give {name}:=<path>"]
    return [] if Path(path).exists() else [f"{name}: there is no {path}"]
