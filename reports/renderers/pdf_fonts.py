"""What a PDF may take from elsewhere while it is laid out: the house's own fonts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weasyprint.urls import URLFetcher, URLFetcherResponse

from reports.assets.fonts import DIRECTORY, FONT_SCHEME


class OwnFontsOnly(URLFetcher):  # type: ignore[misc]
    """Opens data: addresses and the house's fonts by their file names, and nothing else."""

    def __init__(self) -> None:
        super().__init__(allowed_protocols={"data"}, allow_redirects=False, fail_on_errors=True)

    def fetch(self, url: str, headers: Any = None) -> Any:
        scheme, _, name = url.partition(":")
        if scheme != FONT_SCHEME:
            return super().fetch(url, headers)
        return URLFetcherResponse(url, (DIRECTORY / Path(name).name).read_bytes())
