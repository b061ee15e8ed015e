"""Checking, joining and describing data sets, as functions and on the command line."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reskill_core.data import DatasetWriter, DemoDataset, Episode, merge, summarise, validate, write_splits
from reskill_core.data.schema import DatasetSpec
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import ConfigError, DataError
from reskill_sim.cli import data as cli

SPEC = synthetic_spec(observation_dim=5, sim_state_dim=3)


def write(
    folder: Path,
    first_seed: int,
    count: int,
    per_shard: int = 2,
    spec: DatasetSpec = SPEC,
    run: str = "x",
    labels: Sequence[str] = (),
) -> list[Episode]:
    episodes = synthetic_episodes(spec, count, first_seed, min_steps=3, max_steps=9)
    if labels:
        episodes = [replace(episode, label=label) for episode, label in zip(episodes, labels, strict=True)]
    with DatasetWriter(folder, spec, provenance={"run": run}) as writer:
        for start in range(0, count, per_shard):
            writer.add_shard(episodes[start : start + per_shard])
    return episodes


def command(*arguments: object) -> int:
    parser = argparse.ArgumentParser(prog="reskill")
    cli.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["data", *map(str, arguments)])
    code: int = parsed.handler(parsed)
    return code


def test_sound_data_are_valid(tmp_path: Path) -> None:
    episodes = write(tmp_path, 0, 5)
    calls: list[tuple[int, int]] = []
    report = validate(tmp_path, lambda done, total: calls.append((done, total)))
    assert not report.problems
    assert not report.notes
    assert (report.num_episodes, report.num_steps) == (5, sum(episode.num_steps for episode in episodes))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_gaps_are_noted(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, SPEC) as writer:
        writer.add_shard(synthetic_episodes(SPEC, 1), 2)
    report = validate(tmp_path)
    assert not report.problems
    assert "2 shards were not written yet, first shard-000000.h5" in report.notes[0]


def test_merge_keeps_episodes_order_and_provenance(tmp_path: Path) -> None:
    first = write(tmp_path / "monday", 0, 5, run="monday")
    second = write(tmp_path / "tuesday", 5, 4, run="tuesday")
    merge([tmp_path / "monday", tmp_path / "tuesday"], tmp_path / "week", episodes_per_shard=4)
    week = DemoDataset.open(tmp_path / "week")
    assert len(list((tmp_path / "week").glob("*.h5"))) == 3
    assert week.seed.tolist() == [episode.seed for episode in first + second]
    np.testing.assert_array_equal(week.sim_state[:], np.concatenate([e.sim_state for e in first + second]))
    monday = DemoDataset.open(tmp_path / "monday")
    origins = {origin["name"]: origin for origin in week.merged_from}
    assert set(origins) == {"monday", "tuesday"}
    assert origins["monday"]["content_hash"] == monday.content_hash()
    assert origins["monday"]["provenance"][0]["run"] == "monday"
    assert not validate(tmp_path / "week").problems
    assert not validate(tmp_path / "week").notes
    # Merging one data set into larger shards changes its files, not its contents.
    merge([tmp_path / "monday"], tmp_path / "again")
    assert DemoDataset.open(tmp_path / "again").content_hash() == monday.content_hash()
    # Merging again names the first origins.
    write(tmp_path / "sunday", 20, 1, run="sunday")
    merge([tmp_path / "week", tmp_path / "sunday"], tmp_path / "all")
    assert [o["name"] for o in DemoDataset.open(tmp_path / "all").merged_from] == ["monday", "tuesday", "sunday"]


def test_merge_refuses_what_does_not_match_and_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, 3)
    write(tmp_path / "b", 3, 3, spec=replace(SPEC, profile="fast", task=replace(SPEC.task, horizon=70)))
    with pytest.raises(DataError, match=r"task\.horizon: 70 != 50[\s\S]*profile: 'fast' != 'exact'"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    with pytest.raises(DataError, match=r"a exists"):
        merge([tmp_path / "a"], tmp_path / "a")
    with pytest.raises(DataError, match="at least 1"):
        merge([tmp_path / "a"], tmp_path / "c", episodes_per_shard=0)
    with pytest.raises(DataError, match="nothing to merge"):
        merge([], tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_merge_refuses_or_skips_episodes_that_occur_twice(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, 3)
    write(tmp_path / "b", 2, 3)
    with pytest.raises(DataError, match=r"episode 0 of .*b is equal to episode 2 of .*a"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c", skip_duplicates=True)
    assert DemoDataset.open(tmp_path / "c").seed.tolist() == [0, 1, 2, 3, 4]


def test_labels_are_kept_by_merging_and_splitting(tmp_path: Path) -> None:
    """Also where a split is drawn: it knows episodes by their contents."""
    write(tmp_path / "a", 0, 3, labels=["lift", "", "push"])
    write(tmp_path / "b", 3, 2, labels=["", "lift"])
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c", episodes_per_shard=2)
    dataset = DemoDataset.open(tmp_path / "c")
    assert dataset.label.tolist() == ["lift", "", "push", "", "lift"]
    parts = write_splits(dataset, {"train": 0.6, "validation": 0.4}, seed=0)
    for ids in parts.values():
        assert [dataset.episode(int(number)).label for number in ids] == dataset.label[ids].tolist()


def test_of_equal_episodes_the_first_keeps_its_label(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, 2, labels=["first", ""])
    write(tmp_path / "b", 0, 2, labels=["second", "second"])
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c", skip_duplicates=True)
    assert DemoDataset.open(tmp_path / "c").label.tolist() == ["first", ""]


def test_merge_starts_anew_where_one_was_killed(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, 3)
    write(tmp_path / ".part-c", 50, 2)
    merge([tmp_path / "a"], tmp_path / "c")
    assert DemoDataset.open(tmp_path / "c").seed.tolist() == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_merge_rescues_what_is_sound(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, 6)
    (tmp_path / "a" / "shard-000001.h5").write_bytes(b"")
    with pytest.raises(DataError, match=r"shard-000001\.h5"):
        merge([tmp_path / "a"], tmp_path / "b")
    merge([tmp_path / "a"], tmp_path / "b", on_bad_shard="skip")
    assert DemoDataset.open(tmp_path / "b").seed.tolist() == [0, 1, 4, 5]


def test_summary_by_hand(tmp_path: Path) -> None:
    episodes = write(tmp_path, 0, 5, run="first")
    summary = summarise(tmp_path)
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["num_episodes"], summary["num_shards"], summary["observation_dim"]) == (5, 3, 5)
    assert summary["success_rate"] == pytest.approx(sum(episode.success for episode in episodes) / 5)
    assert summary["provenance"][0]["run"] == "first"
    for name, source in summary["sources"].items():
        assert source["num_episodes"] == sum(episode.source == name for episode in episodes)


def test_info_and_validate_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, 0, 5)
    assert command("info", tmp_path) == 0
    table = capsys.readouterr().out
    assert "synthetic (profile exact, 25 Hz)" in table
    assert "gripper_position 3, padding 2" in table
    assert command("info", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["num_episodes"] == 5
    assert command("validate", tmp_path) == 0
    assert "valid; 5 episodes" in capsys.readouterr().out
    (tmp_path / "shard-000001.h5").write_bytes(b"")
    assert command("validate", tmp_path) == 1
    assert "problem: " in capsys.readouterr().out
    assert command("validate", tmp_path, "--json") == 1
    assert "shard-000001.h5" in json.loads(capsys.readouterr().out)["problems"][0]
    assert command("info", tmp_path) == 0
    assert "left out: " in capsys.readouterr().out
    with pytest.raises(DataError, match=r"shard-000001\.h5"):
        command("info", tmp_path, "--on-bad-shard", "refuse")


def test_labels_are_summarised_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the list, the index is the one that other commands take."""
    write(tmp_path / "plain", 0, 3)
    assert summarise(tmp_path / "plain")["labels"] == {}
    assert command("info", tmp_path / "plain") == 0
    assert "\nlabel " not in capsys.readouterr().out
    # The second turns the direction of writing in a terminal.
    labels = ["lift", "\u202etfil", "", "lift", "lift"]
    episodes = write(tmp_path / "told", 0, 5, labels=labels)
    parts = summarise(tmp_path / "told")["labels"]
    assert [(label, part["num_episodes"]) for label, part in parts.items()] == [("lift", 3), ("", 1), ("\u202etfil", 1)]
    lifted = [episode for episode in episodes if episode.label == "lift"]
    assert parts["lift"]["success_rate"] == pytest.approx(sum(episode.success for episode in lifted) / 3)
    assert parts["lift"]["mean_length"] == pytest.approx(sum(episode.num_steps for episode in lifted) / 3)
    assert command("info", tmp_path / "told") == 0
    table = capsys.readouterr().out
    assert "lift                            3 " in table
    assert "\n-                               1 " in table
    assert "\u202e" not in table
    assert command("list", tmp_path / "told", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    for index, (row, episode) in enumerate(zip(document["episodes"], episodes, strict=True)):
        told = {name: getattr(episode, name) for name in ("success", "seed", "source", "label")}
        assert row == {"episode": index, "steps": episode.num_steps, **told}
    assert command("list", tmp_path / "told") == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 6
    assert rows[1].split()[0] == "0"
    assert rows[1].split()[-2:] == [episodes[0].source, "lift"]
    assert rows[2].endswith(r" \u202etfil")
    assert rows[3].endswith(" -")


def test_what_cannot_be_read_is_left_out_of_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, 0, 5)
    (tmp_path / "shard-000001.h5").write_bytes(b"")
    assert command("list", tmp_path) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["episode", "0", "1", "2", "left"]
    with pytest.raises(DataError, match=r"shard-000001\.h5"):
        command("list", tmp_path, "--on-bad-shard", "refuse")


