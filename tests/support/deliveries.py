"""Reports that wait for their delivery."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, insert

from models.database import writing
from models.documents import PerformanceReport
from models.schema import REPORT
from tasks.delivery.queue import enqueue
from tests.support import documents

NOW = datetime(2026, 9, 8, 6, tzinfo=UTC)


def stored(engine: Engine, *addresses: tuple[str, str], document: PerformanceReport | None = None) -> int:
    """A report with its deliveries queued at NOW."""
    document = document or documents.empty()
    with writing(engine) as connection:
        report_id: int = connection.execute(
            insert(REPORT)
            .values(
                kind=document.kind,
                template=document.template,
                period_start=document.period.start,
                period_end=document.period.end,
                parameters_hash=str(addresses),
                parameters={},
                document=document.model_dump(mode="json", by_alias=True),
                created_at=NOW,
            )
            .returning(REPORT.c.id)
        ).scalar_one()
        enqueue(connection, report_id, addresses, NOW)
    return report_id
