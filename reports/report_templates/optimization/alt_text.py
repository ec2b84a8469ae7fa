"""What the chart of changes shows, for whoever cannot see it."""

from __future__ import annotations

from models.documents import (
    OptimizationReport,
)
from reports.text.formatting import Formats
from reports.text.verdicts import drawable, goal_words, state_word


def changes_text(document: OptimizationReport, show: Formats) -> str:
    """Each optimization's goal before and after."""
    told = [
        f"{trial.number} {trial.settings(show)[0]}, {state_word(trial.state)}: "
        f"{goal_words(trial.goal, show) if trial.goal else 'no goal is known'}"
        for trial in drawable(document)
    ]
    return f"Changes of the goals of {len(told)} optimizations against before. {'. '.join(map(str.strip, told))}."
