"""Commands that look whether all is well: a check-up, and a sample that is sent to somebody."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Check all that Routewatch needs, and say how to mend what is wrong. Nothing is sent, nothing is changed."""
    from deployments.doctor import tell_check_up

    raise typer.Exit(tell_check_up(as_json=as_json))
