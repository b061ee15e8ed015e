"""Base class of lifecycle nodes, with reversible transitions, error reports and automatic start."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from reskill_core.command_line import FAULT, USER_ERROR, USER_ERRORS, message_of
from reskill_core.text import printable
from reskill_ros.plumbing.diagnostics import Diagnostics, Report


class ManagedNode(LifecycleNode):
    """Lifecycle node whose resources are on two stacks, so that every transition is symmetrical.

    :meth:`configure` and :meth:`activate` push the clean-up of their actions onto ``while_configured`` and
    ``while_active``; leaving the state, a failed transition into it, and shutdown all unwind the stack.

    Attributes:
        stage: name of the primary lifecycle state.
        failure: reason of the last failed transition, or an error in a callback; empty if there was none.
        done: Future of the exit code, which has a result once the process should end by itself.
    """

    def __init__(
        self, name: str, status_topic: str, shared: Collection[str] = (), arguments: list[str] | None = None
    ) -> None:
        """Start unconfigured.

        Args:
            name: name of the node.
            status_topic: see :class:`~reskill_ros.plumbing.diagnostics.Diagnostics`.
            shared: likewise.
            arguments: ROS arguments of this node alone, if its process has several.
        """
        super().__init__(name, cli_args=arguments)
        self.stage = "unconfigured"
        self.failure = ""
        self._is_refusal = False
        self.done: Future = Future()
        self.while_configured = ExitStack()
        self.while_active = ExitStack()
        self.diagnostics = Diagnostics(self, self._report, status_topic, shared=shared)

    def configure(self) -> None:
        """Create the node's resources; raises a :class:`reskill_core.errors.ReskillError` to refuse."""
        raise NotImplementedError

    def activate(self) -> None:
        """Start the operation."""
        raise NotImplementedError

    def report(self, report: Report) -> None:
        """Add to the node's diagnostics; called in every state."""

    def start(self, required: bool = False) -> None:
        """Configure and activate; a failure is logged, and the node stays in the state that it reached.

        Args:
            required: whether a failure ends the process, with an error code.
        """
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        if required and self.stage != "active":
            self.done.set_result(USER_ERROR if self._is_refusal else FAULT)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by the state machine."""
        return self._enter("inactive", self.configure, self.while_configured)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by the state machine."""
        return self._enter("active", self.activate, self.while_active)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by the state machine."""
        return self._leave("inactive", self.while_active)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by the state machine."""
        return self._leave("unconfigured", self.while_configured)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by the state machine."""
        self._unwind(self.while_active)
        return self._leave("finalized", self.while_configured)

    def on_callback_error(self, error: Exception) -> None:
        """Deactivate after an exception in a callback, but stay alive to report the reason."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.get_logger().error(printable(text))
        if self.stage == "active":
            self.trigger_deactivate()
        self.failure = printable(f"stopped by {type(error).__name__}: {error}")
        self.diagnostics.publish()

    def destroy_node(self) -> None:
        """Unwind everything, in order, then destroy the node."""
        self._unwind(self.while_active)
        self._unwind(self.while_configured)
        self.diagnostics.close()
        super().destroy_node()

    def _enter(self, stage: str, prepare: Callable[[], None], stack: ExitStack) -> TransitionCallbackReturn:
        try:
            prepare()
        except Exception as error:
            # The state machine would swallow the exception; a refusal needs no traceback.
            self._unwind(stack)
            self._is_refusal = isinstance(error, USER_ERRORS)
            self.failure = f"cannot become {stage}: {message_of(error)}"
            self.get_logger().error(self.failure if self._is_refusal else printable(traceback.format_exc()))
            self.diagnostics.publish()
            return TransitionCallbackReturn.FAILURE
        self.failure = ""
        self.stage = stage
        self.diagnostics.publish()
        return TransitionCallbackReturn.SUCCESS

    def _leave(self, stage: str, stack: ExitStack) -> TransitionCallbackReturn:
        self._unwind(stack)
        self.stage = stage
        self.diagnostics.publish()
        return TransitionCallbackReturn.SUCCESS

    def _unwind(self, stack: ExitStack) -> None:
        try:
            stack.close()
        except Exception:
            # The rest of the stack has been unwound anyway.
            self.get_logger().error(traceback.format_exc())

    def _report(self, report: Report) -> None:
        report.state = self.stage
        if self.failure:
            report.error(self.failure)
        self.report(report)
