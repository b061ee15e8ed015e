"""The node table and its processes: complete, validated, and nobody is left behind."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import rclpy
import yaml
from recorder_bench import STATE_DIM, TASK, episode
from ros_graph import shut_down

from reskill_core.data import DatasetSpec, DatasetWriter
from reskill_core.errors import ConfigError, GraphError
from reskill_core.runtime.loading import load_policy
from reskill_ros.graphs.node_entry import ProcessEntry
from reskill_ros.graphs.node_table import GRAPHS, argument_table, build_graph, parse_arguments
from reskill_ros.graphs.process_launcher import main, process_of
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.recording.episode_store import next_seed
from reskill_sim.families import family_of, task_names
from reskill_sim.fetch.demonstrators import CONTROLLERS, MIXED


@pytest.fixture
def required(tmp_path: Path) -> dict[str, dict[str, str]]:
    """The arguments without which a graph cannot be built."""
    (tmp_path / "skills").mkdir()
    (tmp_path / "bag").mkdir()
    skills = {"skills": str(tmp_path / "skills")}
    dataset = {"dataset": str(tmp_path / "data")}
    with DatasetWriter(tmp_path / "recorded", DatasetSpec(TASK, "fast", STATE_DIM)) as writer:
        writer.add_shard([episode(3)])
    recorded = {"dataset": str(tmp_path / "recorded")}
    replay = {**skills, "bag": str(tmp_path / "bag")}
    return {"collect": dataset, "policy": skills, "replay": replay, "playback": recorded}


# ---------------------------------------------------------------------- the table


@pytest.mark.parametrize("graph", list(GRAPHS))
def test_every_argument_is_described_and_its_default_valid(graph: str, required: dict[str, dict[str, str]]) -> None:
    table = argument_table(graph)
    assert {"namespace", "params_file", "log_level", "use_sim_time", "autostart"} <= {item.name for item in table}
    assert all(item.description.endswith(".") for item in table)
    defaults = {item.name: item.default for item in table}
    assert parse_arguments(graph, {**defaults, **required[graph]}) == parse_arguments(graph, required[graph])


def test_wrong_arguments_are_all_named_at_once() -> None:
    with pytest.raises(GraphError) as caught:
        parse_arguments("collect", {"episodes": "-1", "pacing": "slow", "log_level": "loud"})
    for words in ("episodes", "lockstep, realtime", "debug, info", "reskill-up collect --help"):
        assert words in str(caught.value)
    with pytest.raises(GraphError, match="did you mean episodes"):
        parse_arguments("collect", {"episods": "5"})
    with pytest.raises(GraphError, match="skills: is required"):
        parse_arguments("policy", {"driver": "fetch"})
    with pytest.raises(GraphError, match="skills: there is no agents/clean_upp"):
        parse_arguments("policy", {"skills": "agents/clean_upp"})
    with pytest.raises(ConfigError, match="collect, playback, policy, replay"):
        argument_table("dance")


@pytest.mark.parametrize(("task", "model"), [("block", "skills/block"), ("clean_up", "agents/clean_up")])
def test_the_simulator_is_driven_by_what_ships_for_the_task_unless_told_otherwise(task: str, model: str) -> None:
    nodes = {entry.name: entry for entry in build_graph(parse_arguments("policy", {"task": task}))}
    assert nodes["policy_node"].parameters["skills"] == model
    assert load_policy(model).task_spec.name == task


def test_a_folder_may_be_called_like_a_date_or_a_number() -> None:
    arguments = parse_arguments("collect", {"dataset": "2026-01-31", "namespace": "7"})
    assert (arguments.dataset, arguments.namespace) == ("2026-01-31", "7")  # type: ignore[attr-defined]


@pytest.mark.parametrize("graph", list(GRAPHS))
def test_every_parameter_of_the_table_is_one_of_its_node(graph: str, required: dict[str, dict[str, str]]) -> None:
    """Compared with the parameter classes in the node's module, or those that it imports."""
    everything = {"bag": "new", "dataset": "data"} if graph == "policy" else {}
    for entry in build_graph(parse_arguments(graph, {**everything, **required[graph]})):
        module = importlib.import_module(entry.module)
        schemas = [item for name, item in vars(module).items() if name.endswith("Parameters") and name != "Parameters"]
        known = {item.name for schema in schemas for item in fields(schema)} | {"use_sim_time"}
        unknown = {name for name in entry.parameters if name not in known and not name.startswith("gate.")}
        assert not unknown, f"{entry.name} has no {unknown}"
        assert callable(module.main)
        assert ProcessEntry((entry,)).executable == entry.module.split(".")[-1]


