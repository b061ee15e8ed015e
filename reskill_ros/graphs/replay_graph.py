"""Graph ``replay``: recorded observations are replayed to a policy."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.parameters import parameter
from reskill_ros.graphs.graph_arguments import GraphArguments, missing_path
from reskill_ros.graphs.node_entry import NodeEntry
from reskill_ros.graphs.policy_arguments import SkillArguments


@dataclass(frozen=True)
class ReplayArguments(GraphArguments, SkillArguments):
    """Arguments of the graph that feeds recorded observations to a policy and compares its actions."""

    bag: str = parameter("", "Bag with observations and the actions in response to them.")
    recorded_namespace: str = parameter("", "Namespace of the recorded graph; empty: the only one in the bag.")
    task: str = parameter("", "Recorded task; empty: the checkpoint's task.")
    tolerance: float = parameter(0.0, "Largest difference of an action that counts as equal.", low=0.0, high=1e3)
    report: str = parameter("", "JSON file to write the comparison to; empty: only print it.")

    def violations(self) -> list[str]:
        """List the violations of common arguments, bag and policy."""
        return super().violations() + missing_path("bag", self.bag) + self.missing_skills()

    def nodes(self) -> list[NodeEntry]:
        """Return the replay node and the policy."""
        replay = NodeEntry(
            "replay_node",
            "reskill_ros.nodes.replay_node",
            {
                "bag": self.bag,
                "namespace": self.recorded_namespace,
                "task": self.task,
                "skills": self.skills,
                "tolerance": self.tolerance,
                "report": self.report,
            },
            primary=True,
        )
        return [replay, self.policy_node(task=self.task)]
