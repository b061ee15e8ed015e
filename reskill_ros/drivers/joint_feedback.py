"""Measured positions of the joints that an adapter commands."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import JointState

from reskill_core.arrays import Float64Array
from reskill_core.errors import SpecError
from reskill_core.sensing import MessageError
from reskill_ros.drivers.adapters.base import Adapter
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import now_ns

_NS = 1e9
_MOST_NAMED = 3


class JointFeedback:
    """Newest measured position of each joint, from one topic or several publishers on it.

    Args:
        adapter: adapter that needs them; it counts refused messages.
        joints: names of the joints, as of the observation or the kinematic model; the driver's names are by
            ``sensing.joints``.

    Raises:
        SpecError: the adapter has no subscriptions.
    """

    def __init__(self, adapter: Adapter, joints: Sequence[str]) -> None:
        channel = adapter.channel
        if channel.inputs is None:
            raise SpecError("commands of joints need the driver's joint states")
        self._adapter, self._node, self._sensing = adapter, channel.node, channel.sensing
        self.sources = [channel.sensing.joint(name) for name in joints]
        # Position, time of measurement [ns] and of reception, on a steady clock [s].
        self._newest: dict[str, tuple[float, int, float]] = {}
        channel.inputs.listen(JointState, channel.joint_states, self._on_joints, qos.SENSOR)

    def missing(self, steady_s: float) -> str:
        """Return the joints without a fresh position, for messages; empty if there are none."""
        stale = [source.name for source in self.sources if not self._is_fresh(source.name, steady_s)]
        if not stale:
            return ""
        more = f" and {len(stale) - _MOST_NAMED} more" if len(stale) > _MOST_NAMED else ""
        return f"fresh joint states of {', '.join(stale[:_MOST_NAMED])}{more}"

    def positions(self) -> Float64Array:
        """(J,) newest measured positions, in units of the observation [m or rad]; NaN for joints never measured."""
        nothing = (float("nan"), 0, 0.0)
        values = [source.to_observation(self._newest.get(source.name, nothing)[0]) for source in self.sources]
        return np.array(values)

    def forget(self) -> None:
        """Forget all positions, as after a clock jump."""
        self._newest.clear()

    def _is_fresh(self, name: str, steady_s: float) -> bool:
        if name not in self._newest:
            return False
        _, stamp_ns, received_s = self._newest[name]
        age_s = max(steady_s - received_s, (now_ns(self._node) - stamp_ns) / _NS)
        return age_s <= self._sensing.timeout_s

    def _on_joints(self, message: JointState) -> None:
        try:
            positions = convert.joint_positions(message)
            stamp_ns = self._stamp_ns(message)
        except MessageError as error:
            self._adapter.counters[f"refused_joints_{error.reason}"] += 1
            return
        received_s = time.monotonic()
        for source in self.sources:
            if source.name in positions:
                self._newest[source.name] = positions[source.name], stamp_ns, received_s

    def _stamp_ns(self, message: JointState) -> int:
        """Time of measurement, checked like those of observations."""
        stamp_ns, time_ns = convert.stamp_to_ns(message.header.stamp), now_ns(self._node)
        if stamp_ns == 0 and self._sensing.zero_stamp == "receive_time":
            return time_ns
        if stamp_ns == 0 and time_ns != 0:
            raise MessageError("zero_stamp", "zero stamp")
        if (stamp_ns - time_ns) / _NS > self._sensing.future_tolerance_s:
            raise MessageError("future", "stamp in the future")
        if any(stamp_ns < self._newest[name][1] for name in message.name if name in self._newest):
            raise MessageError("reordered", "older than what came before")
        return stamp_ns
