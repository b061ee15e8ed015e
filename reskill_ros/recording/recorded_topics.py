"""Messages of a bag that a replay needs: observations with their images, and the actions in response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from reskill_core.errors import DataError
from reskill_core.spec import ImageFeature
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.interfaces import same_definition
from reskill_ros.plumbing.topics import observed_image
from reskill_ros.recording.bag import BagChannel, BagReader
from reskill_ros.recording.recorded_values import frame

OBSERVATION, ACTION = "observation", "skill_action"


@dataclass(frozen=True)
class Heard:
    """Message of a bag.

    Attributes:
        place: its number among all messages that were read.
        stamp_ns: stamp of its header [ns].
        data: serialised message; of an image the compressed frame.
        message: deserialised message; of an image the compressed frame.
    """

    place: int
    stamp_ns: int
    data: bytes
    message: Any


@dataclass
class HeardTopics:
    """Messages in the order of the bag.

    Attributes:
        observations: observations.
        answers: actions in response to them.
        images: frames of the observations, by image feature.
        faults: messages that could not be read, with reasons.
    """

    observations: list[Heard] = field(default_factory=list)
    answers: list[Heard] = field(default_factory=list)
    images: dict[str, list[Heard]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Topic:
    """Topic to read: message type, how to convert a message to what is kept of it, and where to keep it."""

    kind: Any
    into: list[Heard]
    convert: Callable[[Any], Any] | None = None

    @property
    def type_name(self) -> str:
        """Name of the message type."""
        package, *_ = self.kind.__module__.split(".")
        return f"{package}/msg/{self.kind.__name__}"

    def heard(self, place: int, data: bytes) -> Heard:
        """Deserialise a message; raises whatever the middleware or the conversion raises."""
        message = deserialize_message(data, self.kind)
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if self.convert is None:
            return Heard(place, stamp_ns, data, message)
        kept = self.convert(message)
        return Heard(place, stamp_ns, kept, kept)


def read_topics(bag: Path, namespace: str = "", images: Sequence[ImageFeature] = ()) -> HeardTopics:
    """Read the observations, their images and the responses of one graph.

    Args:
        bag: folder or MCAP file.
        namespace: namespace of the recorded graph; empty: the only one in the bag.
        images: image features of the observations to read.

    Raises:
        DataError: the bag has no such messages, or of several graphs.
    """
    reader = BagReader(bag)
    channels = reader.channels()
    if not channels:
        raise DataError("\n  - ".join([f"{bag} holds no messages", *reader.faults]))
    found = HeardTopics(images={feature.name: [] for feature in images})
    wanted = {OBSERVATION: _Topic(Observation, found.observations), ACTION: _Topic(SkillAction, found.answers)}
    topics = {_only(channels, name, topic, namespace, bag): topic for name, topic in wanted.items()}
    [observed] = [name for name, topic in topics.items() if topic.kind is Observation]
    for feature in images:
        name = observed.removesuffix(OBSERVATION) + observed_image(feature.name)
        if not any(channel.topic == name for channel in channels):
            raise DataError(f"{bag} has no images on {name}, which the task observes: they were not recorded")
        topics[name] = _Topic(Image, found.images[feature.name], partial(frame, feature))
    foreign = {channel: _foreign(channel, topics[channel.topic]) for channel in channels if channel.topic in topics}
    left_out: Counter[str] = Counter()
    for place, message in enumerate(reader.messages(topics)):
        topic = topics[message.topic]
        fault = foreign[message.channel]
        if not fault:
            try:
                topic.into.append(topic.heard(place, message.data))
                continue
            except Exception as error:  # rclpy raises what the middleware says, as several types
                fault = f"cannot be read: {error}"
        left_out[f"messages on {message.topic} {fault}"] += 1
    found.faults = reader.faults + [f"{count} {what}" for what, count in left_out.items()]
    if not found.observations:
        raise DataError("\n  - ".join([f"{bag} holds no observations that can be read", *found.faults]))
    return found


def _only(channels: set[BagChannel], name: str, topic: _Topic, namespace: str, bag: Path) -> str:
    """The only topic of a name."""
    if namespace:
        wanted = f"/{namespace.strip('/')}/{name}".replace("//", "/")
        candidates = {channel.topic for channel in channels if channel.topic == wanted}
    else:
        of_type = [channel.topic for channel in channels if channel.type_name == topic.type_name]
        candidates = {found for found in of_type if found.endswith(f"/{name}")}
    if len(candidates) == 1:
        return candidates.pop()
    found = ", ".join(sorted(candidates or {f"{channel.topic} ({channel.type_name})" for channel in channels}))
    if candidates:
        raise DataError(f"{bag} holds several graphs ({found}); choose one by its namespace")
    raise DataError(f"{bag} has no messages of {topic.type_name} on {namespace or '…'}/{name}; it has {found}")


def _foreign(channel: BagChannel, topic: _Topic) -> str:
    """Why the messages of a channel are of another type than expected; empty if they are not."""
    if channel.type_name != topic.type_name:
        return f"are of type {channel.type_name or 'unknown'}, not {topic.type_name}"
    if channel.encoding != "cdr":
        return f"are encoded as {channel.encoding!r}, not cdr"
    # Some recorders embed none.
    if channel.definition and not same_definition(topic.type_name, channel.definition):
        return f"are of another definition of {topic.type_name} than the one installed here"
    return ""
