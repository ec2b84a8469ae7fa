"""The report as a file of any format. What draws a format is imported when one of it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from models.documents import Document
from models.file_format import FileFormat


@dataclass(frozen=True)
class ReportFile:
    """A report in one format. The suffix is the format's, but "zip" where its CSV is several files."""

    suffix: str
    content_type: str
    write: Callable[[BinaryIO], object]


def as_file(document: Document, form: FileFormat) -> ReportFile:
    """What writes a report in a format, and how such a file is named."""
    match form:
        case FileFormat.HTML:
            from reports.renderers.html_page import write_html  # noqa: PLC0415

            return ReportFile("html", "text/html", partial(write_html, document))
        case FileFormat.PDF:
            from reports.renderers.pdf import write_pdf  # noqa: PLC0415

            return ReportFile("pdf", "application/pdf", partial(write_pdf, document))
        case FileFormat.CSV:
            from reports.renderers.csv_tables import csv_suffix, write_csv  # noqa: PLC0415

            suffix = csv_suffix(document)
            content_type = "application/zip" if suffix == "zip" else "text/csv"
            return ReportFile(suffix, content_type, partial(write_csv, document))
        case FileFormat.JSON:
            from reports.renderers.json_document import write_json  # noqa: PLC0415

            return ReportFile("json", "application/json", partial(write_json, document))
