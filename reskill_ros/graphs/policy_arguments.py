"""Arguments and nodes shared by the graphs with a policy."""

from __future__ import annotations

from dataclasses import dataclass, fields

from reskill_core.resources import shipped_models
from reskill_ros.graphs.graph_arguments import missing_path
from reskill_ros.graphs.node_entry import NodeEntry, ParameterValue
from reskill_ros.nodes.policy_parameters import PolicyOptions


@dataclass(frozen=True)
class SkillArguments(PolicyOptions):
    """Additional arguments of graphs with a policy."""

    @property
    def policy_folder(self) -> str:
        """Checkpoint or run folder of the policy."""
        return self.skills

    def missing_skills(self) -> list[str]:
        """List the violations of the policy's source."""
        return [] if self.policy_folder in shipped_models() else missing_path("skills", self.policy_folder)

    def policy_node(self, **further: ParameterValue) -> NodeEntry:
        """Return the policy node with further parameters."""
        options = {item.name: getattr(self, item.name) for item in fields(PolicyOptions)}
        parameters = {**options, "skills": self.policy_folder, **further}
        return NodeEntry("policy_node", "reskill_ros.nodes.policy_node", parameters, lifecycle=True)
