"""Every format of any report is complete: no warnings, nothing cut off, covered or blank.

ROUTEWATCH_FUZZ=20 adds twenty random documents of each template to the named cases.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from html.parser import HTMLParser
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image

from reports.charts.build import Chart, png
from reports.renderers.csv_tables import render_csv
from reports.renderers.dashboard_page import render_dashboard
from reports.renderers.email import MailContent, render_mail
from reports.renderers.html_page import render_html
from reports.renderers.json_document import render_json
from reports.renderers.markdown import render_markdown
from reports.renderers.pdf import render_pdf
from reports.renderers.webhook_payload import render_webhook
from reports.report_templates.drawing import draw
from reports.text.unicode_names import printable
from reports.text.verdicts import CHANGES_CHART
from tests.support.chart_text import chart_texts, chart_width
from tests.support.pdf_text import Sheet, Text, sheets_of
from tests.support.random_documents import BIG_CASES, CASES, TEMPLATES, Dice, random_dice, thrown

Drawn = TypeVar("Drawn")

MM = 72 / 25.4
SIDE, TOP, FOOT = 15 * MM - 0.5, 8 * MM, 5 * MM
"""The margins that no text may reach into: at the sides, and above and below the header and footer."""

OVERLAP_PT = 1.2
"""The overlap that lines of text may have."""

LEAST_PX, LEAST_ORANGE = 8, 0.01
"""Px of a chart, words aside, that have a colour of data; the share of orange, which limits have too, but for usage.

The minimum is one point of a line. Axes, grids, limits and words alone are not a chart.
"""

SLACK_PX = 3.0
"""The tolerance for an estimate of a text's width in a chart."""

SEEDS = range(int(os.environ.get("ROUTEWATCH_FUZZ", "0")))


class Rendered:
    """A random document in every format, each rendered on request, with the warnings logged meanwhile."""

    def __init__(self, template: type[Any], dice: Dice) -> None:
        self.document = thrown(template, dice)
        self.depth = dice.depth
        self.complaints: list[str] = []

    def _draw(self, render: Callable[..., Drawn], **given: Any) -> Drawn:
        with complaints() as reported:
            drawn = render(self.document, **given)
        self.complaints += reported
        return drawn

    @cached_property
    def pdf(self) -> bytes:
        return self._draw(render_pdf)

    @cached_property
    def mail(self) -> MailContent:
        return self._draw(render_mail)

    @cached_property
    def pages(self) -> list[str]:
        # The dashboard's charts have a third size, and drawing them takes longer than the rest of it.
        return [self._draw(render) for render in (render_html, render_dashboard)[: 1 + (self.depth == "detailed")]]

    @cached_property
    def json(self) -> bytes:
        return self._draw(render_json)

    @cached_property
    def csv(self) -> tuple[bytes, str]:
        return self._draw(render_csv)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        return self._draw(render_markdown), self.mail.text, self.mail.subject

    @cached_property
    def webhook(self) -> bytes:
        return self._draw(render_webhook, report_id=1)

    @cached_property
    def charts(self) -> tuple[Chart, ...]:
        return draw(printable(self.document))

    @cached_property
    def sheets(self) -> list[Sheet]:
        return sheets_of(self.pdf)


class complaints:  # noqa: N801 - reads as a word
    """Collects everything logged at WARNING or above; Python's warnings are errors in all tests."""

    def __init__(self) -> None:
        self.reported: list[str] = []
        self.handler = logging.Handler(logging.WARNING)
        self.handler.emit = lambda record: self.reported.append(f"{record.name}: {record.getMessage()}")  # type: ignore[method-assign]

    def __enter__(self) -> list[str]:
        logging.getLogger().addHandler(self.handler)
        return self.reported

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self.handler)


def _cases() -> Iterator[Any]:
    """At every change each template and each case once at least, for a release each case of each template."""
    for turn, template in enumerate(TEMPLATES):
        name = template.model_fields["template"].default
        for number, (case, dice) in enumerate(CASES.items()):
            marks = () if number % len(TEMPLATES) == turn else pytest.mark.slow
            yield pytest.param((template, dice), id=f"{name}: {case}", marks=marks)
        for seed in SEEDS:
            yield pytest.param((template, random_dice(seed)), id=f"{name}: seed {seed}")
        for case, dice in BIG_CASES.items():
            yield pytest.param((template, dice), id=f"{name}: {case}", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=_cases())
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return Rendered(*request.param)


# --- all of it --------------------------------------------------------------------------------------------------------


def test_nothing_is_complained_of(rendered: Rendered) -> None:
    assert all((rendered.pdf, rendered.mail, rendered.pages, rendered.json, rendered.csv, rendered.texts))
    assert rendered.webhook
    assert rendered.complaints == []


