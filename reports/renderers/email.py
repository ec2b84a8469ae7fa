"""The report as a mail: a subject, a text worth reading by itself, and HTML that old mail programs can lay out."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace

import css_inline

from models.documents import Document
from models.file_format import FileFormat
from reports.assets.template_engine import fill, style
from reports.charts.build import Chart, png
from reports.file_names import file_stem
from reports.renderers.report_file import as_file
from reports.report_templates.drawing import draw
from reports.report_templates.registry import template_of
from reports.report_templates.view import view_of
from reports.text.decisions import link_to
from reports.text.formatting import Formats
from reports.text.labels import sentence
from reports.text.unicode_names import printable, readable
from reports.view.blocks import Action, Actions, Block, Findings, Notes, Table, Text, Tiles, View, capped

EMAIL_MOST_ROWS = (50, 20, 5)
"""Rows in one table; the next fewer where the mail would grow too long."""

EMAIL_MOST_BYTES = 100_000
"""Gmail cuts a mail off at about 102 KB."""

_NARROW_COLUMNS = {
    "models": ("Model", "Requests", "p95 time", "Spend", "Errors", "Share", "Before", "Change", "Per request"),
    "applied": ("No.", "Setting", "From → to", "State", "Came of it"),
    "verdicts": ("No.", "Goal", "Guards", "Saved, measured", "Estimate"),
    "measured": ("No.", "Metric", "Before", "After", "Change", "Found"),
    "balance": ("What", "Amount", "95% interval"),
    "baselines": ("Way of routing", "Cost", "Accuracy", "Covered"),
    "movers": ("What", "Before", "Now", "Change", "In percent"),
    "complexities": ("Complexity", "Requests", "Spend", "Share", "Before", "Change", "Per request"),
    "teams": ("Team", "Requests", "Spend", "Share", "Before", "Change", "Per request"),
}
"""A mail is 640 px wide: of these tables it shows these columns."""

_LINE = 78


@dataclass(frozen=True)
class MailContent:
    """What a mail is made of. `images` are PNGs by the content id under which the HTML shows them.

    `attachments` are formats of the report, and the name of each one's file.
    """

    subject: str
    text: str
    html: str
    images: tuple[tuple[str, bytes], ...]
    attachments: tuple[tuple[FileFormat, str], ...]


def render_mail(document: Document, *, link: str = "", files_at: str | None = None) -> MailContent:
    """The mail of a report, with the address `link` where the whole of it can be opened, if there is one.

    `files_at` is for a mail without the attachments: the folder on the server where the files are.

    Its HTML is under 100 KB, with fewer rows where it must be, and says so.
    """
    view = view_of(readable(document))
    rendered = view.charts(draw(printable(document)))
    attached = _attached_text(document) if files_at is None else _left_out_text(document, files_at)
    full_report = _Elsewhere(link_to(link) if FileFormat.HTML in document.formats else "", attached)
    html = _short_enough(view, rendered, full_report)
    return MailContent(
        subject=_subject(document, view),
        text=_text(capped(view, EMAIL_MOST_ROWS[0]), full_report),
        html=html,
        images=tuple((_cid(chart), png(chart)) for chart in rendered if f"cid:{_cid(chart)}" in html),
        attachments=_attachments(document) if files_at is None else (),
    )


def inlined(page: str) -> str:
    """A page with the mail's look in its elements, where old programs want it."""
    # What is kept are the rules for narrow and dark screens, which cannot be inlined.
    inliner = css_inline.CSSInliner(
        keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False, extra_css=style("mail.css")
    )
    # The rules come first in what it gives, and are longer than programs look for the character set.
    return str(inliner.inline(page)).replace("<head>", '<head><meta charset="utf-8">', 1)


