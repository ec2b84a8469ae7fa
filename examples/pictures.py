"""Draw docs/pictures: every page of every template, and each mail in a browser, made from the demo's weeks.

`make demo`, then `python -m examples.pictures`. Needs pdftoppm and chromium.
"""

from __future__ import annotations

import base64
import io
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from PIL import Image

from models.database import open_database
from models.documents import Document
from models.period import Period
from models.report_template import Template
from models.settings import load_settings
from reports.charts.build import png
from reports.renderers.email import render_mail
from reports.renderers.pdf import render_pdf
from reports.report_templates.drawing import draw
from reports.text.verdicts import TRIALS_CHART
from tasks.reporting.collect import document_of
from tasks.reporting.request import Request

HOME = Path("var/demo")
ZONE = ZoneInfo("Europe/Berlin")
FOURTH_WEEK = datetime(2026, 9, 28, tzinfo=ZONE), datetime(2026, 10, 5, tzinfo=ZONE)
FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
DPI = 72
COLOURS = 128
PAGES_A_ROW = 3
MAIL_WIDTHS = (360, 800)
MAIL_HEIGHT = 2_400


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for document in _documents():
        if document.depth == "detailed" and (tried := _trials(document)) is not None:
            _save(tried, "trials")
        name = f"{document.template}-{document.depth}"
        _save(_sheet(_pages(render_pdf(document))), name)
        if document.depth == "summary":
            for width in MAIL_WIDTHS:
                _save(_browsed(_mail_page(document), width), f"mail-{document.template}-{width}")


# ----------------------------------------------------------------------------------------------------------------------


def _documents() -> Iterator[Document]:
    """Yield the demo's fourth week in each template and depth."""
    engine = open_database(f"sqlite:///{HOME.absolute()}/routewatch.db")
    settings = load_settings(HOME / "settings.json")
    period = Period(FOURTH_WEEK[0].astimezone(UTC), FOURTH_WEEK[1].astimezone(UTC), ZONE.key)
    now = period.end + timedelta(hours=6, minutes=15)
    for template in sorted(Template):
        request = Request("weekly", template, period)
        for depth in ("summary", "detailed"):
            asked = replace(request, depth=depth)
            yield document_of(engine, asked, settings, now)
    engine.dispose()


def _pages(pdf: bytes) -> list[Image.Image]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["pdftoppm", "-r", str(DPI), "-png", "-", f"{folder}/page"], input=pdf, check=True)  # noqa: S603, S607 - our own
        return [Image.open(path).convert("RGB") for path in sorted(Path(folder).iterdir())]


def _trials(document: Document) -> Image.Image | None:
    """The chart of how changes were tried, alone; None of a report that has none."""
    chart = next((it for it in draw(document) if it.name == TRIALS_CHART), None)
    return None if chart is None else Image.open(io.BytesIO(png(chart, 1.5))).convert("RGB")


def _sheet(pages: list[Image.Image]) -> Image.Image:
    """Put pages side by side, with a thin line around each."""
    width, height = (side + 8 for side in pages[0].size)
    rows = -(-len(pages) // PAGES_A_ROW)
    sheet = Image.new("RGB", (width * min(len(pages), PAGES_A_ROW), height * rows), "#c8ced4")
    for number, page in enumerate(pages):
        sheet.paste(page, (number % PAGES_A_ROW * width + 4, number // PAGES_A_ROW * height + 4))
    return sheet


def _mail_page(document: Document) -> str:
    """Return the mail's HTML with its pictures inline, as a mail program would show it."""
    mail = render_mail(document)
    html = mail.html
    for content_id, image in mail.images:
        html = html.replace(f"cid:{content_id}", f"data:image/png;base64,{base64.b64encode(image).decode()}")
    return html


def _browsed(html: str, width: int) -> Image.Image:
    """Show a page as in a window of that width: in a frame, since the browser's own window has a least width."""
    with tempfile.TemporaryDirectory() as folder:
        page, frame, picture = (Path(folder) / name for name in ("mail.html", "frame.html", "mail.png"))
        page.write_text(html, encoding="utf-8")
        style = f"border:0;width:{width}px;height:{MAIL_HEIGHT}px"
        frame.write_text(f'<body style="margin:0"><iframe src="mail.html" style="{style}"></iframe>', encoding="utf-8")
        flags = ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size=1000,{MAIL_HEIGHT + 200}")
        command = ["chromium", *flags, f"--screenshot={picture}", frame.as_uri()]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own
        return Image.open(picture).convert("RGB").crop((0, 0, width, MAIL_HEIGHT))


def _save(image: Image.Image, name: str) -> None:
    # Of the colours that are there, the rare ones too: by how often they occur, green and orange would be lost.
    image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=1).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
