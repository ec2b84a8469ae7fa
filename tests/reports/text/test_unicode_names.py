"""Names in any script are rendered without reordering, losing or boxing any character."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.documents import Document
from reports.renderers.pdf import render_pdf
from reports.renderers.webhook_payload import render_webhook
from reports.report_templates.drawing import draw
from reports.text.unicode_names import NOTE, needs_shaping, printable, readable
from tests.support import documents
from tests.support.pdf_text import sheets_of

HEBREW, ROCKET = "מודל 7", "🚀"


def named(name: str, *, locale: str = "en_US") -> Document:
    full = documents.performance("summary", locale=locale)
    first = full.model_breakdown[0].model_copy(update={"model_id": name})
    return full.model_copy(update={"model_breakdown": (first, *full.model_breakdown[1:])})


def name_in(document: Document) -> str:
    return str(document.model_dump()["model_breakdown"][0]["model_id"])


def test_a_name_from_right_to_left_is_kept_to_itself_and_so_turns_no_number_beside_it() -> None:
    assert name_in(readable(named(HEBREW))) == f"\u2068{HEBREW}\u2069"


def test_nothing_is_copied_where_no_name_needs_it() -> None:
    document = named("swift-mini – größer")
    assert readable(document) is document
    assert printable(document) is document


def test_terminal_control_characters_are_removed() -> None:
    assert name_in(readable(named("bell\x07 and\x00 nul\tand tab"))) == "bell and nul\tand tab"


def test_an_override_of_the_reading_direction_is_left_out() -> None:
    assert name_in(readable(named("\u202egnp.exe"))) == "gnp.exe"


def test_what_no_font_can_draw_is_named_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "reports.text.unicode_names.characters_without_font",
        lambda letters: frozenset(set(letters) & {ROCKET, "模", "型"}),
    )
    document = printable(named(f"{ROCKET} 模型-7"))
    assert name_in(document) == "[rocket] [U+6A21 U+578B]-7"
    assert document.notes[-1] == NOTE


def test_what_the_layout_engine_has_no_font_for_is_known_beforehand(caplog: pytest.LogCaptureFixture) -> None:
    render_pdf(named("private use \ue0ff"))
    assert "U+E0FF" in name_in(printable(named("private use \ue0ff")))
    assert caplog.records == []


def test_a_locale_whose_characters_no_font_has_is_printed_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printable(named("swift-mini", locale="de_DE")).locale == "de_DE"
    monkeypatch.setattr("reports.text.unicode_names.characters_without_font", frozenset)
    assert printable(named("swift-mini", locale="zh_CN")).locale == "en_US"


def test_programs_get_names_unchanged() -> None:
    document = named(f"{HEBREW} {ROCKET}")
    assert "\u2068" not in render_webhook(document, report_id=1).decode()


def test_a_chart_with_joined_characters_is_printed_as_a_bitmap_and_others_as_lines() -> None:
    assert needs_shaping("نموذج")
    addresses = {chart.name: chart.address.split(";")[0] for chart in draw(readable(named("نموذج")))}
    assert addresses["comparison"] == "data:image/png"
    assert addresses["timeline"] == "data:image/svg+xml"


def test_end_anchored_text_is_printed_at_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    document = documents.performance("summary", days=2)
    ours = texts_on_paper(document)
    monkeypatch.setattr("reports.charts.build.for_print", lambda svg: svg)
    # Another one, if not to the eye: rendered parts of a document are cached for its next reader.
    later = document.generated_at + timedelta(microseconds=1)
    theirs = texts_on_paper(document.model_copy(update={"generated_at": later}))
    assert ours.keys() == theirs.keys()
    assert all(ours[words] == pytest.approx(theirs[words], abs=0.1) for words in ours)


def texts_on_paper(document: Document) -> dict[tuple[str, int, int], float]:
    """Return where each text of a report begins, by its words, page and height; a text with an edge occurs once."""
    sheets = sheets_of(render_pdf(document))
    return {(text.words, text.page, round(text.top)): text.left for sheet in sheets for text in sheet.texts}
