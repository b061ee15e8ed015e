"""Bags: what is written can be read, by others too, and a crash costs only the tail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from mcap.reader import make_reader
from rclpy.serialization import deserialize_message, serialize_message
from ros_graph import TIMEOUT_S, MakeGraph
from std_msgs.msg import Header, String

from reskill_core.config import read_yaml
from reskill_core.errors import DataError, GraphError
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.nodes.bag_recorder_node import BagRecorderNode
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.interfaces import message_definition
from reskill_ros.plumbing.topics import SIMULATOR_COMMANDS
from reskill_ros.recording.bag import BagChannel, BagMessage, BagReader, BagWriter

HEADER, OBSERVATION = "std_msgs/msg/Header", "reskill_ros/msg/Observation"
WRITE_FOREVER = """
import sys
from pathlib import Path
from reskill_ros.recording.bag import BagWriter
writer = BagWriter(Path(sys.argv[1]))
writer.add_topic("/count", "std_msgs/msg/Header")
for count in range(10**9):
    writer.write("/count", count.to_bytes(40, "little"), count)
    print(count, flush=True)
"""


def write_headers(folder: Path, count: int) -> list[bytes]:
    contents = [bytes(serialize_message(Header(stamp=convert.ns_to_stamp(i), frame_id="a" * i))) for i in range(count)]
    writer = BagWriter(folder)
    writer.add_topic("/header", HEADER)
    for index, content in enumerate(contents):
        writer.write("/header", content, 10 * index)
    writer.close()
    return contents


def test_what_was_written_is_read(tmp_path: Path) -> None:
    contents = write_headers(tmp_path / "bag", 300)
    reader = BagReader(tmp_path / "bag")
    messages = list(reader.messages())
    channel = BagChannel("/header", HEADER, "cdr", message_definition(HEADER))
    assert messages == [BagMessage(channel, 10 * i, content) for i, content in enumerate(contents)]
    assert deserialize_message(messages[7].data, Header).frame_id == "aaaaaaa"
    assert not reader.faults
    assert list(reader.messages({"/other"})) == []


def test_any_mcap_tool_opens_a_bag(tmp_path: Path) -> None:
    """Indexed, with the definition of the type and of all types in it; with rosbag2's metadata beside it."""
    write_headers(tmp_path / "bag", 50)
    file = tmp_path / "bag" / "bag_0.mcap"
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == 50
        (schema,) = summary.schemas.values()
        assert (schema.name, schema.encoding) == (HEADER, "ros2msg")
        assert "MSG: builtin_interfaces/Time" in schema.data.decode()
    document = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert document["relative_file_paths"] == ["bag_0.mcap"]
    assert document["message_count"] == 50
    assert document["duration"]["nanoseconds"] == 490


def test_rosbag2_readers_open_a_bag(tmp_path: Path) -> None:
    highlevel = pytest.importorskip("rosbags.highlevel", reason="rosbags, a reader of rosbag2's bags, is not installed")
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/observation", OBSERVATION)
    writer.write("/observation", bytes(serialize_message(Observation(task="block", values=[1.5, 2.5]))), 5)
    writer.close()
    with highlevel.AnyReader([tmp_path / "bag"]) as reader:
        ((connection, time_ns, data),) = reader.messages()
        message = reader.deserialize(data, connection.msgtype)
    assert (time_ns, message.task, list(message.values)) == (5, "block", [1.5, 2.5])


def test_definitions_contain_every_type_once() -> None:
    text = message_definition("reskill_ros/msg/SkillAction")
    assert text.count("MSG: ") == 2
    assert "MSG: std_msgs/Header" in text
    assert "MSG: builtin_interfaces/Time" in text
    assert "float32[] latent" in text
    nested = message_definition("sensor_msgs/msg/JointState")
    assert nested.count("MSG: std_msgs/Header") == 1
    with pytest.raises(GraphError, match="install the package nobody_msgs"):
        message_definition("nobody_msgs/msg/Nothing")


@pytest.mark.parametrize(
    "name", ["../msg/os", "std_msgs/msg/..", "a/b/msg/C", "os.path/msg/join", "std_msgs/srv/Empty", ""]
)
def test_names_that_are_no_message_types_are_refused(name: str) -> None:
    with pytest.raises(GraphError, match="is not of the form package/msg/Name"):
        message_definition(name)


def test_bags_are_never_overwritten(tmp_path: Path) -> None:
    write_headers(tmp_path / "bag", 1)
    with pytest.raises(DataError, match="exists already"):
        BagWriter(tmp_path / "bag")


