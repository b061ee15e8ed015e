"""``reskill evaluate``: evaluation of skill modules, and of policies on tasks."""

from __future__ import annotations

import argparse
from pathlib import Path

from reskill_core.errors import ConfigError
from reskill_core.files import require_writable_folder
from reskill_sim.cli.arguments import (
    Subparsers,
    add_settings_argument,
    add_variation_argument,
    add_verb,
    read_settings,
    read_variation,
)

_OUT = "runs/evaluation/policies"


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "evaluate",
        run,
        "evaluate a skill module in simulation (reconstruction of held-out demonstrations; return and metrics of the "
        "task with skills sampled from its prior, from N(0, I), and random actions); with --policy, success "
        "and return of policies on tasks; with --sweep, their robustness to changes of the simulated world; the last "
        "two continue where an interrupted one ended",
        "reskill evaluate runs/skills/block --data runs/data/block",
        "reskill evaluate runs/agents/clean_up --policy agent",
        "reskill evaluate runs/skills/block --policy prior fast-script --task clean_up pyramid_stack",
        "reskill evaluate --policy demonstrator --task slippery_push --vary friction=0.5:1.5 action_delay=1",
        "reskill evaluate runs/agents/clean_up --policy agent --sweep friction=0.5,1,2 action_delay",
        "reskill evaluate runs/agents/clean_up --policy agent --sweep combinations action_delay=3+speed=0.5",
    )
    parser.add_argument(
        "checkpoints",
        nargs="*",
        help="run folders or checkpoints of skill modules and agents; each is evaluated on the tasks that it fits",
    )
    parser.add_argument(
        "--policy", nargs="+", default=[], help="policies to run: zero, random, demonstrator, fast-script, prior, agent"
    )
    parser.add_argument("--task", nargs="+", default=[], help="tasks to run them on (default: the checkpoints')")
    add_variation_argument(parser)
    add_settings_argument(parser, "the checkpoint's, or the task's own")
    parser.add_argument(
        "--sweep",
        nargs="*",
        metavar="NAME=VALUE,VALUE",
        help="measure the robustness of one policy on one task: one parameter at a time is set to several values, each "
        "for all episodes; default: all parameters (friction, mass, size, action_delay, lateness, perception_delay, "
        "perception_noise, perception_bias, speed, speed_limit, lag, overshoot, unsteadiness, force_limit, "
        "finger_start); a name without values uses default values; NAME=VALUE+NAME=VALUE changes several parameters, "
        "'combinations' stands for the usual ones",
    )
    parser.add_argument(
        "--data",
        default="",
        help="a data set, usually the one the skills were trained on, for reconstruction of its held-out episodes; "
        "without it no reconstruction",
    )
    parser.add_argument("--episodes", type=int, default=250, help="episodes per measurement (default: 250)")
    parser.add_argument(
        "--out",
        default="",
        help="folder for the results (default: evaluation/ in the run folder if one checkpoint is given, "
        f"runs/evaluation/NAME for a shipped model, otherwise {_OUT})",
    )
    parser.add_argument(
        "--profile",
        default="",
        help="simulator profile (default: exact; for a skill module, that of its training data)",
    )
    parser.add_argument("--threads", type=int, default=2, help="simulation threads (default: 2)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    if options.policy:
        return _policies(options)
    if options.sweep is not None:
        raise ConfigError("--sweep goes with a policy: name one by --policy")
    return _skills(options)


def _skills(options: argparse.Namespace) -> int:
    from reskill_core.config import config_from_dict, config_to_dict
    from reskill_core.results import EPISODES_FILE, PATHS_PLOT, ROLLOUTS_PLOT, SKILLS_FILE
    from reskill_sim.evaluation import SkillEvaluationConfig, evaluate_skills

    if len(options.checkpoints) != 1:
        raise ConfigError(f"give one skill module, or policies by --policy; got {len(options.checkpoints)} checkpoints")
    if options.task:
        raise ConfigError("--task goes with --policy; a skill module is measured on the task it was made for")
    values = {name: getattr(options, name) for name in ("data", "episodes", "profile", "threads")}
    values |= {"variation": config_to_dict(read_variation(options))} if options.vary else {}
    values["task_settings"] = read_settings(options)
    document = {**values, "skills": options.checkpoints[0], "out": _out(options)}
    config = config_from_dict(SkillEvaluationConfig, document, source="the command line")
    require_writable_folder(Path(config.out), ConfigError)
    evaluation = evaluate_skills(config, show_progress=not options.quiet)
    print("\n".join(evaluation.table()))
    plots = [name for name in (ROLLOUTS_PLOT, PATHS_PLOT) if (Path(config.out) / name).is_file()]
    print(f"results in {config.out}: {', '.join((SKILLS_FILE, EPISODES_FILE, *plots))}")
    return 0


def _policies(options: argparse.Namespace) -> int:
    from reskill_core.config import config_from_dict, config_to_dict
    from reskill_core.results import EPISODES_FILE, POLICIES_FILE, ROBUSTNESS_FILE, ROBUSTNESS_PLOT
    from reskill_sim.evaluation import (
        PolicyEvaluationConfig,
        evaluate_policies,
        evaluate_robustness,
        metrics_table,
        parse_sweeps,
        policy_table,
        robustness_table,
    )

    if options.data:
        raise ConfigError("--data goes with a skill module alone; policies are measured on new episodes")
    document = {
        "policies": options.policy,
        "tasks": options.task,
        "checkpoints": options.checkpoints,
        "out": _out(options),
        "variation": config_to_dict(read_variation(options)),
        "task_settings": read_settings(options),
        "profile": options.profile or "exact",
        **{name: getattr(options, name) for name in ("episodes", "threads")},
    }
    config = config_from_dict(PolicyEvaluationConfig, document, source="the command line")
    require_writable_folder(Path(config.out), ConfigError)
    if options.sweep is None:
        results = evaluate_policies(config, show_progress=not options.quiet)
        further = metrics_table(results)
        print("\n".join([*policy_table(results), *(["", *further] if further else [])]))
        print(f"results in {config.out}: {POLICIES_FILE}, {EPISODES_FILE}")
    else:
        sweeps = parse_sweeps(options.sweep)
        print("\n".join(robustness_table(evaluate_robustness(config, sweeps, show_progress=not options.quiet))))
        print(f"results in {config.out}: {ROBUSTNESS_FILE}, {ROBUSTNESS_PLOT}")
    return 0


def _out(options: argparse.Namespace) -> str:
    """Folder for the results."""
    from reskill_core.training.run_folder import evaluation_folder

    if options.out or len(options.checkpoints) != 1:
        return options.out or _OUT
    return str(evaluation_folder(options.checkpoints[0]))