def test_equal_documents_have_equal_tables_and_texts_that_can_be_read(rendered: Rendered) -> None:
    assert json.loads(rendered.json) == rendered.document.model_dump(mode="json", by_alias=True)
    assert json.loads(rendered.webhook)["data"]["reportId"] == 1
    assert len(rendered.webhook) < 20_000
    assert all(text.strip() and "\x00" not in text for text in rendered.texts)
    for content in _csv_files(rendered.csv):
        head, *rows = csv.reader(io.StringIO(content))
        assert rows
        assert all(len(row) == len(head) for row in rows)


def test_no_cell_is_taken_for_a_formula(rendered: Rendered) -> None:
    cells = (cell for content in _csv_files(rendered.csv) for row in csv.reader(io.StringIO(content)) for cell in row)
    assert [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r", "-")) and not _is_number(cell)] == []


def test_markup_in_a_name_stays_a_name(rendered: Rendered) -> None:
    for page in (*rendered.pages, rendered.mail.html):
        tags = _Tags(page)
        assert "script" not in tags.seen
        assert tags.left_open == []


# --- print ------------------------------------------------------------------------------------------------------------


def test_no_text_leaves_its_page(rendered: Rendered) -> None:
    outside = [
        text
        for sheet in rendered.sheets
        for text in sheet.texts
        if text.left < SIDE or text.right > sheet.width - SIDE or text.top < TOP or text.bottom > sheet.height - FOOT
    ]
    assert outside == []


def test_no_text_stands_on_another(rendered: Rendered) -> None:
    assert [pair for sheet in rendered.sheets for pair in _covered(sheet.texts)] == []


def test_no_glyph_is_missing_in_print(rendered: Rendered) -> None:
    assert [text for sheet in rendered.sheets for text in sheet.texts if "\ufffd" in text.words] == []


def test_no_figure_is_empty_in_print(rendered: Rendered) -> None:
    painted = [count for sheet in rendered.sheets for count in sheet.painted]
    assert all(count > 2 for count in painted), painted


# --- mail -------------------------------------------------------------------------------------------------------------


def test_a_mail_is_short_enough_for_every_program(rendered: Rendered) -> None:
    assert len(rendered.mail.html.encode()) < 100_000
    assert "\n" not in rendered.mail.subject


def test_no_chart_is_blank(rendered: Rendered) -> None:
    for chart in rendered.charts:
        data, orange = _inked(chart)
        least_orange = 0.001 if rendered.document.template == "usage" else LEAST_ORANGE
        assert data >= LEAST_PX or orange >= least_orange, chart.name


def test_no_text_leaves_its_chart(rendered: Rendered) -> None:
    outside = [
        (chart.name, text)
        for chart in rendered.charts
        for text, left, right in chart_texts(chart.svg)
        if left < -SLACK_PX or right > chart_width(chart.svg) + SLACK_PX
    ]
    assert outside == []


# ----------------------------------------------------------------------------------------------------------------------


def _covered(texts: Iterable[Text]) -> Iterator[tuple[str, str]]:
    """Yield pairs of overlapping texts; a text drawn twice for its white edge counts once."""
    by_top = sorted((text for text in texts if text.words.strip(". ")), key=lambda text: text.top)
    for index, text in enumerate(by_top):
        for below in by_top[index + 1 :]:
            if below.top > text.bottom:
                break
            is_twice = below.words == text.words and abs(below.left - text.left) < 0.5
            if not is_twice and text.covers(below, at_least=OVERLAP_PT):
                yield text.words, below.words


_WORDS = re.compile(r"<text.*?</text>", re.DOTALL)


def _inked(chart: Chart) -> tuple[int, float]:
    """Return how many px have a colour of data, and which share is orange."""
    bitmap = Image.open(io.BytesIO(png(replace(chart, svg=_WORDS.sub("", chart.svg)), scale=1.0)))
    hue, saturation, value = np.moveaxis(np.asarray(bitmap.convert("HSV")), 2, 0)
    # A change's result may be grey: neither better nor worse. Elsewhere grey is no data, and near black is an axis.
    coloured = (saturation > (50 if chart.name == CHANGES_CHART else 90)) & (value > 80)
    orange = coloured & (hue >= 24) & (hue <= 34)
    return int((coloured & ~orange).sum()), float(orange.mean())


def _csv_files(rendered: tuple[bytes, str]) -> list[str]:
    content, suffix = rendered
    if suffix == "csv":
        return [content.decode()]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [archive.read(name).decode() for name in archive.namelist()]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


class _Tags(HTMLParser):
    """The names of a page's tags, and those that were not closed where they should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.left_open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "img", "br", "link", "col", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.left_open.append(tag)
