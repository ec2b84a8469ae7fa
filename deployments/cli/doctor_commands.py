"""`routewatch doctor` and the deprecated `test-delivery`."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.console import note


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check everything that Routewatch needs and print how to fix problems. Sends and changes nothing."""
    from deployments.cli.doctor_output import print_check_up

    raise typer.Exit(print_check_up(as_json=as_json))


def test_delivery(target: Annotated[str, typer.Argument(metavar="EMAIL|URL")]) -> None:
    """Deprecated: `routewatch deliveries test`."""
    from deployments.cli.delivery_test import address_of, send_to_address

    note("`test-delivery` is deprecated and will be removed in the next release: use `routewatch deliveries test`")
    raise typer.Exit(0 if send_to_address(address_of(target)) else 1)