def test_of_many_recorders_of_one_bag_one_records(tmp_path: Path) -> None:
    """Also when they start at the same moment; the folder may have been made for them."""
    (tmp_path / "bag").mkdir()
    start = threading.Barrier(20)
    writers: list[BagWriter] = []
    refusals: list[str] = []

    def try_to() -> None:
        start.wait()
        try:
            writers.append(BagWriter(tmp_path / "bag"))
        except DataError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=try_to) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(writers), len(refusals)) == (1, 19)
    assert all("choose another path" in text for text in refusals)
    writers[0].add_topic("/header", HEADER)
    writers[0].write("/header", bytes(serialize_message(Header())), 1)
    writers[0].close()
    reader = BagReader(tmp_path / "bag")
    assert sum(1 for _ in reader.messages()) == 1
    assert not reader.faults


def test_a_torn_bag_is_read_up_to_the_tear(tmp_path: Path) -> None:
    """Wherever it is torn: what is read is a beginning of what was written."""
    contents = write_headers(tmp_path / "bag", 200)
    file = tmp_path / "bag" / "bag_0.mcap"
    whole = file.read_bytes()
    counts = []
    for cut in [*range(1, len(whole), 997), len(whole) - 1]:
        file.write_bytes(whole[:cut])
        reader = BagReader(file)
        read = [message.data for message in reader.messages()]
        assert read == contents[: len(read)]
        assert len(reader.faults) == 1
        assert reader.faults[0].startswith(f"{file}: it ")
        counts.append(len(read))
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 200)


def test_what_is_no_bag_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "old_0.db3").touch()
    (tmp_path / "text.mcap").write_text("this is not a bag")
    with pytest.raises(DataError, match="no bag"):
        BagReader(tmp_path / "missing")
    with pytest.raises(DataError, match=r"old_0\.db3"):
        BagReader(tmp_path / "old")
    with pytest.raises(DataError, match="not an MCAP file"):
        list(BagReader(tmp_path / "text.mcap").messages())


def test_the_parts_of_a_split_bag_come_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for part in (2, 10):
        write_headers(tmp_path / f"part{part}", part)
        (tmp_path / f"part{part}" / f"part{part}_0.mcap").rename(folder / f"split_{part}.mcap")
    assert [file.name for file in BagReader(folder).files] == ["split_2.mcap", "split_10.mcap"]
    assert sum(1 for _ in BagReader(folder).messages()) == 12


def test_sigkill_loses_only_the_tail(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, str(tmp_path / "bag")], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    written = 0
    for line in writer.stdout:
        written = int(line)
        if written == 3000:
            writer.kill()
    writer.wait()
    counts = [int.from_bytes(message.data, "little") for message in BagReader(tmp_path / "bag").messages()]
    assert counts == list(range(len(counts)))
    # One chunk of four kilobytes.
    assert written - len(counts) < 100


class Bench:
    """A bag recorder and somebody who publishes."""

    def __init__(self, make_graph: MakeGraph, bag: Path, **parameters: Any) -> None:
        self.graph = make_graph(bag_recorder_node={"bag": str(bag), **parameters})
        self.node = self.graph.add(BagRecorderNode())

    def wait_for(self, **counts: int) -> None:
        wanted = {f"/{name}": count for name, count in counts.items()}
        self.graph.spin_until(lambda: wanted.items() <= self.node.writer.counts.items(), f"{wanted} messages")

    def finish(self) -> dict[str, list[bytes]]:
        self.graph.remove(self.node)
        topics: dict[str, list[bytes]] = {}
        for message in BagReader(self.node.writer.folder).messages():
            topics.setdefault(message.topic, []).append(message.data)
        return topics


