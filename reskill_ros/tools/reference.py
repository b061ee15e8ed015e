"""Generator of docs/ros_interface.md: ``python -m reskill_ros.tools.reference docs/ros_interface.md``.

Every node is started once, and the page lists its actual topics and services. With ``--check`` nothing is written, and
the exit code tells whether the page is up to date.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import rclpy
import yaml
from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message

from reskill_core.data import DatasetSpec, DatasetWriter
from reskill_core.data.synthetic import synthetic_episodes
from reskill_core.data.world import REAL
from reskill_core.errors import GraphError
from reskill_core.gate import GateConfig
from reskill_core.parameters import written
from reskill_core.resources import config_folder
from reskill_ros.drivers.adapters import ADAPTERS
from reskill_ros.drivers.driver_file import DriverConfig
from reskill_ros.drivers.poses import PoseConfig
from reskill_ros.graphs.node_table import GRAPHS, argument_table
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.diagnostics import Report
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.plumbing.topics import BAG_ACKNOWLEDGE, RECORDER_ACKNOWLEDGE
from reskill_ros.recording.bag import BagWriter
from reskill_ros.simulation.sim_parameters import SimParameters
from reskill_ros.simulation.sim_views import SimViews
from reskill_ros.tools.bench import untrained_skills
from reskill_ros.tools.reference_texts import ARGUMENTS, COMPOSED, DIAGNOSTICS, DRIVERS, HEAD, MEANINGS, POSES

# In the order of the data flow. The module of the same name contains the node and the dataclass of its parameters.
NODES = (
    *("sim_node", "observation_node", "demonstrator_node", "policy_node", "command_node"),
    *("recorder_node", "bag_recorder_node", "replay_node", "playback_node", "viewer_node"),
)
# Further parameters of a node.
_FURTHER = {"command_node": {"gate.": GateConfig()}}
# Interfaces that rclpy adds to every node.
_STANDARD_PACKAGES = ("rcl_interfaces", "lifecycle_msgs", "type_description_interfaces")
_STANDARD_PARAMETERS = ("use_sim_time", "start_type_description_service")
_NAMESPACE = "/robot"
_KEY_HEAD = ("Key", "type", "default", "allowed", "meaning")
_TYPES = {bool: "bool", int: "integer", float: "double", str: "string", dict: "mapping"}


def page() -> str:
    """Generate the page as Markdown; starts every node once, so ROS must not be initialised.

    Raises:
        GraphError: a topic or service has no description, a parameter no dataclass, or a QoS profile no name.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rclpy.init(args=["reference", "--ros-args", "--log-level", "fatal", *_start_arguments(Path(folder))])
        stack.callback(rclpy.try_shutdown)
        nodes = [_node_section(import_module(f"reskill_ros.nodes.{name}"), stack) for name in NODES]
    parts = [HEAD, *_graph_section(), "## Nodes\n", *nodes, COMPOSED, *_driver_sections(), *_qos_section(), DIAGNOSTICS]
    for kind, title in (("msg", "Messages"), ("srv", "Services")):
        files = sorted((config_folder().parent / kind).glob(f"*.{kind}"))
        parts += [f"## {title}\n", *(f"### {file.stem}\n\n```\n{file.read_text().strip()}\n```\n" for file in files)]
    return "\n".join(parts)


def _start_arguments(folder: Path) -> list[str]:
    """Return ROS arguments with which every node starts with all its interfaces."""
    skills = untrained_skills(folder / "skills", task_spec("block"))
    spec = DatasetSpec(task_spec("block"), REAL)
    with DatasetWriter(folder / "episodes", spec) as writer:
        writer.add_shard(synthetic_episodes(spec, 1))
    bag = BagWriter(folder / "recorded")
    for topic, message in (("/observation", Observation(task="block")), ("/skill_action", SkillAction())):
        message.header.stamp = Time(sec=1)
        bag.add_topic(topic, f"reskill_ros/msg/{type(message).__name__}")
        bag.write(topic, serialize_message(message), 1)
    bag.close()
    parameters: dict[str, dict[str, Any]] = {
        "sim_node": {"acknowledge_topics": [RECORDER_ACKNOWLEDGE, BAG_ACKNOWLEDGE]},
        "policy_node": {"skills": str(skills)},
        "command_node": {"gate.workspace_low": [0.0, 0.0, 0.0], "gate.workspace_high": [1.0, 1.0, 1.0]},
        "recorder_node": {"dataset": str(folder / "dataset")},
        "bag_recorder_node": {"bag": str(folder / "bag"), "acknowledge": True},
        "replay_node": {"bag": str(folder / "recorded")},
        "playback_node": {"dataset": str(folder / "episodes")},
    }
    document = {f"{_NAMESPACE}/{name}": {"ros__parameters": values} for name, values in parameters.items()}
    file = folder / "parameters.yaml"
    file.write_text(yaml.safe_dump(document))
    return ["-r", f"__ns:={_NAMESPACE}", "--params-file", str(file)]


