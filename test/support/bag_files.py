"""The files of bags, to be read and written by hand."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from mcap.writer import Writer

from reskill_ros.recording.bag import BagChannel, BagMessage, BagReader
from reskill_ros.recording.mcap_records import MAGIC


def file_of(bag: Path) -> Path:
    (file,) = bag.glob("*.mcap")
    return file


def write(folder: Path, messages: Iterator[BagMessage] | list[BagMessage], library: str = "another recorder") -> Path:
    """Another bag with these messages, as another program would write it."""
    folder.mkdir()
    with (folder / "bag_0.mcap").open("wb") as stream:
        writer = Writer(stream, chunk_size=4096)
        writer.start("ros2", library)
        channels: dict[BagChannel, int] = {}
        for message in messages:
            channel = message.channel
            if channel not in channels:
                schema = writer.register_schema(channel.type_name, "ros2msg", channel.definition.encode())
                channels[channel] = writer.register_channel(channel.topic, channel.encoding, schema)
            writer.add_message(channels[channel], message.time_ns, message.data, message.time_ns)
        writer.finish()
    return folder


def chunks(content: bytes) -> list[tuple[int, int]]:
    """Start and end of each chunk in a file."""
    found, position = [], len(MAGIC)
    while position < len(content) - len(MAGIC):
        opcode, length = struct.unpack_from("<BQ", content, position)
        end = position + 9 + length
        if opcode == 6:
            found.append((position, end))
        position = end
    return found


def leave_out_answers(bag: Path) -> None:
    messages = list(BagReader(bag).messages())
    answers = [message for message in messages if message.topic == "/skill_action"]
    shutil.rmtree(bag)
    write(bag, [message for message in messages if message not in answers[20:24]])
