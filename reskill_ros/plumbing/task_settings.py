"""Parameter and argument ``task_settings``: settings of a task as text."""

from __future__ import annotations

from typing import Any

from reskill_core.errors import ConfigError
from reskill_core.yaml_text import parse_yaml

# Description of the parameter and argument ``task_settings``.
SETTINGS = "Settings of the task that differ from the default, as YAML: 'ordered: true' or '{ordered: true}'."


def parse_settings(text: str) -> dict[str, Any]:
    """Parse the parameter ``task_settings``; an empty text has none.

    Raises:
        ConfigError: it is not YAML, or not key: value pairs.
    """
    settings = parse_yaml(text, "task_settings", ConfigError) if text else {}
    if not isinstance(settings, dict):
        raise ConfigError(f"task_settings must hold key: value pairs, got {text!r}")
    return settings
