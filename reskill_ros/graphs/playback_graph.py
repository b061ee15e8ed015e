"""Graph ``playback``: a recorded episode is executed again, by the simulator or a robot."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from reskill_core.errors import GraphError
from reskill_core.parameters import parameter
from reskill_ros.graphs.graph_arguments import missing_path
from reskill_ros.graphs.node_entry import NodeEntry
from reskill_ros.graphs.robot_arguments import RobotArguments
from reskill_ros.graphs.simulated_names import SIMULATED


@dataclass(frozen=True)
class PlaybackArguments(RobotArguments):
    """Arguments of the graph that executes a recorded episode.

    Task, settings, seed, profile and randomisation of the simulator are those of the episode, unless they are given.
    """

    dataset: str = parameter("", "Folder of the data set.")
    episode: int = parameter(0, "Index of the episode in the data set, from 0.", low=0, high=10**9)
    report: str = parameter("", "JSON file to write the deviations to; empty: only print them.")
    task: str = parameter("", "Task to run; empty: the recorded one.", choices=("", *SIMULATED.tasks))
    seed: int = parameter(-1, "Simulator: seed of the episode; -1: the recorded one.", low=-1, high=2**53)
    profile: str = parameter(
        "", "Simulator: fidelity profile; empty: the recorded one.", choices=("", *SIMULATED.profiles)
    )

    def violations(self) -> list[str]:
        """List the violations of common arguments and data set."""
        return super().violations() + missing_path("dataset", self.dataset)

    def nodes(self) -> list[NodeEntry]:
        """Return robot and playback node, which ends the graph.

        Raises:
            GraphError: there is no such episode, or it cannot be repeated in the simulator.
        """
        entry = NodeEntry(
            "playback_node",
            "reskill_ros.nodes.playback_node",
            {
                "dataset": self.dataset,
                "episode": self.episode,
                "report": self.report,
                "wait_for_gate": not self.simulated,
            },
            primary=True,
        )
        robot = self._as_recorded()
        return [*robot.robot_nodes([], seed=robot.seed), entry]

    def _as_recorded(self) -> PlaybackArguments:
        """Copy with the recorded values in place of those that are not given."""
        # Imported here, because data set modules take long to import and `--help` does not need them.
        from reskill_core.data import DemoDataset
        from reskill_core.data.world import REAL

        dataset = DemoDataset.open(Path(self.dataset))
        if self.episode >= dataset.num_episodes:
            raise GraphError(f"episode: {self.dataset} has the episodes 0 to {dataset.num_episodes - 1}")
        task, world = dataset.spec.task, dataset.worlds[int(dataset.world_number[self.episode])]
        seed = int(dataset.seed[self.episode])
        chosen = replace(self, task=self.task or task.name)
        if not self.simulated:
            return chosen
        profile = self.profile or dataset.spec.profile
        if profile == REAL or (self.seed < 0 and seed < 0):
            raise GraphError("the episode was recorded on a robot: give driver, or profile and seed of a simulated one")
        varied = {
            name: value if isinstance(value, (list, tuple)) else (value, value)
            for name, value in (world.variation or {}).items()
        }
        return replace(
            chosen,
            seed=seed if self.seed < 0 else self.seed,
            profile=profile,
            variation=self.variation or " ".join(f"{name}={low}:{high}" for name, (low, high) in varied.items()),
            task_settings=self.task_settings or (json.dumps(dict(task.settings)) if task.settings else ""),
        )
