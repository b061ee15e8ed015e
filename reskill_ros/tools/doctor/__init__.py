"""``reskill doctor``: what is wrong with this machine, the ROS graph, a driver file and what its robot publishes."""

from reskill_ros.plumbing.diagnostics import Level
from reskill_ros.tools.doctor.examination import Patient, examine
from reskill_ros.tools.doctor.findings import Finding, page

__all__ = ["Finding", "Level", "Patient", "examine", "page"]
