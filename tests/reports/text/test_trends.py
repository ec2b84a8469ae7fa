"""Trends as sentences, in reports and mails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from models.documents import Direction, Interval, Trend
from reports.renderers.email import render_mail
from reports.report_templates.view import view_of
from reports.text.formatting import Formats
from reports.text.trends import trend_sentence
from reports.view.blocks import Notes, Table
from tests.support import documents

SHOW = Formats("en_US", "Europe/Berlin")
ERRORS: dict[str, Any] = {
    "metric": "errorRate",
    "compared_with": "samePeriodLastWeek",
    "current": 0.014,
    "before": 0.008,
    "change": Interval(estimate=0.006, low=0.004, high=0.008),
    "change_share": 0.75,
    "direction": Direction.WORSE,
}


@pytest.mark.parametrize(
    ("differs", "reported"),
    [
        (
            {},
            "Error rate rose from 0.80% to 1.4% against the same period a week before "
            "(+0.6 pp, 95% interval +0.4 pp to +0.8 pp).",
        ),
        (
            {"upto": datetime(2026, 10, 12, 12, tzinfo=UTC)},
            "Up to Oct 12, 2026, 2:00\u00a0PM UTC+2, error rate rose from 0.80% to 1.4% against the same period a week "
            "before (+0.6 pp, 95% interval +0.4 pp to +0.8 pp).",
        ),
        (
            {"direction": Direction.SAME},
            "Error rate did not clearly change against the same period a week before: 0.80% then, 1.4% now.",
        ),
        (
            {"direction": Direction.UNKNOWN, "change": None, "reason": "no data in this period"},
            "Error rate cannot be judged against the same period a week before: no data in this period.",
        ),
        (
            {
                "metric": "totalCost", "compared_with": "previousPeriod", "current": 90.0, "before": 120.0,
                "change": Interval(estimate=-30.0, low=-40.0, high=-20.0), "direction": Direction.LESS,
            },
            "Spend fell from $120.00 to $90.00 against the period before "
            "(−$30.00, 95% interval −$40.00 to −$20.00).",
        ),
    ],
)  # fmt: skip
def test_a_trend_makes_a_sentence(differs: dict[str, Any], reported: str) -> None:
    """From what to what, against which period, how certain; or the reason for none."""
    assert trend_sentence(Trend(**ERRORS | differs), SHOW) == reported


def test_a_detailed_report_has_a_sentence_for_each_trend() -> None:
    """Under each table as many as it has rows; the summary has the table alone."""
    detailed, summary = (
        next(section for section in view_of(documents.performance(depth)).sections if section.anchor == "trends")
        for depth in ("detailed", "summary")
    )
    for table, notes in zip(detailed.blocks[::2], detailed.blocks[1::2], strict=True):
        assert isinstance(table, Table)
        assert isinstance(notes, Notes)
        assert len(notes.notes) == len(table.rows)
    assert [type(block) for block in summary.blocks] == [Table]


def test_a_mail_names_only_statistically_significant_changes() -> None:
    """Its text has the sentences of changes, and none of what stayed the same."""
    text = " ".join(render_mail(documents.performance("detailed")).text.split())
    assert "Spend rose from $1,041.10 to $1,183.42 against the period before" in text
    assert "did not clearly change" not in text
    assert "cannot be judged" not in text
