"""Configuration from the environment: locations and secrets. Nothing here goes into a log or a report."""

from __future__ import annotations

import os
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr, ValidationError, field_validator

from models.access_token import parse_tokens
from models.base import DescribedModel
from models.errors import Fault, SettingsError
from models.recipient import normal_mailbox
from models.settings import Settings, faults_of, load_settings
from routewatch.database import DEFAULT_HOME, checked_address, default_address

PREFIX = "ROUTEWATCH_"
"""Prefix of every variable of Environment, case-insensitive."""

OTHERS = {
    "ROUTEWATCH_DASK_ADDRESS": "Where backfills run: `local`, or a Dask scheduler's address; needs the extra `dask`.",
    "ROUTEWATCH_DEBUG": "Set to any value to print a traceback with internal errors.",
    "PREFECT_API_URL": "The Prefect server to use. Without it `routewatch serve` starts one.",
    "PREFECT_API_AUTH_STRING": "`user:password` for that server.",
    "PREFECT_SERVER_API_AUTH_STRING": "`user:password` that `routewatch serve` requires for Prefect's UI and API.",
    "PREFECT_SERVER_API_PORT": "The port of the Prefect server that `routewatch serve` starts, as `--ui-port`.",
    "PREFECT_UI_URL": "The public URL of Prefect's UI. Links in mails and chats point there.",
    "LANGFUSE_PUBLIC_KEY": "The public key of the source `langfuse`, if its address does not include it.",
    "LANGFUSE_SECRET_KEY": "The secret key of the source `langfuse`, if its address does not include it.",
    "SSL_CERT_FILE": "A custom certificate authority, for mail and webhooks.",
}
"""Variables that are read on use, not with the others, and their meanings."""


class Environment(DescribedModel):
    """The ROUTEWATCH_* variables, except those in OTHERS."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    home: Path = DEFAULT_HOME
    """The folder that Routewatch writes to: reports, the archive, the outbox, rejected rows, and the SQLite file."""
    database_url: SecretStr | None = None
    """`postgresql://user:password@host/name` or `sqlite:///…`. Default: `routewatch.db` in `ROUTEWATCH_HOME`."""
    settings: Path | None = None
    """The settings file (JSON). Without it every key has its default."""
    smtp_host: str = "localhost"
    """The mail server."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    """The mail server's port."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """Encryption of the connection to the mail server; its certificate is verified. `none`: unencrypted."""
    smtp_username: str | None = None
    """The user name for the mail server. Without it there is no login."""
    smtp_password: SecretStr | None = None
    """The password of `ROUTEWATCH_SMTP_USERNAME`; else the Prefect Secret block `routewatch-smtp-password`."""
    mail_from: str = "routewatch@localhost"
    """The sender of mails: an address, optionally with a name in front."""
    webhook_secret: SecretStr | None = None
    """Signing secrets of webhooks, `whsec_…`, separated by spaces; else a Prefect Secret block."""
    tokens: SecretStr | None = None
    """Access tokens for the page and the HTTP interface: `name:scopes:secret`, separated by spaces."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """The log format: readable lines on a terminal and JSON elsewhere, or one format everywhere."""
    log_level: Literal["debug", "info", "warning", "error", "critical"] | None = None
    """The lowest logged level. Default: depends on the command."""
    umask: str = Field(default="077", pattern=r"^0?[0-7]{3}$")
    """The rights that new files and folders lack, in octal. `077`: this user alone; `027`: its group may read."""
    reports_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]")
    """The URL that serves `reports/` in `ROUTEWATCH_HOME`. Mails and chats then link to the report."""

    @field_validator("mail_from")
    @classmethod
    def _one_sender(cls, text: str) -> str:
        try:
            address = Address(addr_spec=parseaddr(text)[1])
        except (ValueError, IndexError, HeaderParseError):
            address = Address()
        if not (address.username and address.domain and text.isprintable()):
            raise ValueError(f"{text!r} is not a sender such as Routewatch <routewatch@example.org>")
        spec = parseaddr(text)[1]
        return text if spec.isascii() else text.replace(spec, normal_mailbox(spec))

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _any_case(cls, text: object) -> object:
        return text.lower() if isinstance(text, str) else text

    @field_validator("tokens")
    @classmethod
    def _usable_tokens(cls, tokens: SecretStr | None) -> SecretStr | None:
        if tokens is not None:
            parse_tokens(tokens.get_secret_value())
        return tokens

    @property
    def database_address(self) -> str:
        """The SQLAlchemy URL of the database with its password: for connecting, never for display."""
        if self.database_url is None:
            return default_address(self.home)
        return self.database_url.get_secret_value()

    @property
    def reports_folder(self) -> Path:
        return self.home / "reports"

    def address_of_report(self, kind: str, name: str) -> str:
        """The URL of a file in the reports folder; empty if no URL is configured."""
        return "" if self.reports_url is None else f"{self.reports_url.rstrip('/')}/{kind}/{name}"

    @property
    def archive_folder(self) -> Path:
        return self.home / "archive"

    @property
    def outbox_folder(self) -> Path:
        return self.home / "outbox"

    @property
    def dashboard_page(self) -> Path:
        return self.home / "dashboard.html"

    def load_settings(self) -> Settings:
        """The settings file that ROUTEWATCH_SETTINGS names, or the defaults. Raises SettingsError."""
        return load_settings(self.settings)


def load_environment() -> Environment:
    """Read and validate the environment. Raises SettingsError with every fault at once, without any secret's value."""
    try:
        environment = Environment.model_validate(_variables())
    except ValidationError as error:
        faults = [Fault(f"{PREFIX}{fault.path.upper()}", fault.problem) for fault in faults_of(error)]
        raise SettingsError("the environment", faults) from None
    checked_address(environment.database_address)
    return environment


# ----------------------------------------------------------------------------------------------------------------------


def _variables() -> dict[str, str]:
    """The values of this process's variables by field name."""
    found = ((name.upper(), value) for name, value in os.environ.items())
    return {name.removeprefix(PREFIX).lower(): value for name, value in found if name.startswith(PREFIX)}