# ---------------------------------------------------------------------- sections


def _node_section(module: ModuleType, stack: ExitStack) -> str:
    (make,) = (kind for kind in _classes(module) if issubclass(kind, Node) and kind.__module__ == module.__name__)
    node = make()
    stack.callback(node.destroy_node)
    if node.get_name() == "sim_node":
        # Advertises the camera; starting the node with it would need off-screen rendering.
        SimViews(node, SimParameters(camera=True))
    name = node.get_name()
    purpose = _summary(module).partition(": ")[2]
    managed = " A lifecycle node." if isinstance(node, LifecycleNode) else ""
    parts = [f"### {name}\n", f"{purpose[:1].upper()}{purpose[1:]}{managed}\n"]
    for title, ends in (("Publishes", node.publishers), ("Subscribes to", node.subscriptions)):
        rows = [_topic_row(end) for end in ends if _is_ours(end.msg_type)]
        parts += _table((title, "type", "QoS", "meaning"), rows)
    services = [service for service in node.services if _is_ours(service.srv_type)]
    rows = [(_code(s.srv_name), _type_name(s.srv_type), _meaning(s.srv_name.replace("~", name))) for s in services]
    parts += _table(("Service", "type", "meaning"), rows)
    parts += _parameter_table(node, module)
    report = Report()
    node._report(report)
    values = ", ".join(map(_code, ("state", *report.values)))
    return "\n".join([*parts, f"Diagnostics: {values}.\n"])


def _parameter_table(node: Node, module: ModuleType) -> list[str]:
    schema: Any
    (schema,) = (kind for kind in _classes(module) if kind.__name__.endswith("Parameters") and is_dataclass(kind))
    configs = {"": schema(), **_FURTHER.get(node.get_name(), {})}
    leaves = [leaf for prefix, config in configs.items() for leaf in _leaves(config, prefix)]
    declared = set(node.get_parameters_by_prefix("")) - set(_STANDARD_PARAMETERS)
    if declared != {name for name, *_ in leaves}:
        raise GraphError(f"{node.get_name()} has parameters {sorted(declared)}, which are not those of {schema}")
    rows = [(*_parameter_row(*leaf), "fixed" if leaf[1].metadata["read_only"] else "") for leaf in leaves]
    return [f"{_summary(schema)}\n", *_table(("Parameter", *_KEY_HEAD[1:], ""), rows)]


def _graph_section() -> Iterator[str]:
    yield ARGUMENTS
    defaults: dict[tuple[str, ...], dict[str, str]] = {}
    for graph in GRAPHS:
        for item in argument_table(graph):
            texts = (_code(item.name), ", ".join(item.choices), item.description)
            defaults.setdefault(texts, {})[graph] = _code(item.default or '""')
    rows = [(name, *(of.get(g, "–") for g in GRAPHS), *rest) for (name, *rest), of in sorted(defaults.items())]
    yield from _table(("Argument", *GRAPHS, "allowed", "meaning"), rows)


def _driver_sections() -> Iterator[str]:
    leaves = [leaf for leaf in _leaves(DriverConfig()) if not leaf[0].startswith("gate.")]
    yield from (DRIVERS, *_table(_KEY_HEAD, [_parameter_row(*leaf) for leaf in leaves]))
    yield from (POSES, *_table(_KEY_HEAD, [_parameter_row(*leaf) for leaf in _leaves(PoseConfig())]))
    for name in ADAPTERS:
        adapter = ADAPTERS.get(name)
        yield f"### Adapter {name}\n\n{_summary(adapter)} `command.options`:\n"
        yield from _table(_KEY_HEAD, [_parameter_row(*leaf) for leaf in _leaves(adapter.Options())])


