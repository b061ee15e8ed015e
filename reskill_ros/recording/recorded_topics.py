"""The observations and answers in a bag, as far as they are what they say they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message

from reskill_core.errors import DataError
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.interfaces import same_definition
from reskill_ros.recording.bag import BagChannel, BagReader

_TYPES: dict[str, Any] = {"observation": Observation, "skill_action": SkillAction}


@dataclass(frozen=True)
class Heard:
    """A message in a bag.

    Attributes:
        place: its number among all that were read.
        stamp_ns: stamp of its header [ns].
        data: as it was serialised.
        message: what it says.
    """

    place: int
    stamp_ns: int
    data: bytes
    message: Any


@dataclass
class HeardTopics:
    """Observations and answers in the order of the bag, and what of it could not be read."""

    observations: list[Heard] = field(default_factory=list)
    answers: list[Heard] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_topics(bag: Path, namespace: str = "") -> HeardTopics:
    """Read the observations and answers of one graph.

    Args:
        bag: folder or MCAP file.
        namespace: namespace of the recorded graph; empty: the only one in the bag.

    Raises:
        DataError: the bag has no such messages, or of several graphs.
    """
    reader = BagReader(bag)
    channels = reader.channels()
    if not channels:
        raise DataError("\n  - ".join([f"{bag} holds no messages", *reader.faults]))
    topics = {_only(channels, name, namespace, bag): name for name in _TYPES}
    foreign = {channel: _foreign(channel, topics[channel.topic]) for channel in channels if channel.topic in topics}
    found = HeardTopics()
    into = {"observation": found.observations, "skill_action": found.answers}
    left_out: Counter[str] = Counter()
    for place, message in enumerate(reader.messages(topics)):
        name = topics[message.topic]
        fault = foreign[message.channel]
        if not fault:
            try:
                content = deserialize_message(message.data, _TYPES[name])
                heard = Heard(place, convert.stamp_to_ns(content.header.stamp), message.data, content)
                into[name].append(heard)
                continue
            except Exception as error:  # rclpy raises what the middleware says, as several types
                fault = f"cannot be read: {error}"
        left_out[f"messages on {message.topic} {fault}"] += 1
    found.faults = reader.faults + [f"{count} {what}" for what, count in left_out.items()]
    if not found.observations:
        raise DataError("\n  - ".join([f"{bag} holds no observations that can be read", *found.faults]))
    return found


def _only(channels: set[BagChannel], name: str, namespace: str, bag: Path) -> str:
    """The topic of that name."""
    type_name = f"reskill_ros/msg/{_TYPES[name].__name__}"
    if namespace:
        wanted = f"/{namespace.strip('/')}/{name}".replace("//", "/")
        candidates = {channel.topic for channel in channels if channel.topic == wanted}
    else:
        of_type = [channel.topic for channel in channels if channel.type_name == type_name]
        candidates = {topic for topic in of_type if topic.endswith(f"/{name}")}
    if len(candidates) == 1:
        return candidates.pop()
    found = ", ".join(sorted(candidates or {f"{channel.topic} ({channel.type_name})" for channel in channels}))
    if candidates:
        raise DataError(f"{bag} holds several graphs ({found}); choose one by its namespace")
    raise DataError(f"{bag} has no messages of {type_name} on {namespace or '…'}/{name}; it has {found}")


def _foreign(channel: BagChannel, name: str) -> str:
    """Why messages are not what this package understands by them; empty if they are."""
    type_name = f"reskill_ros/msg/{_TYPES[name].__name__}"
    if channel.type_name != type_name:
        return f"are of type {channel.type_name or 'unknown'}, not {type_name}"
    if channel.encoding != "cdr":
        return f"are encoded as {channel.encoding!r}, not cdr"
    # Some recorders embed none.
    if channel.definition and not same_definition(type_name, channel.definition):
        return f"are of another definition of {type_name} than the one installed here"
    return ""
