"""Sweeps: what a policy can do while one variation at a time moves the world."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reskill_core.errors import ConfigError
from reskill_core.results import RobustnessResults, parsed
from reskill_sim.cli.main import main
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.evaluation import (
    COMBINATIONS,
    SWEEPS,
    Combination,
    PolicyEvaluationConfig,
    Sweep,
    evaluate_policy,
    evaluate_robustness,
    parse_sweeps,
)
from reskill_sim.families import get_task
from reskill_sim.fetch.demonstrators import make_demonstrator

EPISODES = 3


def test_points_are_plain_evaluations_and_shared_worlds_are_simulated_once(tmp_path: Path) -> None:
    sweeps = parse_sweeps(["mass=1,2", "action_delay=0,3"])
    config = PolicyEvaluationConfig(
        ("demonstrator",), ("clean_up",), out=str(tmp_path), episodes=EPISODES, profile="fast", threads=0
    )
    mass, delay = evaluate_robustness(config, sweeps, show_progress=False)
    assert mass.evaluations[0] is delay.evaluations[0]
    for variation, evaluation in (
        (NOMINAL, mass.evaluations[0]),
        (Variation(mass=(2.0, 2.0)), mass.evaluations[1]),
        (Variation(action_delay=(3, 3)), delay.evaluations[1]),
    ):
        alone = evaluate_policy(
            get_task("clean_up", variation),
            lambda n: make_demonstrator("clean_up", num_envs=n),
            "demonstrator",
            EPISODES,
            "fast",
        )
        assert evaluation == alone
    assert mass.evaluations[0].outcomes != delay.evaluations[1].outcomes


def test_combinations_change_several_parameters_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A point is the plain evaluation of a demonstrator in that world, in the table, the file and the plot."""
    options = ["--task", "clean_up", "--episodes", "3", "--profile", "fast", "--out", str(tmp_path), "--quiet"]
    name = "perception_delay=1+action_delay=2+mass=0.5:2"
    assert main(["evaluate", "--policy", "demonstrator", *options, "--sweep", "mass=2", name]) == 0
    alone = evaluate_policy(
        get_task("clean_up", Variation(perception_delay=(1, 1), action_delay=(2, 2), mass=(0.5, 2.0))),
        lambda n: make_demonstrator("clean_up", num_envs=n),
        "demonstrator",
        EPISODES,
        "fast",
    )
    document = json.loads((tmp_path / "robustness.json").read_text())
    assert [sweep["name"] for sweep in document["sweeps"]] == ["mass"]
    (found,) = document["combinations"]
    assert found["name"] == name
    assert found["variation"] == {"mass": [0.5, 2.0], "perception_delay": [1, 1], "action_delay": [2, 2]}
    assert found["episode_return"] == vars(alone.episode_return)
    assert found["success"] == vars(alone.success)
    assert document["sweeps"][0]["points"][0]["episode_return"] != found["episode_return"]
    row = f"| combination | perception_delay=1, action_delay=2, mass=0.5:2 | {' | '.join(alone.cells())} |"
    assert row in capsys.readouterr().out
    assert (tmp_path / "robustness.png").stat().st_size > 10_000
    read = parsed(RobustnessResults, (tmp_path / "robustness.json").read_text(), tmp_path)
    assert read.combinations[0].success == alone.success


def test_the_usual_combinations_go_by_one_name() -> None:
    assert parse_sweeps(["combinations"]) == COMBINATIONS
    mass, *others, own = parse_sweeps(["mass", "combinations", "speed=0.5+size=1.1"])
    assert mass is SWEEPS["mass"]
    assert tuple(others) == COMBINATIONS
    assert own == Combination("speed=0.5+size=1.1", Variation(speed=(0.5, 0.5), size=(1.1, 1.1)))
    for combination in COMBINATIONS:
        assert sum(value != getattr(NOMINAL, name) for name, value in vars(combination.variation).items()) > 1


