"""The guide "Add a skill model", followed literally: its files, installed, trained and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from skill_fixtures import TASK, write_reaching_data

GUIDE = Path(__file__).parents[2] / "docs" / "add_a_skill_model.md"
_BLOCK = re.compile(r"```(?:toml|python|yaml)\n# (?P<path>\S+)\n(?P<content>.*?)```", re.DOTALL)

ACT = f"""
import sys, numpy as np
from reskill_core.runtime import load_policy
policy = load_policy("runs/skills/glide")
policy.reset([0, 1])
actions = [policy.act(np.full((2, {TASK.obs.dim}), 0.7)).action for _ in range(10)]
assert actions[0].shape == (2, 4) and all(action.any() for action in actions)
assert "torch" not in sys.modules
"""


def test_the_guide_leads_to_a_policy(tmp_path: Path) -> None:
    files = {match["path"]: match["content"] for match in _BLOCK.finditer(GUIDE.read_text())}
    assert sorted(files) == ["glide.yaml", "glide_skills/kind.py", "glide_skills/model.py", "pyproject.toml"]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    write_reaching_data(tmp_path / "runs" / "data" / "block")
    site = tmp_path / "site"
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))

    def run(*command: str) -> None:
        environment = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(site))
    run(sys.executable, "-m", "pip", "install", *options, ".")
    quick = ("steps=20", "validate_every=10", "log_every=10", "validation_fraction=0.2")
    run("reskill", "train-skills", "glide.yaml", "--quiet", *quick)
    run(sys.executable, "-c", ACT)
