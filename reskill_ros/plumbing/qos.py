"""Named quality-of-service profiles: the only place with queue depths and reliability."""

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


# Subscriptions to a driver: a best-effort reader matches reliable and best-effort publishers alike, and a late
# sensor message is worthless anyway.
SENSOR = _profile(ReliabilityPolicy.BEST_EFFORT, 5, DurabilityPolicy.VOLATILE)

# Publishers of states and results, and readers that need each of them in order: nothing is lost on the way.
STATE = _profile(ReliabilityPolicy.RELIABLE, 10, DurabilityPolicy.VOLATILE)

# Publishers of what recorders write down: in real time nothing is repeated, and a recorder that a busy machine does
# not let run for seconds still finds all of it.
RECORDED = _profile(ReliabilityPolicy.RELIABLE, 250, DurabilityPolicy.VOLATILE)

# Readers that act on the newest message only: after a stall there is no backlog to rush through.
NEWEST = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.VOLATILE)

# Commands to a driver: each must arrive, but an old one must not queue behind a new one.
COMMAND = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.VOLATILE)

# Status that a late joiner needs at once: the last message is kept for it.
LATCHED = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.TRANSIENT_LOCAL)

# Beside one of the others: what publishers keep for late joiners, which only a reader that asks for it is given.
KEPT = _profile(ReliabilityPolicy.RELIABLE, 10, DurabilityPolicy.TRANSIENT_LOCAL)

# Readers that write everything down: deep enough to ride out a slow disk.
RECORD = _profile(ReliabilityPolicy.RELIABLE, 1000, DurabilityPolicy.VOLATILE)

# Simulated time: only the newest matters; rclpy itself subscribes to it with best effort.
CLOCK = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.VOLATILE)

# Together they hear every publisher, each as well as it can be heard: whatever it offers, and what it kept.
EVERY_PUBLISHER = (SENSOR, STATE, KEPT)


def mismatch(publisher: QoSProfile, subscription: QoSProfile) -> str:
    """Why a subscription does not hear a publisher, as the policies that do not fit; empty if it does."""
    compatible, reason = qos_check_compatible(_without_infinity(publisher), _without_infinity(subscription))
    return reason.removeprefix("ERROR: ").rstrip("; ") if compatible == QoSCompatibility.ERROR else ""


def _without_infinity(profile: QoSProfile) -> QoSProfile:
    """What graph information calls an infinite duration is none at all where profiles are compared."""

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
    """:data:`RECORD`, lowered to what all publishers of a topic offer; none of them is missed then."""

    def all_offer(name: str, policy: object) -> bool:
        return all(getattr(publisher.qos_profile, name) == policy for publisher in publishers)

    reliable = all_offer("reliability", ReliabilityPolicy.RELIABLE)
    latched = all_offer("durability", DurabilityPolicy.TRANSIENT_LOCAL)
    return _profile(
        ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        RECORD.depth,
        DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