def test_results_are_left_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "slippery_push", "--episodes", "2", "--profile", "fast", "--out", str(tmp_path), "--quiet"]
    assert main(["evaluate", "--policy", "zero", *options, "--sweep", "friction=2,0.5", "perception_delay=0,1"]) == 0
    document = json.loads((tmp_path / "robustness.json").read_text())
    made_with = document.pop("provenance")
    assert document.pop("lineage") == {
        "task": "slippery_push",
        "profile": "fast",
        "simulator": f"mujoco {made_with['packages']['mujoco']}",
    }
    sweeps = document.pop("sweeps")
    assert document.pop("combinations") == []
    expected = {"task": "slippery_push", "policy": "zero", "episodes": 2, "profile": "fast", "checkpoints": {}}
    assert document == expected
    assert [(sweep["name"], sweep["unit"]) for sweep in sweeps] == [
        ("friction", "factor"),
        ("perception_delay", "control steps"),
    ]
    assert [[point["value"] for point in sweep["points"]] for sweep in sweeps] == [[0.5, 2.0], [0, 1]]
    for point in sweeps[0]["points"] + sweeps[1]["points"]:
        # Who stands still earns nothing; of two failures the Wilson interval ends at z² / (2 + z²).
        assert point["diverged"] == 0
        assert point["episode_return"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "count": 2}
        assert point["success"] == pytest.approx(
            {"mean": 0.0, "low": 0.0, "high": 3.8415 / 5.8415, "count": 2}, rel=1e-4
        )
    assert (tmp_path / "robustness.png").stat().st_size > 10_000
    assert "| perception_delay [control steps] | 1 | 0.000 [0.000, 0.658] | 0.00 [0.00, 0.00] | 0 |" in (
        capsys.readouterr().out
    )


def test_the_usual_values_pass_through_the_nominal_world() -> None:
    assert parse_sweeps([]) == tuple(SWEEPS.values())
    for sweep in SWEEPS.values():
        assert sorted(sweep.values) == list(sweep.values)
        assert NOMINAL in sweep.variations()


def test_the_help_names_what_can_vary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    vary = words.partition("randomise every")[2].partition("--task")[0]
    swept = words.partition("all parameters (")[2].partition(")")[0]
    assert set(vars(NOMINAL)) <= set(re.findall(r"\w+", vary))
    assert swept.split(", ") == list(SWEEPS)


def test_sweeps_are_read_from_text() -> None:
    mass, delay, size = parse_sweeps(["mass=2,0.5,2", "action_delay=4,0", "size"])
    assert isinstance(mass, Sweep)
    assert isinstance(delay, Sweep)
    assert (mass.name, mass.unit, mass.values) == ("mass", "factor", (0.5, 2.0))
    assert delay.values == (0, 4)
    assert all(isinstance(value, int) for value in delay.values)
    assert size is SWEEPS["size"]
    assert mass.variations() == [Variation(mass=(0.5, 0.5)), Variation(mass=(2.0, 2.0))]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "frictoin=1",
            "unknown sweep 'frictoin'; allowed: action_delay, combinations, finger_start, force_limit, friction",
        ),
        ("spawn", "unknown sweep 'spawn'"),
        ("mass=", "not of the form name or name=value,value"),
        ("mass=0.5+sped=1", "(?s)the variation.*sped"),
        ("mass=0.5+speed", "variation 'speed' is not of the form name=value"),
        ("mass=0.5+mass=2", r"combination 'mass=0.5\+mass=2' gives mass more than once"),
        ("mass=0.5:2", "not of the form name or name=value,value"),
        ("size=1,9", "(?s)sweep size=9.*must be at most 1.6, got 9"),
        ("action_delay=0.5", "action_delay"),
    ],
)
def test_wrong_sweeps_are_named(entry: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_sweeps([entry])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "block"], "--sweep goes with a policy"),
        (["--policy", "zero"], "name the tasks by --task"),
        (["--policy", "zero", "random", "--task", "block"], "one policy at a time, got zero, random"),
        (["--policy", "zero", "--task", "block", "hook"], "one task at a time, got block, hook"),
        (["--policy", "zero", "--task", "block", "--vary", "mass=2"], "a world that does not vary otherwise"),
        (["--policy", "agent", "--task", "block"], "needs a checkpoint of an agent"),
    ],
)
def test_wrong_questions_are_answered_with_what_is_allowed(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments, "--sweep"]) != 0
    assert message in capsys.readouterr().err
