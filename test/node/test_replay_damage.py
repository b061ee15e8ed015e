"""Replay says plainly what a bag holds and what it lacks: copies of one real bag, damaged in every way."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bag_files import chunks, file_of, leave_out_answers, write
from rclpy.serialization import deserialize_message, serialize_message
from ros_graph import MakeGraph
from std_msgs.msg import String

from reskill_core.errors import DataError
from reskill_ros.msg import SkillAction
from reskill_ros.nodes.policy_node import PolicyNode
from reskill_ros.nodes.replay_node import ReplayNode
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.interfaces import message_definition
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.recording.bag import BagChannel, BagMessage, BagReader
from reskill_ros.recording.replay_comparison import load_recorded

EPISODES = 2


def replay(make_graph: MakeGraph, bag: Path, skills: Path, **parameters: object) -> int:
    """Run the replay graph to its end."""
    graph = make_graph(
        replay_node={"bag": str(bag), "skills": str(skills), **parameters},
        policy_node={"skills": str(skills), "use_sim_time": True},
    )
    node = graph.add(ReplayNode())
    graph.add(PolicyNode())
    graph.spin_until(node.done.done, "the end of the replay", timeout_s=60.0)
    result = node.done.result()
    assert result is not None
    return result


# ---------------------------------------------------------------------- what is whole


def test_a_whole_bag_is_compared_whole(
    make_graph: MakeGraph, bag: Path, skills: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = load_recorded(bag, task=task_spec("block"))
    assert (recording.runs, recording.faults, recording.notes) == (1, [], [])
    assert len(recording.items) == recording.answers == recording.observations > EPISODES
    assert replay(make_graph, bag, skills) == 0
    assert f"EQUAL: {recording.answers} of {recording.answers} recorded answers compared" in capsys.readouterr().out


def test_what_another_recorder_wrote_is_compared_as_well(make_graph: MakeGraph, bag: Path, skills: Path) -> None:
    assert replay(make_graph, write(bag.with_name("other"), BagReader(bag).messages()), skills) == 0


def test_two_runs_with_equal_stamps_are_both_compared(
    make_graph: MakeGraph, bag: Path, skills: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The simulator was started anew, with the same seeds; in the second run somebody answered otherwise."""
    once = list(BagReader(bag).messages())
    count = load_recorded(bag).answers
    twice = write(bag.with_name("twice"), once + once)
    recording = load_recorded(twice)
    assert (recording.runs, recording.answers, len(recording.items), recording.faults) == (2, 2 * count, 2 * count, [])
    stamps = [convert.stamp_to_ns(item.observation.header.stamp) for item in recording.items]
    assert stamps == sorted(set(stamps))
    assert replay(make_graph, twice, skills) == 0
    assert f"EQUAL: {2 * count} of {2 * count}" in capsys.readouterr().out


def test_a_second_run_that_was_answered_otherwise_differs(make_graph: MakeGraph, bag: Path, skills: Path) -> None:
    once = list(BagReader(bag).messages())
    second = [changed(message, action_offset=0.01) for message in once]
    assert replay(make_graph, write(bag.with_name("twice"), once + second), skills) == 1


def changed(message: BagMessage, action_offset: float) -> BagMessage:
    if message.topic != "/skill_action":
        return message
    answer = deserialize_message(message.data, SkillAction)
    answer.action = [value + action_offset for value in answer.action]
    return replace(message, data=bytes(serialize_message(answer)))


# ---------------------------------------------------------------------- what is not


def tear(bag: Path) -> None:
    file = file_of(bag)
    file.write_bytes(file.read_bytes()[: int(0.6 * file.stat().st_size)])


def kill_recorder(bag: Path) -> None:
    """Its last chunk, index and metadata were never written."""
    tear(bag)
    (bag / "metadata.yaml").unlink()


