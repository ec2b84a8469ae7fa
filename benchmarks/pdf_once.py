"""Print eight charts and at least ten pages, and what that took, as JSON: `python -m benchmarks.pdf_once`.

No report has eight charts: these are two, of a week's performance and of its cost, one after the other. The time is
that of a process which has just started, without its imports; the peak of memory is all of the process's.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

from pypdf import PdfReader

from reports.renderers.pdf import render_pdf
from reports.report_templates.drawing import draw
from tests.support import documents

MODELS = 4
"""The fewest rows that make ten pages."""


def main() -> None:
    reports = (documents.performance("detailed", models=MODELS), documents.cost("detailed"))
    started = time.perf_counter()
    files = [render_pdf(report) for report in reports]
    seconds, peak = time.perf_counter() - started, _peak_mb()
    result = {
        "seconds": seconds,
        "peak_mb": peak,
        "mb": sum(map(len, files)) / 1_000_000,
        "pages": sum(len(PdfReader(io.BytesIO(file)).pages) for file in files),
        "charts": sum(len(draw(report)) for report in reports),
    }
    json.dump(result, sys.stdout)


def _peak_mb() -> float:
    """Return VmHWM, as the maximum of getrusage begins with that of the process that started this one."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024


if __name__ == "__main__":
    main()
