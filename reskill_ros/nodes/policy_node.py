"""policy_node: runs a skill policy and responds to each observation with its action."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.policy_node")

from collections.abc import Sequence

from std_srvs.srv import Trigger

from reskill_core.errors import CheckpointError
from reskill_core.runtime import load_policy
from reskill_core.text import printable
from reskill_ros.nodes.policy_parameters import PolicyParameters
from reskill_ros.nodes.policy_server import PolicyServer
from reskill_ros.plumbing.diagnostics import Report
from reskill_ros.plumbing.exchange import Exchange
from reskill_ros.plumbing.lifecycle import ManagedNode
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.served_task import task_spec


class PolicyNode(ManagedNode):
    """Lifecycle node of a skill policy, loaded when configured and acting when active."""

    def __init__(self, exchange: Exchange | None = None, arguments: list[str] | None = None) -> None:
        """Load and act as the parameters say.

        Args:
            exchange: hands on observations and images within the process; by default they come by topic.
            arguments: ROS arguments of this node alone, if its process has several.
        """
        super().__init__("policy_node", "policy/status", arguments=arguments)
        self._exchange = exchange
        self._settings = Parameters(self, PolicyParameters())
        self._server: PolicyServer | None = None
        self._loaded: dict[str, object] = {}
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/reset", self._on_reset)
        if self._settings.values.autostart:
            self.start(self._settings.values.must_start)

    def configure(self) -> None:
        """Load the policy; damaged or incompatible checkpoints are refused."""
        values = self._settings.values
        if not values.skills:
            raise CheckpointError("parameter skills is empty; give the checkpoint folder of a skill module or agent")
        policy = load_policy(values.skills, values.mode, values.latent_source)
        task = task_spec(values.task) if values.task else policy.task_spec
        # Skills can run every task of the same layout; for their own task, the whole specification must match.
        policy.checkpoint.require_task(task, interface_only=task.name != policy.task_spec.name)
        # Warm-up: the first call compiles and allocates.
        policy.reset([values.seed])
        policy.act(task.obs.zeros(1))
        self.while_configured.callback(self._forget_policy)
        self._loaded = {
            "skills": values.skills,
            "checkpoint": policy.checkpoint.folder,
            "checkpoint_sha256": policy.checkpoint.sha256 or "unknown",
            "policy": policy.description,
            "learnt_for": policy.task_spec.name,
            "task": task.name,
        }
        self._server = PolicyServer(
            self,
            policy,
            task,
            lambda: (policy.description, 0.0),
            self.diagnostics,
            values.seed,
            self.while_configured,
            self._exchange,
        )
        self.get_logger().info(f"loaded {values.skills} for task {printable(task.name)}")

    def activate(self) -> None:
        """Start to act with a new skill."""
        assert self._server is not None  # active follows configured
        self.while_active.enter_context(self._server.serving())

    def report(self, report: Report) -> None:
        """Add the loaded policy, which may differ from the current parameters, and its performance."""
        report.values |= self._loaded
        if self._server is not None:
            self._server.report(report)

    def _forget_policy(self) -> None:
        self._server, self._loaded = None, {}

    def _on_start(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.stage == "unconfigured":
            self.trigger_configure()
        if self.stage == "inactive":
            self.trigger_activate()
        response.success = self.stage == "active"
        response.message = self.failure or self.stage
        return response

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.stage == "active":
            self.trigger_deactivate()
        response.success, response.message = True, self.stage
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._server is None:
            response.message = f"nothing to reset while {self.stage}"
        else:
            self._server.forget()
            response.success, response.message = True, "the next observation starts an episode"
        return response


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(PolicyNode, args=args)