def _subject(document: Document, view: View) -> str:
    """One line, with what waits or the state of the worst tile: what a reader needs to choose whether to open it."""
    order = ("critical", "warning", "off")
    worst = [(tone, tile) for tone in order for tile in view.tiles() if tile.tone == tone]
    state = f"{worst[0][1].label.lower()} {worst[0][1].state}" if worst else ""
    state = template_of(document).mail_state(document, Formats(document.locale, document.period.zone)) or state
    if not any(chart.count for chart in document.charts.timeline):
        state = "no requests recorded"
    return " ".join(f"{view.title}, {view.period}{': ' if state else ''}{state}".split())


# --- the whole of it --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Elsewhere:
    """Where the whole report is: an address to open it at, and what is attached in a sentence; either may be empty."""

    link: str
    attached: str


_ATTACHED_AS = {FileFormat.PDF: "as a PDF", FileFormat.CSV: "as tables (CSV)", FileFormat.JSON: "as JSON"}


def _attached(document: Document) -> tuple[FileFormat, ...]:
    """What was chosen for a custom report, but for the page, which a mail is itself; of the others the PDF."""
    if document.kind != "custom":
        return (FileFormat.PDF,)
    return tuple(form for form in document.formats if form in _ATTACHED_AS)


def _attachments(document: Document) -> tuple[tuple[FileFormat, str], ...]:
    stem = file_stem(document)
    return tuple((form, f"{stem}.{as_file(document, form).suffix}") for form in _attached(document))


def _left_out_text(document: Document, files_at: str) -> str:
    names = " and ".join(name for _, name in _attachments(document))
    if not names:
        return ""
    return f"The mail server takes no mail as large as this one with its attachments: they are in {files_at}."


def _attached_text(document: Document) -> str:
    *first, last = [_ATTACHED_AS[form] for form in _attached(document)] or [""]
    ways = f"{', '.join(first)} and {last}" if first else last
    return f"The whole report is attached {ways}." if ways else ""


# --- HTML -------------------------------------------------------------------------------------------------------------


def _shortened(view: View, rows: int) -> View:
    """Return the view with at most `rows` entries of every table and list; notes say what is omitted."""

    def shorten(block: Block) -> tuple[Block, ...]:
        match block:
            case Findings() if len(block.findings) > rows:
                return replace(block, findings=block.findings[:rows]), _more(len(block.findings), rows)
            case Actions() if len(block.actions) > rows:
                return replace(block, actions=block.actions[:rows]), _more(len(block.actions), rows)
            case Notes() if len(block.notes) > rows:
                return replace(block, notes=block.notes[:rows]), _more(len(block.notes), rows)
        return (block,)

    sections = (
        replace(section, blocks=tuple(short for block in section.blocks for short in shorten(block)))
        for section in capped(view, rows).sections
    )
    return replace(view, sections=tuple(sections))


def _more(total: int, shown: int) -> Text:
    return Text(f"{shown:,} of {total:,} shown; the whole report has all.", "unknown")


def _short_enough(view: View, rendered: tuple[Chart, ...], full_report: _Elsewhere) -> str:
    """The page with as many rows as have room; where texts without end leave none for any, the first section alone."""
    for rows in EMAIL_MOST_ROWS:
        page = _html(_shortened(view, rows), rendered, full_report)
        if len(page.encode()) < EMAIL_MOST_BYTES:
            return page
    return _html(replace(view, sections=view.sections[:1]), (), full_report)


def _html(view: View, rendered: tuple[Chart, ...], full_report: _Elsewhere) -> str:
    images = [(_cid(it), it) for it in rendered]
    rules = style("mail_narrow.css", "mail_dark.css")
    page = fill("mail.html.j2", view=_narrowed(view), images=images, rules=rules, full_report=full_report)
    return inlined(page)