def test_who_is_in_which_graph(required: dict[str, dict[str, str]]) -> None:
    def names(graph: str, **values: str) -> list[str]:
        return [entry.name for entry in build_graph(parse_arguments(graph, {**required[graph], **values}))]

    assert names("collect") == ["sim_node", "observation_node", "command_node", "demonstrator_node", "recorder_node"]
    assert names("policy") == ["sim_node", "observation_node", "command_node", "policy_node"]
    assert names("policy", driver="fetch") == ["observation_node", "command_node", "policy_node"]
    assert names("policy", bag="new", dataset="new")[-2:] == ["recorder_node", "bag_recorder_node"]
    assert names("replay") == ["replay_node", "policy_node"]
    assert names("playback") == ["sim_node", "observation_node", "command_node", "playback_node"]
    assert names("playback", driver="fetch") == ["observation_node", "command_node", "playback_node"]


def test_who_decides_that_it_is_enough(required: dict[str, dict[str, str]]) -> None:
    def primary(graph: str, **values: str) -> list[str]:
        entries = build_graph(parse_arguments(graph, {**required[graph], **values}))
        return [entry.name for entry in entries if entry.primary]

    assert primary("collect") == ["recorder_node"]
    assert primary("collect", episodes="0") == []
    assert primary("policy") == []
    assert primary("policy", episodes="3") == ["sim_node"]
    assert primary("replay") == ["replay_node"]
    assert primary("playback") == ["playback_node"]


def test_playback_starts_the_simulator_as_it_was_recorded(required: dict[str, dict[str, str]]) -> None:
    def simulator(**values: str) -> dict[str, object]:
        first, *_, last = build_graph(parse_arguments("playback", {**required["playback"], **values}))
        assert last.parameters["wait_for_gate"] is False
        return dict(first.parameters)

    recorded = simulator()
    assert (recorded["task"], recorded["seed"], recorded["profile"]) == ("block", 3, "fast")
    assert simulator(seed="7", profile="exact")["seed"] == 7
    with pytest.raises(GraphError, match="has the episodes 0 to 0"):
        simulator(episode="1")


def test_the_label_reaches_the_recorder(required: dict[str, dict[str, str]]) -> None:
    for graph in ("collect", "policy"):
        values = {**required[graph], "dataset": "new", "label": "2026-01-31"}
        [recorder] = [e for e in build_graph(parse_arguments(graph, values)) if e.name == "recorder_node"]
        assert recorder.parameters["label"] == "2026-01-31"


def test_simulated_time_and_arming_are_for_the_simulator_only(required: dict[str, dict[str, str]]) -> None:
    def parameters(**values: str) -> dict[str, dict[str, object]]:
        entries = build_graph(parse_arguments("policy", {**required["policy"], **values}))
        return {entry.name: dict(entry.parameters) for entry in entries}

    simulated, real = parameters(), parameters(driver="fetch")
    assert simulated["command_node"]["auto_arm"] is True
    assert real["command_node"]["auto_arm"] is False
    assert "use_sim_time" not in simulated["sim_node"]
    assert simulated["policy_node"]["use_sim_time"] is True
    assert real["policy_node"]["use_sim_time"] is False
    assert parameters(driver="fetch", use_sim_time="true")["policy_node"]["use_sim_time"] is True
    # A robot's computer needs no simulator: nodes learn the task from the checkpoint.
    assert "task" not in real["observation_node"]