def test_records_messages_of_any_topic_as_they_are(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = Bench(make_graph, tmp_path / "bag")
    latched = bench.graph.probe.create_publisher(String, "found_later", qos.LATCHED)
    latched.publish(String(data="published before anybody listened"))
    publisher = bench.graph.publisher(Observation, "observation")
    sent = [Observation(task="block", episode_step=step, values=[step / 3]) for step in range(5)]
    for message in sent:
        publisher.publish(message)
    bench.wait_for(observation=5, found_later=1)
    recorded = bench.finish()
    assert [deserialize_message(data, Observation) for data in recorded["/observation"]] == sent
    assert [deserialize_message(data, String).data for data in recorded["/found_later"]] == [
        "published before anybody listened"
    ]


def test_records_only_what_is_wanted(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = Bench(make_graph, tmp_path / "bag", topics=["wanted"])
    wanted = bench.graph.publisher(String, "wanted")
    bench.graph.probe.create_publisher(String, "unwanted", qos.LATCHED).publish(String(data="no"))
    wanted.publish(String(data="yes"))
    bench.wait_for(wanted=1)
    assert list(bench.finish()) == ["/wanted"]


def test_confirms_a_stamp_once_all_that_belongs_to_it_is_written(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = Bench(make_graph, tmp_path / "bag", acknowledge=True)
    confirmed = bench.graph.listen(Header, "bag_recorder/acknowledge")
    kinds = {"observation": Observation, "skill_action": SkillAction, "episode": EpisodeState}
    publishers = {name: bench.graph.publisher(kind, name) for name, kind in kinds.items()}
    for stamp_ns in (40, 80):
        for name, publisher in publishers.items():
            message = kinds[name]()
            message.header.stamp = convert.ns_to_stamp(stamp_ns)
            publisher.publish(message)
    bench.wait_for(observation=2, skill_action=2, episode=2)
    assert not confirmed
    executed = bench.graph.publisher(SkillAction, "executed_action")
    last = SkillAction()
    last.header.stamp = convert.ns_to_stamp(80)
    executed.publish(last)
    bench.graph.spin_until(lambda: confirmed, "the confirmation")
    assert [convert.stamp_to_ns(header.stamp) for header in confirmed] == [80]


def test_commands_to_a_simulator_are_recorded_from_the_first(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Not only once their topics are discovered; a bag lists those on which something was sent."""
    bench = Bench(make_graph, tmp_path / "bag", acknowledge=True)
    assert {name: bench.node.count_subscribers(name) for name in SIMULATOR_COMMANDS} == dict.fromkeys(
        SIMULATOR_COMMANDS, 1
    )
    bench.graph.publisher(TwistStamped, "command/twist").publish(TwistStamped())
    bench.wait_for(**{"command/twist": 1})
    bench.finish()
    channels = {channel.topic for channel in BagReader(bench.node.writer.folder).channels()}
    metadata = read_yaml(bench.node.writer.folder / "metadata.yaml")["rosbag2_bagfile_information"]
    listed = {topic["topic_metadata"]["name"] for topic in metadata["topics_with_message_count"]}
    assert channels == listed
    assert channels & {f"/{name}" for name in SIMULATOR_COMMANDS} == {"/command/twist"}


def test_a_full_disk_stops_the_bag_but_not_the_robot(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Who waits for confirmations goes on getting them."""
    bench = Bench(make_graph, tmp_path / "bag", acknowledge=True)
    confirmed = bench.graph.listen(Header, "bag_recorder/acknowledge")
    statuses = bench.graph.listen(DiagnosticStatus, "bag_recorder/status", qos.LATCHED)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, bench.node.writer._stream.fileno())
    os.close(full)
    kinds = {
        "observation": Observation,
        "skill_action": SkillAction,
        "episode": EpisodeState,
        "executed_action": SkillAction,
    }
    for name, kind in kinds.items():
        publisher = bench.graph.publisher(kind, name)
        message = EpisodeState(sim_state=[0.1 * i for i in range(2000)]) if kind is EpisodeState else kind()
        publisher.publish(message)
    bench.graph.spin_until(lambda: confirmed, "the confirmation")
    bench.graph.spin_until(lambda: statuses and "cannot be written" in statuses[-1].message, "the error")
    assert statuses[-1].level == DiagnosticStatus.ERROR
    bench.graph.remove(bench.node)
    assert bench.node.exit_code == 1


def test_what_has_arrived_when_the_recorder_ends_is_written(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = Bench(make_graph, tmp_path / "bag")
    publisher = bench.graph.publisher(Observation, "observation", qos.RECORDED)
    for step in range(100):
        publisher.publish(Observation(episode_step=step))
    assert [deserialize_message(data, Observation).episode_step for data in bench.finish()["/observation"]] == list(
        range(100)
    )
    assert bench.node.exit_code == 0


def has_grown(file: Path) -> bool:
    return file.stat().st_size > 8000


def test_the_recorders_process_leaves_a_readable_bag_whatever_ends_it(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph()
    publisher = graph.probe.create_publisher(Observation, "observation", qos.RECORD)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        bag = tmp_path / number.name
        process = subprocess.Popen(
            [sys.executable, "-m", "reskill_ros.nodes.bag_recorder_node", "--ros-args", "-p", f"bag:={bag}"],
            stderr=subprocess.PIPE,
            text=True,
        )
        graph.spin_until(lambda: publisher.get_subscription_count() == 1, "the recorder")
        for step in range(500):
            publisher.publish(Observation(episode_step=step, values=[0.0] * 40))
            graph.executor.spin_once(timeout_sec=0)
        file = bag / f"{bag.name}_0.mcap"
        graph.spin_until(partial(has_grown, file), "messages in the file")
        process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == (-number if number == signal.SIGKILL else 0)
        assert "Traceback" not in errors
        assert (bag / "metadata.yaml").exists() == (number != signal.SIGKILL)
        steps = [
            deserialize_message(message.data, Observation).episode_step
            for message in BagReader(bag).messages({"/observation"})
        ]
        assert steps == list(range(len(steps)))
        assert steps
        graph.spin_until(lambda: publisher.get_subscription_count() == 0, "the recorder's end")
