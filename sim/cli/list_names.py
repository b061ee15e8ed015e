"""``reskill list``: available tasks, demonstrators, profiles, configurations and models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from reskill_core.resources import config_folder, shipped_models
from reskill_sim.cli.arguments import Subparsers, add_verb


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    add_verb(
        subparsers,
        "list",
        run,
        "list tasks, demonstrators, profiles, shipped configurations and models",
        "reskill list",
    )


def _written(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and values of settings as for ``--task-settings``."""
    for name, value in settings.items():
        yield name, json.dumps(value).replace('"', "").replace(" ", "")


def run(options: argparse.Namespace) -> int:
    """Print the names."""
    from reskill_sim.families import families, get_task

    print("tasks:")
    for family in families():
        for name in family.tasks:
            spec = get_task(name).spec
            demonstrators = ", ".join(family.demonstrators(name)) or "none"
            print(f"  {name:15} {spec.description}; horizon {spec.horizon}; demonstrators: {demonstrators}")
            if spec.settings:
                print(f"  {'':15} settings: {', '.join(f'{key}={value}' for key, value in _written(spec.settings))}")
    for family in families():
        print(f"simulator profiles of the {family.name} tasks: {', '.join(family.profiles)}")
    folder = config_folder()
    print("configurations:")
    for path in sorted(folder.rglob("*.yaml")):
        print(f"  {path.relative_to(folder)}")
    print("trained models:")
    for name in shipped_models():
        print(f"  {name}")
    return 0
