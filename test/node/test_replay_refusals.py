"""Replay refuses what cannot be compared at all, with the reason, and its exit codes tell what became of the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import zstandard
from bag_files import chunks, file_of, leave_out_answers, write
from graph_runs import GraphProcess, run_graph
from mcap.data_stream import RecordBuilder
from mcap.records import Chunk
from rclpy.serialization import deserialize_message, serialize_message

from reskill_core.errors import DataError
from reskill_core.spec import ImageFeature
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.recording.bag import BagMessage, BagReader
from reskill_ros.recording.replay_comparison import Comparison, Recording, Verdict, load_recorded


@dataclass(frozen=True)
class Refusal:
    make: Callable[[Path], None]
    words: str


def remove_answers(bag: Path) -> None:
    messages = list(BagReader(bag).messages())
    shutil.rmtree(bag)
    channel = next(message.channel for message in messages if message.topic == "/skill_action")
    late = SkillAction()
    late.header.stamp.sec = 10**9
    kept = [message for message in messages if message.topic != "/skill_action"]
    write(bag, [*kept, BagMessage(channel, 0, bytes(serialize_message(late)))])


def redefine(bag: Path) -> None:
    """A field more, as another version of the package may have."""
    messages = list(BagReader(bag).messages())
    shutil.rmtree(bag)
    own = "reskill_ros/msg/Observation"
    write(
        bag,
        [
            replace(
                m, channel=replace(m.channel, definition=m.channel.definition.replace("string task", "string task2"))
            )
            if m.type_name == own
            else m
            for m in messages
        ],
    )


def other_layout(bag: Path) -> None:
    messages = list(BagReader(bag).messages())
    shutil.rmtree(bag)
    shorter = []
    for message in messages:
        if message.topic == "/observation":
            observation = deserialize_message(message.data, Observation)
            observation.values = observation.values[:-1]
            message = replace(message, data=bytes(serialize_message(observation)))
        shorter.append(message)
    write(bag, shorter)


def make_empty(bag: Path) -> None:
    file_of(bag).write_bytes(b"")


def only_a_header(bag: Path) -> None:
    shutil.rmtree(bag)
    write(bag, [])


def no_file(bag: Path) -> None:
    file_of(bag).unlink()


def sqlite(bag: Path) -> None:
    file_of(bag).rename(bag / "bag_0.db3")


def sqlite_inside(bag: Path) -> None:
    file_of(bag).write_bytes(b"SQLite format 3\0" + bytes(100))


def compressed_file(bag: Path) -> None:
    file = file_of(bag)
    file.write_bytes(zstandard.compress(file.read_bytes()))


def compressed_messages(bag: Path) -> None:
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("compression_mode: ''", "compression_mode: MESSAGE"))


def damaged_metadata(bag: Path) -> None:
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [")


def huge_chunk(bag: Path) -> None:
    """It says that it unpacks to a terabyte."""
    put_chunk(bag, Chunk("zstd", zstandard.compress(bytes(1000)), 0, 0, 0, 2**40))


def bomb(bag: Path) -> None:
    """It unpacks to a gigabyte, and says that it is a kilobyte."""
    put_chunk(bag, Chunk("zstd", zstandard.compress(bytes(2**30)), 0, 0, 0, 1000))


def put_chunk(bag: Path, chunk: Chunk) -> None:
    builder = RecordBuilder()
    chunk.write(builder)
    (bag / "metadata.yaml").unlink()
    file = file_of(bag)
    content = file.read_bytes()
    start = chunks(content)[0][0]
    file.write_bytes(content[:start] + builder.end() + content[start:])


REFUSALS = [
    Refusal(remove_answers, "observations have no answer in the bag"),
    Refusal(redefine, "are of another definition of reskill_ros/msg/Observation than the one installed here"),
    Refusal(other_layout, "observations are not of task block as the policy knows it: wrong size"),
    Refusal(make_empty, "is empty"),
    Refusal(only_a_header, "holds no messages"),
    Refusal(no_file, "holds no MCAP file .found: metadata.yaml.; .* `ros2 bag convert"),
    Refusal(sqlite, "found: bag_0.db3, metadata.yaml.; .* `ros2 bag convert"),
    Refusal(sqlite_inside, "SQLite storage; convert it to MCAP with `ros2 bag convert`"),
    Refusal(compressed_file, "compressed as a whole; unpack it with `zstd -d`"),
    Refusal(compressed_messages, "is compressed .mode MESSAGE.; convert it with `ros2 bag convert"),
    Refusal(damaged_metadata, "metadata.yaml is damaged"),
    Refusal(huge_chunk, "says it has 1099511627776 bytes"),
    Refusal(bomb, "cannot be unpacked: it has not the size it says it has"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.make.__name__)
def test_what_cannot_be_compared_is_refused_with_the_reason(bag: Path, refusal: Refusal) -> None:
    refusal.make(bag)
    with pytest.raises(DataError, match=refusal.words):
        load_recorded(bag, task=task_spec("block"))


def test_a_bag_of_another_task_is_refused_at_once(bag: Path) -> None:
    with pytest.raises(DataError, match="observations are not of task hook as the policy knows it: other task"):
        load_recorded(bag, task=task_spec("hook"))


def test_a_policy_that_sees_pictures_is_not_asked_without_them(bag: Path) -> None:
    task = task_spec("block")
    seeing = replace(task, obs=replace(task.obs, images=(ImageFeature("view", 4, 4),)))
    with pytest.raises(DataError, match="has no images on /observation/images/view"):
        load_recorded(bag, task=seeing)


def test_a_pipe_is_not_waited_for(bag: Path) -> None:
    file_of(bag).unlink()
    os.mkfifo(bag / "bag_0.mcap")
    with pytest.raises(DataError, match="not a regular file"):
        load_recorded(bag)


def test_exit_codes_of_the_command(bag: Path, skills: Path, tmp_path: Path) -> None:
    """Also for a graph in a namespace, chosen by it."""
    run_graph("replay", tmp_path, bag=bag, skills=skills, recorded_namespace="/")
    leave_out_answers(bag)
    incomplete = GraphProcess("replay", tmp_path, bag=bag, skills=skills)
    assert incomplete.wait() == 3
    assert "4 observations have no answer in the bag" in incomplete.output
    make_empty(bag)
    refused = GraphProcess("replay", tmp_path, bag=bag, skills=skills)
    assert refused.wait() == 2
    assert "is empty" in refused.output


def test_a_verdict_by_hand() -> None:
    recording = Recording(observations=2, answers=2, runs=1)
    comparison = Comparison(0.0)
    assert Verdict(recording, comparison, []).exit_code == 3
    comparison.add(1, SkillAction(action=[0.5]), SkillAction(action=[0.5]))
    assert Verdict(recording, comparison, []).exit_code == 3
    comparison.add(2, SkillAction(action=[0.5]), SkillAction(action=[0.5]))
    assert Verdict(recording, comparison, []).exit_code == 0
    assert Verdict(recording, comparison, ["torn"]).exit_code == 3
    comparison.add(3, SkillAction(action=[0.5]), SkillAction(action=[0.75]))
    assert Verdict(recording, comparison, ["torn"]).exit_code == 1