def _narrowed(view: View) -> View:
    """The view with the models' table cut to a mail's width."""

    def narrow(block: Block) -> Block:
        if not isinstance(block, Table) or block.name not in _NARROW_COLUMNS:
            return block
        kept = _kept(block)
        rows = tuple(tuple(row[index] for index in kept) for row in block.rows)
        return replace(block, columns=tuple(block.columns[index] for index in kept), rows=rows)

    sections = (section for section in view.sections if section.anchor in _SECTIONS)
    return replace(
        view, sections=tuple(replace(section, blocks=tuple(map(narrow, section.blocks))) for section in sections)
    )


_SECTIONS = (
    "overview", "changed", "found", "done", "applied", "charts", "models", "groups", "savings", "baselines", "budget",
    "money", "alerts", "notes",
)  # fmt: skip
"""Sections of a mail. Only the PDF has the trends' tables, as the tiles show the changes, and the config's history."""


def _kept(table: Table) -> list[int]:
    """Which columns of a table a mail has room for."""
    return [index for index, column in enumerate(table.columns) if column.title in _NARROW_COLUMNS[table.name]]


def _cid(chart: Chart) -> str:
    return f"{chart.name}@routewatch"


# --- text -------------------------------------------------------------------------------------------------------------


def _text(view: View, full_report: _Elsewhere) -> str:
    parts = [view.title, view.period, "", *_wrapped(view.headline), ""]
    for section in view.sections:
        # Of trends a mail has the sentences of what changed; the rest is in the PDF, as is the config's history.
        blocks = (it for it in section.blocks if section.anchor != "trends" or isinstance(it, Table))
        lines = [line for block in blocks for line in _lines(block)]
        if lines and section.anchor != "history":
            parts += [section.title.upper(), *lines, ""]
    facts = [f"{label}: {text}" for label, text in view.facts]
    link = f"The whole report: {full_report.link}" if full_report.link else ""
    return "\n".join([*parts, *facts, *filter(None, (link, full_report.attached))]) + "\n"


def _lines(block: Block) -> list[str]:
    match block:
        case Tiles():
            rows = [(tile.label, tile.value, tile.state, tile.change) for tile in block.tiles]
            return [
                f"{label:<24} {value:>12}  {' · '.join(filter(None, rest))}".rstrip() for label, value, *rest in rows
            ]
        case Table():
            return (
                _rows(block) if block.name == "models" else [line for text in block.as_text for line in _bullet(text)]
            )
        case Findings():
            return [
                line
                for it in block.findings
                for line in _bullet(f"{it.title} ({it.severity}): {it.text}{_where(it.where)}")
            ]
        case Actions():
            return [line for action in block.actions for line in _action(action)]
        case Text():
            return _wrapped(block.text)
        case _:
            return [line for note in block.notes for line in _bullet(note)] if isinstance(block, Notes) else []


def _action(action: Action) -> list[str]:
    """One recommendation; the address to decide at stands in a line of its own, which nothing breaks."""
    shown_text = (
        action.text,
        sentence("; ".join(action.moves)),
        action.note,
        f"({action.score})" if action.score else "",
    )
    lines = _bullet(f"{action.title} [{action.status}]: {' '.join(shown_text)}")
    if action.link:
        return [*lines, f"  {action.decide}: {action.link}"]
    return [*lines, f"  {action.decide}"] if action.decide else lines


def _where(where: str) -> str:
    return f" Where: {where}." if where else ""


def _rows(table: Table) -> list[str]:
    kept = _kept(table)
    grid = [[table.columns[index].title for index in kept]]
    grid += [[" ".join(row[index].text.split()) for index in kept] for row in table.rows]
    widths = [min(28, max(len(row[column]) for row in grid)) for column in range(len(kept))]
    cells = [[_cell(*pair) for pair in zip(row, widths, strict=True)] for row in grid]
    lines = ["  ".join([name.strip().ljust(widths[0]), *numbers]) for name, *numbers in cells]
    return [*lines, *([table.left_out] if table.left_out else [])]


def _cell(text: str, width: int) -> str:
    return (text if len(text) <= width else text[: width - 1] + "…").rjust(width)


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), _LINE, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE, break_on_hyphens=False)
