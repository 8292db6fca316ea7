"""How commands tell what is wrong with definitions."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connect.config.cue.errors import Fault

__all__ = ["passed_over", "shown_faults"]


def passed_over(file: str) -> str:
    """Say that a file in a directory holds no function."""
    return f"{file} has no field `function` and is passed over"


def shown_faults(faults: "Sequence[Fault]") -> str:
    """Write every fault for the terminal that stderr may be."""
    from connect.config.cue.printer import render_faults

    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    text = render_faults(faults, color=color, limit=len(faults))
    return text.rstrip("\n")