def test_repair_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, 0, 4)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / ".part-4-shard-000002.h5").write_bytes(b"half")
    assert command("validate", tmp_path, "--repair") == 0
    assert "note: removed .part-4-shard-000002.h5" in capsys.readouterr().out
    assert command("validate", tmp_path) == 0
    assert "note" not in capsys.readouterr().out
    for path in tmp_path.glob("*.h5"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="nothing can be repaired"):
        command("validate", tmp_path, "--repair")


def test_split_and_merge_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a", 0, 10)
    assert command("split", tmp_path / "a") == 0
    assert "train                   9 episodes" in capsys.readouterr().out
    assert command("split", tmp_path / "a", "train=0.5", "validation=0.3", "test=0.2", "--seed", 3, "--json") == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == {"train": 5, "validation": 3, "test": 2}
    for parts in (["train"], ["train=0.5", "train=0.5"], ["=1.0"]):
        with pytest.raises(ConfigError, match="part"):
            command("split", tmp_path / "a", *parts)
    write(tmp_path / "b", 10, 2)
    assert command("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c") == 0
    assert "merged from      a, b" in capsys.readouterr().out


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("info", "list", "validate", "split", "merge"):
        with pytest.raises(SystemExit, match="0"):
            command(verb, "--help")
        assert f"  reskill data {verb} " in capsys.readouterr().out


def test_reading_data_loads_neither_torch_nor_a_simulator() -> None:
    script = (
        "import sys, reskill_core.data, reskill_sim.cli.data; print({'torch', 'mujoco', 'rclpy'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error::ImportWarning"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout == "set()\n"
