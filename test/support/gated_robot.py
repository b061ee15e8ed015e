"""A gate with clocks of its own, for tests that write their times out."""

from __future__ import annotations

from reskill_core.gate import Decision, Gate, GateConfig, GateState
from reskill_core.spec import ActionSpec

PERIOD_S = 0.04
QUIET = GateConfig(command_timeout_s=0.12, resume_after=1, abort_after_clamped=0)


class Robot:
    """A gate with clocks: the steady one and the ROS clock run together unless told otherwise."""

    def __init__(
        self,
        config: GateConfig = QUIET,
        armed: bool = True,
        actions: ActionSpec | None = None,
        needs_position: bool = False,
    ) -> None:
        self.gate = Gate(config, actions or ActionSpec(), PERIOD_S, needs_position)
        self.time_s = 100.0
        if armed:
            self.gate.arm(self.time_s)

    def offer(self, *action: float, age_s: float = 0.0, after_s: float = PERIOD_S) -> Decision:
        """Offer a command ``after_s`` later, in answer to an observation ``age_s`` old."""
        self.time_s += after_s
        return self.gate.offer(action, round((self.time_s - age_s) * 1e9), self.time_s, round(self.time_s * 1e9))

    def watch(self, after_s: float) -> bool:
        self.time_s += after_s
        return self.gate.watch(self.time_s, round(self.time_s * 1e9))

    def state(self) -> GateState:
        return self.gate.state

    @property
    def refused(self) -> dict[str, int]:
        prefix = "refused_"
        return {key[len(prefix) :]: n for key, n in self.gate.counters.items() if key.startswith(prefix)}


def executed(decision: Decision) -> list[float]:
    assert decision.action is not None, decision.reason
    return list(decision.action)