@pytest.mark.parametrize("graph", ["collect", "policy"])
def test_a_dry_run_is_for_the_command_node(graph: str, required: dict[str, dict[str, str]]) -> None:
    def dry_run(**values: str) -> object:
        entries = build_graph(parse_arguments(graph, {**required[graph], **values}))
        return next(entry.parameters["dry_run"] for entry in entries if entry.name == "command_node")

    assert dry_run() is False
    assert dry_run(driver="fetch", dry_run="true") is True
    assert dry_run(pacing="realtime", dry_run="true") is True
    # The simulator would otherwise wait for the first command.
    values = {**required[graph], "pacing": "realtime", "dry_run": "true"}
    assert build_graph(parse_arguments(graph, values))[0].parameters["hold_until_ready"] is False
    with pytest.raises(GraphError, match="wait for a command forever"):
        dry_run(pacing="lockstep", dry_run="true")


def test_tasks_and_demonstrators_are_those_of_the_simulator(required: dict[str, dict[str, str]]) -> None:
    def choices(graph: str) -> dict[str, tuple[str, ...]]:
        return {item.name: item.choices for item in argument_table(graph)}

    assert choices("policy")["task"] == task_names()
    demonstrated = {task: found for task in task_names() if (found := family_of(task).demonstrators(task))}
    assert demonstrated.keys() >= CONTROLLERS.keys()
    assert choices("collect")["task"] == tuple(demonstrated)
    kinds = {name for names in demonstrated.values() for name in names}
    assert set(choices("collect")["demonstrator"]) == {MIXED, *kinds}
    with pytest.raises(GraphError, match="task: must be one of"):
        parse_arguments("collect", {"task": "tidy_up"})
    # Nobody is led to believe that there are agents.
    assert not any("agent" in choices(graph) for graph in GRAPHS)
    entry = build_graph(parse_arguments("policy", {**required["policy"], "task": "clean_up"}))[-1]
    assert entry.parameters["task"] == "clean_up"
    varied = parse_arguments("policy", {**required["policy"], "profile": "fast", "variation": "mass=2 size=0.9:1.1"})
    sim_node = build_graph(varied)[0]
    assert (sim_node.parameters["profile"], sim_node.parameters["variation"]) == ("fast", ["mass=2", "size=0.9:1.1"])


