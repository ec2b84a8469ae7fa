"""The alerts that fired in a report's period, as a table and in a sentence."""

from __future__ import annotations

from models.documents import FiredAlert, PerformanceReport
from reports.text.alerts import amount, rule_words
from reports.text.formatting import Formats
from reports.text.unicode_names import kept_to_itself
from reports.view.blocks import Cell, Table, Text, table

MOST_NAMED = 3


def fired_table(document: PerformanceReport, show: Formats) -> Table:
    """Each alert that fired in the period, by when."""
    rows = [
        (
            Cell(alert.severity, tone=alert.severity),
            Cell(rule_words(alert.rule)),
            Cell(alert.subject or "all models"),
            Cell(amount(alert.rule, alert.value, show)),
            Cell(amount(alert.rule, alert.threshold, show) + (" learned" if alert.learned else "")),
            Cell(show.instant(alert.fired_at)),
            Cell("still fires" if alert.resolved_at is None else show.instant(alert.resolved_at)),
        )
        for alert in document.fired_alerts
    ]
    columns = "<Severity | <Alert | <Where | Last value | Limit | <Fired | <Over"
    return table("fired", "Alerts that fired", columns, rows)


def fired_words(alert: FiredAlert, show: Formats) -> str:
    """An alert that fired, in a few words: what, of what, when."""
    of = f" of {kept_to_itself(alert.subject)}" if alert.subject else ""
    until = "still" if alert.resolved_at is None else f"until {show.instant(alert.resolved_at)}"
    return f"{rule_words(alert.rule)}{of} from {show.instant(alert.fired_at)}, {until}"


def fired_text(document: PerformanceReport, show: Formats) -> tuple[Text, ...]:
    """How many alerts fired, the most severe by name."""
    fired = sorted(document.fired_alerts, key=lambda it: (it.severity != "critical", it.fired_at))
    if not fired:
        return ()
    still = sum(it.resolved_at is None for it in fired)
    named = "; ".join(fired_words(it, show) for it in fired[:MOST_NAMED])
    more = f"; and {show.count(len(fired) - MOST_NAMED)} more" if len(fired) > MOST_NAMED else ""
    firing = f", {show.count(still)} of them still" if still else ""
    return (Text(f"{show.count(len(fired))} {'alert' if len(fired) == 1 else 'alerts'} fired{firing}: {named}{more}."),)
