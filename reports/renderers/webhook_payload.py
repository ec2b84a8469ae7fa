"""The report as the body of a webhook: what happened in short, never above 20 KB."""

from __future__ import annotations

import json
from typing import Any

from models.documents import Document
from models.text_direction import cut_off, with_directions_escaped
from reports.report_templates.view import headline, view_of
from reports.text.formatting import Formats
from reports.text.verdicts import trial_text, trials_of
from reports.view.blocks import Action
from reports.view.sections import actions_of, findings_of

WEBHOOK_MOST_BYTES = 20_000
"""Standard Webhooks asks for payloads under 20 KB."""

_DROPPED_FIRST = ("notes", "bottlenecks", "appliedOptimizations", "recommendations")
"""What somebody must decide on goes last."""

_MOST_ITEMS = 10
_MOST_CHARACTERS = 400


def render_webhook(document: Document, *, report_id: int) -> bytes:
    """A Standard Webhooks payload. Where it would grow too long, lists are left out, and `leftOut` names them."""
    data = _data(document, report_id)
    for name in ("", *_DROPPED_FIRST):
        if name:
            data[name] = []
            data["leftOut"] = [*data["leftOut"], name]
        body = _body(document, data)
        if len(body) < WEBHOOK_MOST_BYTES:
            return body
    return _body(document, {key: data[key] for key in ("reportId", "template", "headline", "period", "leftOut")})


def _body(document: Document, data: dict[str, Any]) -> bytes:
    payload = {"type": f"report.{document.kind}", "timestamp": document.generated_at.isoformat(), "data": data}
    return with_directions_escaped(
        json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    ).encode()


def _data(document: Document, report_id: int) -> dict[str, Any]:
    dumped = document.model_dump(mode="json", by_alias=True)
    show = Formats(document.locale, document.period.zone)
    summary = document.headline_numbers.model_dump(mode="json", by_alias=True, exclude={"period", "cost_trend"})
    return {
        "reportId": report_id,
        "schemaVersion": document.schema_version,
        "template": document.template,
        "title": view_of(document).title,
        "headline": _short(headline(document)),
        "period": dumped["period"],
        "kpis": [{key: kpi[key] for key in ("name", "value", "unit", "state", "target")} for kpi in dumped["kpis"]],
        "summary": summary,
        "bottlenecks": _bottlenecks(document, show),
        "recommendations": _recommendations(document, show),
        "appliedOptimizations": _applied(document, show),
        "notes": [_short(note) for note in document.notes[:_MOST_ITEMS]],
        "leftOut": [],
    }


def _bottlenecks(document: Document, show: Formats) -> list[dict[str, str]]:
    pairs = zip(document.found_bottlenecks, findings_of(document, show), strict=True)
    return [
        {
            "type": found.type,
            "severity": found.severity,
            "text": _short(shown_text.text),
            "where": _short(shown_text.where),
        }
        for found, shown_text in list(pairs)[:_MOST_ITEMS]
    ]


def _recommendations(document: Document, show: Formats) -> list[dict[str, Any]]:
    pairs = zip(document.recommendations, actions_of(document.recommendations, show), strict=True)
    return [
        {
            "type": item.type,
            "status": item.status,
            "optimizationId": item.optimization_id,
            "text": _short(shown_text.text) + _decide(shown_text),
            "note": _short(shown_text.note),
            "decideUrl": shown_text.link or None,
        }
        for item, shown_text in list(pairs)[:_MOST_ITEMS]
    ]


def _decide(shown_text: Action) -> str:
    """Return the text for receivers that show only text."""
    return (
        f" {shown_text.decide}: {shown_text.link}"
        if shown_text.link
        else f" {shown_text.decide}"
        if shown_text.decide
        else ""
    )


def _applied(document: Document, show: Formats) -> list[dict[str, Any]]:
    return [
        {
            "optimizationId": trial.changes[0].optimization_id,
            "state": trial.state,
            "text": _short(trial_text(trial, show)),
        }
        for trial in trials_of(document.config_changes)[-_MOST_ITEMS:]
    ]


def _short(text: str) -> str:
    return cut_off(text, _MOST_CHARACTERS)
