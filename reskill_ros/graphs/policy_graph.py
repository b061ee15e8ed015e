"""Graph ``policy``: skills or an agent control the robot, with optional recording."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import merged
from reskill_core.errors import ReskillError
from reskill_core.parameters import parameter
from reskill_core.resources import shipped_model
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_ros.graphs.node_entry import NodeEntry, ParameterValue
from reskill_ros.graphs.policy_arguments import SkillArguments
from reskill_ros.graphs.robot_arguments import LABEL, PACING, RobotArguments
from reskill_ros.plumbing.task_settings import parse_settings
from reskill_ros.plumbing.topics import BAG_ACKNOWLEDGE, RECORDER_ACKNOWLEDGE


@dataclass(frozen=True)
class PolicyArguments(RobotArguments, SkillArguments):
    """Arguments of the graph in which a skill policy controls the robot.

    In the simulator, ``skills`` is optional; the default is the shipped policy of the task.
    """

    pacing: str = parameter("realtime", PACING, choices=("lockstep", "realtime"))
    episodes: int = parameter(
        0, "Simulator: episodes after which the graph ends; 0 runs until stopped.", low=0, high=10**9
    )
    dataset: str = parameter("", "Folder of a data set to record all episodes into; empty for none.")
    label: str = parameter("", LABEL)
    bag: str = parameter("", "Folder of a new bag to record the graph's topics into; empty for none.")
    composed: bool = parameter(
        False, "Observation and policy in one process, for a lower latency; the command node stays on its own."
    )
    report: str = parameter("", "JSON file to write the episodes' results to at the end; empty: only print them.")

    @property
    def policy_folder(self) -> str:
        """Checkpoint or run folder of the policy; in the simulator, the shipped skills or agent by default."""
        return shipped_model(self.task) if self.simulated and not self.skills else self.skills

    @property
    def served_task(self) -> dict[str, ParameterValue]:
        """Parameters that select the task; on a robot, that of the checkpoint, which needs no simulator."""
        return {"task": self.task} if self.simulated else {"skills": self.policy_folder}

    @property
    def chosen_settings(self) -> dict[str, ParameterValue]:
        """Settings of the task: those of a checkpoint that was made for it, with the given changes."""
        given = super().chosen_settings
        if not self.simulated:
            return given
        try:
            learnt = load_checkpoint(self.policy_folder, *POLICY_KINDS).task
        except ReskillError:
            return given  # policy_node says what is wrong with it
        if learnt.name != self.task or not learnt.settings:
            return given
        return {"task_settings": json.dumps(merged(learnt.settings, parse_settings(self.task_settings)))}

    def violations(self) -> list[str]:
        """List the violations of robot arguments and of the policy's."""
        found = super().violations() + self.missing_skills()
        if self.episodes and not self.simulated:
            found.append(f"episodes: only the simulator has episodes, driver is {self.driver}")
        if self.bag and Path(self.bag).exists():
            found.append(f"bag: {self.bag} exists already; bags are never overwritten")
        return found

    def nodes(self) -> list[NodeEntry]:
        """Return robot, policy and the requested recorders."""
        acknowledge = [
            topic for topic, path in ((RECORDER_ACKNOWLEDGE, self.dataset), (BAG_ACKNOWLEDGE, self.bag)) if path
        ]
        entries = self.robot_nodes(acknowledge, seed=self.seed, episodes=self.episodes, report=self.report)
        entries.append(self.policy_node(**({"task": self.task} if self.simulated else {})))
        if self.composed:
            together = ("observation_node", "policy_node")
            entries = [replace(entry, shares_process=entry.name in together) for entry in entries]
        if self.dataset:
            own_episodes = {"driver_episodes": self.simulated, "auto_start": self.simulated}
            stored = {"dataset": self.dataset, "label": self.label}
            parameters = {**self.served_task, **stored, **own_episodes, **self.recorded_world}
            entries.append(NodeEntry("recorder_node", "reskill_ros.nodes.recorder_node", parameters))
        if self.bag:
            # A failed bag recorder must not stop a robot; the simulator waits for it in any case.
            parameters = {"bag": self.bag, "acknowledge": self.simulated, **self.served_task}
            module = "reskill_ros.nodes.bag_recorder_node"
            entries.append(NodeEntry("bag_recorder_node", module, parameters, required=self.simulated))
        return entries
