"""The graph ``policy``: skills or an agent move the robot; recorded if asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reskill_core.parameters import parameter
from reskill_core.resources import shipped_model
from reskill_ros.graphs.node_entry import NodeEntry, ParameterValue
from reskill_ros.graphs.policy_arguments import SkillArguments
from reskill_ros.graphs.robot_arguments import PACING, RobotArguments
from reskill_ros.plumbing.topics import BAG_ACKNOWLEDGE, RECORDER_ACKNOWLEDGE


@dataclass(frozen=True)
class PolicyArguments(RobotArguments, SkillArguments):
    """Arguments of the graph that lets a skill policy drive the robot.

    In the simulator, ``skills`` may be left out: what ships with the package for the task is taken.
    """

    pacing: str = parameter("realtime", PACING, choices=("lockstep", "realtime"))
    episodes: int = parameter(
        0, "Simulator: episodes after which the graph ends; 0 runs until stopped.", low=0, high=10**9
    )
    dataset: str = parameter("", "Folder of a data set to record all episodes into; empty for none.")
    bag: str = parameter("", "Folder of a new bag to record the graph's topics into; empty for none.")
    report: str = parameter("", "JSON file to write the episodes' results to at the end; empty: only print them.")

    @property
    def policy_folder(self) -> str:
        """Where the policy comes from; in the simulator, the shipped skills or agent where none was given."""
        return shipped_model(self.task) if self.simulated and not self.skills else self.skills

    @property
    def served_task(self) -> dict[str, ParameterValue]:
        """On a robot, the task that the skills were made for, which needs no simulator."""
        return {"task": self.task} if self.simulated else {"skills": self.policy_folder}

    def violations(self) -> list[str]:
        """As of all robots, and what a policy is made of."""
        found = super().violations() + self.missing_skills()
        if self.episodes and not self.simulated:
            found.append(f"episodes: only the simulator has episodes, driver is {self.driver}")
        if self.bag and Path(self.bag).exists():
            found.append(f"bag: {self.bag} exists already; bags are never overwritten")
        return found

    def nodes(self) -> list[NodeEntry]:
        """Robot, policy, and the recorders that were asked for."""
        acknowledge = [
            topic for topic, path in ((RECORDER_ACKNOWLEDGE, self.dataset), (BAG_ACKNOWLEDGE, self.bag)) if path
        ]
        entries = self.robot_nodes(acknowledge, seed=self.seed, episodes=self.episodes, report=self.report)
        entries.append(self.policy_node(**({"task": self.task} if self.simulated else {})))
        if self.dataset:
            own_episodes = {"driver_episodes": self.simulated, "auto_start": self.simulated}
            parameters = {**self.served_task, "dataset": self.dataset, **own_episodes, **self.recorded_world}
            entries.append(NodeEntry("recorder_node", "reskill_ros.nodes.recorder_node", parameters))
        if self.bag:
            # A robot must not stop for the sake of a bag; the simulator waits for it anyway.
            parameters = {"bag": self.bag, "acknowledge": self.simulated}
            module = "reskill_ros.nodes.bag_recorder_node"
            entries.append(NodeEntry("bag_recorder_node", module, parameters, required=self.simulated))
        return entries
