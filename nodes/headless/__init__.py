"""Runs workflows in API format without ComfyUI."""

from .check import find_problems
from .comfy_nodes import COMFY_NODES
from .execute import Report, run
from .workflow import WorkflowError, assign, name_of, plain, read_workflow

__all__ = [
    "COMFY_NODES",
    "Report",
    "WorkflowError",
    "assign",
    "find_problems",
    "name_of",
    "plain",
    "read_workflow",
    "run",
]