def cut_out_a_chunk(bag: Path) -> None:
    file = file_of(bag)
    content = file.read_bytes()
    found = chunks(content)
    start, end = found[len(found) // 2]
    file.write_bytes(content[:start] + content[end:])


def cut_out_a_chunk_of_a_bag_without_checksum(bag: Path) -> None:
    """As bags were written before they had one: counts in the summary tell."""
    messages = list(BagReader(bag).messages())
    shutil.rmtree(bag)
    cut_out_a_chunk(write(bag, messages))


def flip_a_bit(bag: Path) -> None:
    file = file_of(bag)
    content = bytearray(file.read_bytes())
    start, end = chunks(bytes(content))[-3]
    content[(start + end) // 2] ^= 4
    file.write_bytes(content)


def leave_out_messages(bag: Path) -> None:
    """By a program that writes them anew; what the recorder counted stays beside it."""
    messages = [message for place, message in enumerate(BagReader(bag).messages()) if not 200 < place < 240]
    (bag / "metadata.yaml").rename(bag.with_name("metadata.yaml"))
    shutil.rmtree(bag)
    write(bag, messages)
    bag.with_name("metadata.yaml").rename(bag / "metadata.yaml")


def leave_out_observations(bag: Path) -> None:
    messages = list(BagReader(bag).messages())
    observations = [message for message in messages if message.topic == "/observation"]
    shutil.rmtree(bag)
    write(bag, [message for message in messages if message not in observations[20:24]])


def answer_twice(bag: Path) -> None:
    messages = list(BagReader(bag).messages())
    shutil.rmtree(bag)
    write(bag, [other for message in messages for other in (message, changed(message, 0.25))])


def put_in_another_type(bag: Path) -> None:
    messages = list(BagReader(bag).messages())
    channel = BagChannel("/observation", "std_msgs/msg/String", "cdr", message_definition("std_msgs/msg/String"))
    shutil.rmtree(bag)
    write(bag, [*messages, BagMessage(channel, 0, bytes(serialize_message(String(data="hello"))))])


def put_in_garbage(bag: Path) -> None:
    messages = list(BagReader(bag).messages())
    channel = next(message.channel for message in messages if message.topic == "/observation")
    shutil.rmtree(bag)
    write(bag, [*messages, BagMessage(channel, 0, b"\x00\x01\x00\x00" + b"\xff" * 40)])


def lose_a_file(bag: Path) -> None:
    """Of a bag that was split into several."""
    text = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(text.replace("- bag_0.mcap", "- bag_0.mcap\n  - bag_1.mcap", 1))


DAMAGES: list[tuple[Callable[[Path], None], list[str]]] = [
    (tear, ["it ends in the middle of a record, at byte", "messages of /observation were written"]),
    (kill_recorder, ["it ends in the middle of a record, at byte"]),
    (
        cut_out_a_chunk,
        ["the checksum of all of them does not fit", "messages of /skill_action are missing between others"],
    ),
    (cut_out_a_chunk_of_a_bag_without_checksum, ["messages of /observation were written", "are there"]),
    (flip_a_bit, ["the chunk at byte", "messages of /observation were written"]),
    (leave_out_messages, ["messages of /observation were written"]),
    (leave_out_answers, ["4 observations have no answer in the bag", "answers follow a gap in their episode"]),
    (leave_out_observations, ["4 answers belong to no observation in the bag", "answers follow a gap"]),
    (answer_twice, ["answers differ from another one to the same observation"]),
    (put_in_another_type, ["1 messages on /observation are of type std_msgs/msg/String"]),
    (put_in_garbage, ["1 messages on /observation cannot be read"]),
    (lose_a_file, ["bag_1.mcap is missing"]),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_damage_is_named_and_ends_in_another_exit_code(
    make_graph: MakeGraph,
    bag: Path,
    skills: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    """What can be compared is compared, and equal."""
    damage(bag)
    recording = load_recorded(bag, task=task_spec("block"))
    assert 0 < len(recording.items) <= recording.answers
    assert replay(make_graph, bag, skills) == 3
    printed = capsys.readouterr().out
    for text in words:
        assert text in printed
    assert f"{len(recording.items)} answers compared, tolerance 0: equal" in printed
    assert f"INCOMPLETE: {len(recording.items)} of {recording.answers} answers that can be read" in printed
    # What nobody compares is not told, whatever is missing of it.
    assert "/joint_states" not in printed


def test_no_flipped_bit_goes_unnoticed(bag: Path) -> None:
    """Anywhere in the file, the index included."""
    file = file_of(bag)
    whole = file.read_bytes()
    count = len(load_recorded(bag).items)
    places = random.Random(0)
    for _ in range(60):
        content = bytearray(whole)
        content[places.randrange(len(content))] ^= 1 << places.randrange(8)
        file.write_bytes(content)
        try:
            recording = load_recorded(bag)
        except DataError:
            continue
        assert recording.faults
        assert len(recording.items) <= count


def test_the_last_answer_may_be_missing_where_recording_ended_first(
    make_graph: MakeGraph, bag: Path, skills: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = list(BagReader(bag).messages())
    stamps = {item.stamp_ns for item in load_recorded(bag).items}
    last = max(stamps)
    kept = [
        message
        for message in messages
        if message.topic != "/skill_action" or convert.serialised_stamp_ns(message.data) != last
    ]
    assert replay(make_graph, write(bag.with_name("ended"), kept), skills) == 0
    assert "the last observation was not answered before recording ended" in capsys.readouterr().out
