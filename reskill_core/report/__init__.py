"""Reports on agent training runs: a comparison as one self-contained HTML page."""

from reskill_core.report.figures import SkillChoices
from reskill_core.report.page import Showcase, Video, write_page
from reskill_core.report.reading import read_outcomes, read_run
from reskill_core.report.results import RESULTS_FILE, write_results
from reskill_core.report.runs import (
    AGENT_POLICY,
    AgentRun,
    Comparison,
    PolicyOutcomes,
    Variant,
    compare,
    pick_episodes,
)

__all__ = [
    "AGENT_POLICY",
    "RESULTS_FILE",
    "AgentRun",
    "Comparison",
    "PolicyOutcomes",
    "Showcase",
    "SkillChoices",
    "Variant",
    "Video",
    "compare",
    "pick_episodes",
    "read_outcomes",
    "read_run",
    "write_page",
    "write_results",
]
