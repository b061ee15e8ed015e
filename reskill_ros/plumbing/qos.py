"""Named quality-of-service profiles; queue depths and reliability are set only here."""

from collections.abc import Sequence

from rclpy.duration import Duration, Infinite
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo


def _profile(reliability: ReliabilityPolicy, depth: int, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


# Subscriptions to a driver: a best-effort reader matches reliable and best-effort publishers, and late sensor
# messages need no retransmission.
SENSOR = _profile(ReliabilityPolicy.BEST_EFFORT, 5, DurabilityPolicy.VOLATILE)

# Publishers of states and results, and readers that need every message in order.
STATE = _profile(ReliabilityPolicy.RELIABLE, 10, DurabilityPolicy.VOLATILE)

# Publishers of recorded topics: deep enough for a recorder that is not scheduled for seconds in real time.
RECORDED = _profile(ReliabilityPolicy.RELIABLE, 250, DurabilityPolicy.VOLATILE)

# Readers that act on the newest message only: no backlog after a stall.
NEWEST = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.VOLATILE)

# Commands to a driver: reliable, and without a queue of old commands.
COMMAND = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.VOLATILE)

# Status for late joiners: the last message is kept.
LATCHED = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.TRANSIENT_LOCAL)

# Additional subscription for messages kept for late joiners; only a transient-local reader receives them.
KEPT = _profile(ReliabilityPolicy.RELIABLE, 10, DurabilityPolicy.TRANSIENT_LOCAL)

# Transforms of tf: many publishers share the topic, each with messages of its own. Best effort, as SENSOR.
TRANSFORMS = _profile(ReliabilityPolicy.BEST_EFFORT, 100, DurabilityPolicy.VOLATILE)

# Static transforms of tf: each of many publishers keeps its message for late joiners.
STATIC_TRANSFORMS = _profile(ReliabilityPolicy.RELIABLE, 100, DurabilityPolicy.TRANSIENT_LOCAL)

# Readers that record every message: deep enough for a slow disk.
RECORD = _profile(ReliabilityPolicy.RELIABLE, 1000, DurabilityPolicy.VOLATILE)

# Simulated time: only the newest message is needed; rclpy itself subscribes with best effort.
CLOCK = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.VOLATILE)

# Together these receive from every publisher, with the best QoS that it offers, including kept messages.
EVERY_PUBLISHER = (SENSOR, STATE, KEPT)


def mismatch(publisher: QoSProfile, subscription: QoSProfile) -> str:
    """Describe the incompatible policies of a publisher and a subscription; empty if they are compatible."""
    compatible, reason = qos_check_compatible(_without_infinity(publisher), _without_infinity(subscription))
    return reason.removeprefix("ERROR: ").rstrip("; ") if compatible == QoSCompatibility.ERROR else ""


def _without_infinity(profile: QoSProfile) -> QoSProfile:
    """Replace the infinite durations of graph information by unset ones, as the comparison of profiles expects."""

    def finite(duration: Duration) -> Duration:
        return Duration() if duration == Infinite else duration

    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=profile.reliability,
        durability=profile.durability,
        liveliness=profile.liveliness,
        deadline=finite(profile.deadline),
        liveliness_lease_duration=finite(profile.liveliness_lease_duration),
    )


def matching(publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """Reduce :data:`RECORD` to what all publishers of a topic offer, so that it is compatible with all of them."""

    def all_offer(name: str, policy: object) -> bool:
        return all(getattr(publisher.qos_profile, name) == policy for publisher in publishers)

    reliable = all_offer("reliability", ReliabilityPolicy.RELIABLE)
    latched = all_offer("durability", DurabilityPolicy.TRANSIENT_LOCAL)
    return _profile(
        ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        RECORD.depth,
        DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
