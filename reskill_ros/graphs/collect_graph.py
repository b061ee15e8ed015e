"""Graph ``collect``: a demonstrator controls the robot and its episodes are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reskill_core.errors import GraphError
from reskill_core.parameters import MAX_SEED, parameter
from reskill_core.seeding import foreign_demonstrations
from reskill_ros.graphs.node_entry import NodeEntry
from reskill_ros.graphs.robot_arguments import LABEL, RobotArguments
from reskill_ros.graphs.simulated_names import SIMULATED
from reskill_ros.plumbing.topics import RECORDER_ACKNOWLEDGE

_KINDS = ("mixed", *dict.fromkeys(name for names in SIMULATED.demonstrators.values() for name in names))


@dataclass(frozen=True)
class CollectArguments(RobotArguments):
    """Arguments of the graph that records demonstrations."""

    task: str = parameter("block", "Task to demonstrate.", choices=tuple(SIMULATED.demonstrators))
    seed: int = parameter(
        -1,
        "Simulator: seed of the first episode; -1 continues after the highest one in the data set.",
        low=-1,
        high=MAX_SEED,
    )
    episodes: int = parameter(
        10, "Episodes to add to the data set in this run; 0 records until stopped.", low=0, high=10**9
    )
    dataset: str = parameter("runs/demonstrations", "Folder of the data set; an existing one is continued.")
    label: str = parameter("", LABEL)
    demonstrator: str = parameter("mixed", "Controller that demonstrates; mixed draws one per episode.", choices=_KINDS)
    noise_scale: float = parameter(
        -1.0, "Noise on the demonstrator's actions; negative: drawn anew for each episode.", low=-1.0, high=10.0
    )
    keep_failures: bool = parameter(False, "Also record episodes that do not reach the goal.")

    def nodes(self) -> list[NodeEntry]:
        """Return robot, demonstrator and recorder; the recorder ends the graph.

        Raises:
            GraphError: the seeds are outside the range of demonstrations.
        """
        demonstrator = NodeEntry(
            "demonstrator_node",
            "reskill_ros.nodes.demonstrator_node",
            {
                "task": self.task,
                "kind": self.demonstrator,
                "noise_scale": self.noise_scale,
                **self.chosen_settings,
            },
        )
        recorder = NodeEntry(
            "recorder_node",
            "reskill_ros.nodes.recorder_node",
            {
                "task": self.task,
                "dataset": self.dataset,
                "label": self.label,
                "episodes": self.episodes,
                "keep_failures": self.keep_failures,
                "driver_episodes": self.simulated,
                "auto_start": self.simulated,
                **self.recorded_world,
            },
            primary=self.episodes > 0,
        )
        # Imported here, because data set modules take long to import and `--help` does not need them.
        from reskill_ros.recording.episode_store import next_seed

        seed = next_seed(Path(self.dataset)) if self.simulated and self.seed < 0 else self.seed
        if self.simulated and (faults := foreign_demonstrations(seed, self.episodes, "seed")):
            raise GraphError(faults[0])
        return [*self.robot_nodes([RECORDER_ACKNOWLEDGE], seed=seed), demonstrator, recorder]