def test_a_robots_computer_needs_no_simulator(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["reskill_sim"] = None
from reskill_ros.graphs.process_launcher import main
sys.exit(main(["policy", "--dry-run", "driver:=fetch", "skills:={tmp_path}"]))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [line.split()[2].rpartition(".")[2] for line in shown.splitlines()] == [
        "observation_node",
        "command_node",
        "policy_node",
    ]


def test_the_table_of_nodes_costs_no_simulator() -> None:
    """Names of tasks, profiles and demonstrators are known without what simulates, learns, stores or talks ROS."""
    heavy = "{'mujoco', 'torch', 'h5py', 'rclpy'}"
    code = f"import sys, reskill_ros.graphs.process_launcher; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


def test_in_lockstep_whoever_records_is_waited_for(required: dict[str, dict[str, str]]) -> None:
    entries = build_graph(parse_arguments("policy", {**required["policy"], "bag": "new", "dataset": "new"}))
    assert entries[0].parameters["acknowledge_topics"] == ["recorder/acknowledge", "bag_recorder/acknowledge"]


def test_a_data_set_is_continued_with_new_seeds(tmp_path: Path, required: dict[str, dict[str, str]]) -> None:
    from reskill_sim.experiments.collect import CollectConfig, collect

    assert next_seed(tmp_path / "data") == 0
    collect(CollectConfig(episodes=2, first_seed=40, out=str(tmp_path / "data"), workers=1), show_progress=False)
    assert build_graph(parse_arguments("collect", required["collect"]))[0].parameters["seed"] == 42
    chosen = build_graph(parse_arguments("collect", {**required["collect"], "seed": "7"}))
    assert chosen[0].parameters["seed"] == 7
    varied = build_graph(parse_arguments("collect", {**required["collect"], "variation": "friction=0.5:1.5"}))
    assert [varied[0].parameters["variation"], varied[-1].parameters["variation"]] == [
        ["friction=0.5:1.5"],
        "friction=0.5:1.5",
    ]
    assert chosen[-1].parameters["variation"] == ""
    for seed, episodes in (("1000000000", "1"), ("999999999", "2")):
        foreign = parse_arguments("collect", {**required["collect"], "seed": seed, "episodes": episodes})
        with pytest.raises(GraphError, match="seed: episodes are demonstrated with seeds from 0 to 999999999"):
            build_graph(foreign)


def test_f46_a_namespace_has_a_clock_of_its_own(required: dict[str, dict[str, str]]) -> None:
    arguments = parse_arguments("collect", {**required["collect"], "namespace": "left"})
    for entry in build_graph(arguments):
        assert ("/clock", "clock") in entry.remappings
        assert "__ns:=/left" in process_of(ProcessEntry((entry,)), arguments).command


def test_f46_only_the_clock_and_diagnostics_are_absolute_names() -> None:
    """Every other topic and service of the package follows the namespace."""
    source = Path(__file__).parents[2] / "reskill_ros"
    pattern = re.compile(r"(?:create_\w+|_advertise|_listen)\(\s*\w+,\s*f?\"(/[^\"]*)\"")
    found = {name for file in source.rglob("*.py") for name in pattern.findall(file.read_text())}
    assert found == {"/clock", "/diagnostics"}


# ---------------------------------------------------------------------- the command line


def test_help_describes_every_argument(capsys: pytest.CaptureFixture[str]) -> None:
    for graph in GRAPHS:
        with pytest.raises(SystemExit) as caught:
            main([graph, "--help"])
        assert caught.value.code == 0
        shown = capsys.readouterr().out
        assert all(f"{item.name}:=" in shown and item.description in shown for item in argument_table(graph))
        assert f"reskill-up {graph} " in shown


def test_wrong_command_lines_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", "episodes=5"]) == 2
    assert "name:=value" in capsys.readouterr().err
    assert main(["policy", "task:=juggle"]) == 2
    assert "block, hook" in capsys.readouterr().err


def test_a_dry_run_shows_the_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["collect", "--dry-run", f"dataset:={tmp_path}/my data", "log_level:=debug"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "reskill_ros.nodes.sim_node" in lines[0]
    assert "--log-level debug" in lines[0]
    assert "my data" in lines[-1]


def test_a_parameter_file_wins_over_arguments(tmp_path: Path) -> None:
    """Checked with a node, by the arguments that its process would get."""
    file = tmp_path / "mine.yaml"
    parameters = {"auto_arm": False, "gate": {"command_timeout_s": 3.0}}
    file.write_text(yaml.safe_dump({"/**/command_node": {"ros__parameters": parameters}}))
    arguments = parse_arguments("collect", {"params_file": str(file), "namespace": "left"})
    entry = next(entry for entry in build_graph(arguments) if entry.name == "command_node")
    rclpy.init(args=["test", *process_of(ProcessEntry((entry,)), arguments).command[3:]])
    try:
        node = CommandNode()
        assert node.get_fully_qualified_name() == "/left/command_node"
        assert node.get_parameter("auto_arm").value is False
        assert node.get_parameter("gate.command_timeout_s").value == 3.0
        assert node.get_parameter("use_sim_time").value is True
        node.destroy_node()
        del node
    finally:
        shut_down()
