"""Check that reports can be rendered: the reports' font, and the libraries that lay out a PDF."""

from __future__ import annotations

import warnings

from tasks.health.check import Check, CheckResult, CheckSkipped, amount, failed, ok, warning
from tasks.health.context import CheckContext

_LIBRARIES = (
    "install Pango and HarfBuzz: "
    "Debian, Ubuntu `apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0`; "
    "Fedora `dnf install pango`; macOS `brew install pango`"
)
_AGAIN = "install Routewatch's dependencies again (`make setup`)"


def checks(_context: CheckContext) -> list[Check]:
    """Return the checks of the font, and of rendering a line as PDF."""
    return [Check("fonts", _fonts), Check("PDF", _pdf)]


# ----------------------------------------------------------------------------------------------------------------------


def _fonts() -> CheckResult:
    try:
        from reports.assets import fonts  # noqa: PLC0415 - what is checked is also whether it can be imported

        missing = [character for character in "Aé0%−≤▲" if not fonts.is_in_font(character)]
    except (ImportError, OSError) as error:
        return failed(f"the font of reports cannot be read: {error}", _AGAIN)
    if missing:
        return failed(f"{fonts.FAMILY} lacks {' '.join(missing)}", _AGAIN)
    return ok(f"{fonts.FAMILY} in {fonts.DIRECTORY}")


def _pdf() -> CheckResult:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from reports.renderers.pdf_probe import draw_specimen  # noqa: PLC0415
    except OSError as error:
        return failed(f"WeasyPrint cannot load a library: {str(error).splitlines()[0]}", _LIBRARIES)
    except ImportError as error:
        return failed(f"WeasyPrint cannot be imported: {error}", _AGAIN)
    try:
        specimen = draw_specimen()
    except OSError as error:
        raise CheckSkipped(f"the font cannot be read: {error}") from None
    by = f"WeasyPrint {specimen.weasyprint_version} with Pango {specimen.pango_version}"
    if not specimen.pdf.startswith(b"%PDF"):
        return failed(f"what {by} drew is no PDF", _AGAIN)
    if not specimen.subsets:
        return warning(f"{by} draws, but leaves fonts whole: HarfBuzz-Subset is missing", _LIBRARIES)
    return ok(f"a line was drawn by {by}: {amount(len(specimen.pdf))}")