def _qos_section() -> Iterator[str]:
    yield "## Quality of service\n"
    comments = re.findall(r"((?:^# .*\n)+)^([A-Z_]+) = ", inspect.getsource(qos), re.MULTILINE)
    reasons = {name: " ".join(comment.replace("#", "").split()) for comment, name in comments}
    rows = []
    for name, profile in _profiles().items():
        policies = (profile.reliability, profile.durability)
        kind = ", ".join(policy.name.lower().replace("_", " ") for policy in policies)
        rows.append((_code(name), f"{kind}, depth {profile.depth}", reasons[name]))
    yield from _table(("Profile", "is", "for"), rows)


# ---------------------------------------------------------------------- rows


def _topic_row(end: Any) -> tuple[str, ...]:
    topic = end.topic_name.removeprefix(f"{_NAMESPACE}/")
    names = [name for name, profile in _profiles().items() if profile is end.qos_profile]
    if not names:
        raise GraphError(f"{topic} has a QoS profile that is none of reskill_ros/plumbing/qos.py")
    return _code(topic), _type_name(end.msg_type), _code(names[0]), _meaning(topic)


def _parameter_row(name: str, item: Field[Any], hint: Any, default: Any) -> tuple[str, ...]:
    facts = item.metadata
    return _code(name), _kind(hint), _code(json.dumps(default)), _allowed(facts), facts["description"]


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any, Any]]:
    """Yield name, field, type and value of every leaf of a configuration."""
    hints = get_type_hints(type(config))
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item, hints[item.name], value


def _allowed(metadata: Mapping[str, Any]) -> str:
    low, high, choices = metadata.get("low"), metadata.get("high"), metadata.get("choices", ())
    if choices:
        return ", ".join(choices)
    bounds = [f"{sign} {written(bound)}" for sign, bound in (("≥", low), ("≤", high)) if bound is not None]
    return ", ".join(bounds)


def _kind(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"{_TYPES[get_args(hint)[0]]}[]"
    # The remaining types are literals.
    return _TYPES.get(get_origin(hint) or hint, "string")


def _profiles() -> dict[str, QoSProfile]:
    return {name: value for name, value in vars(qos).items() if isinstance(value, QoSProfile)}


def _classes(module: ModuleType) -> list[Any]:
    return [value for value in vars(module).values() if isinstance(value, type)]


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] not in _STANDARD_PACKAGES


def _type_name(kind: type) -> str:
    package = kind.__module__.split(".")[0]
    return f"[{kind.__name__}](#{kind.__name__.lower()})" if package == "reskill_ros" else f"{package}/{kind.__name__}"


def _meaning(name: str) -> str:
    if name not in MEANINGS:
        raise GraphError(f"reskill_ros/tools/reference_texts.py has no sentence about {name}")
    return MEANINGS[name]


def _summary(described: object) -> str:
    return (inspect.getdoc(described) or "").splitlines()[0].replace("``", "`")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    if not lines:
        return []
    return ["\n".join(f"| {line} |" for line in (" | ".join(head), " | ".join("---" for _ in head), *lines)) + "\n"]


def main(args: Sequence[str] | None = None) -> int:
    """Write the page, or compare it with the written one."""
    parser = argparse.ArgumentParser(
        prog="python -m reskill_ros.tools.reference", description="Document the ROS interface."
    )
    parser.add_argument("path", type=Path, help="the page, docs/ros_interface.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is out of date")
    options = parser.parse_args(args)
    # The nodes must not discover those of a running robot.
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "OFF"
    text = page()
    if not options.check:
        options.path.write_text(text)
        return 0
    written = options.path.read_text() if options.path.is_file() else ""
    sys.stdout.writelines(difflib.unified_diff(written.splitlines(True), text.splitlines(True), "written", "code", n=0))
    return int(written != text)


if __name__ == "__main__":
    sys.exit(main())
