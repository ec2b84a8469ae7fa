"""Check that the mail server would accept a mail: connect, encrypt, greet and log in, without sending one."""

from __future__ import annotations

from functools import partial

from models.environment import Environment
from models.errors import DeliveryFailed
from models.recipient import EMAIL
from tasks.delivery.channels.smtp import greet, server_of
from tasks.delivery.secrets import SMTP_BLOCK, Secrets
from tasks.health.check import Check, CheckResult, CheckSkipped, failed, ok, warning
from tasks.health.context import CheckContext

TIMEOUT_S = 6.0

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_REMEDIES = (
    ("not trusted", "set ROUTEWATCH_SMTP_HOST to the certificate's name; SSL_CERT_FILE names one's own authority"),
    ("SMTPUTF8", "name mailboxes in ASCII: only their domains may have other letters on this server"),
    ("SECURITY to starttls", "set ROUTEWATCH_SMTP_SECURITY to starttls, or to tls (mostly port 465)"),
    ("STARTTLS", "set ROUTEWATCH_SMTP_SECURITY to tls (mostly port 465), or to none within one's own network"),
    ("refused the login", "check ROUTEWATCH_SMTP_USERNAME and _PASSWORD with the server's administrator"),
    ("set ROUTEWATCH_SMTP_USERNAME", "set ROUTEWATCH_SMTP_USERNAME and _PASSWORD"),
    ("not done within", "see that the port speaks what ROUTEWATCH_SMTP_SECURITY says: 465 is mostly tls, 587 starttls"),
    ("WRONG_VERSION", "set ROUTEWATCH_SMTP_SECURITY to starttls (mostly port 587): the server does not begin with TLS"),
    ("cannot reach", "start the server, or set ROUTEWATCH_SMTP_HOST and _PORT to where it listens"),
)  # fmt: skip
"""Remedies by text in the response; the first match wins."""


def checks(context: CheckContext) -> list[Check]:
    """Return the check of the mail server."""
    return [Check("mail server", partial(_mail_server, context))]


# ----------------------------------------------------------------------------------------------------------------------


def _mail_server(context: CheckContext) -> CheckResult:
    environment = context.environment
    mailboxes = [it.reference for it in context.recipients() if it.channel == EMAIL]
    if not mailboxes:
        raise CheckSkipped("no recipient in the settings is a mail address")
    if context.settings.delivery.mode == "files":
        raise CheckSkipped("delivery.mode is files: no mail is sent")
    password = Secrets(environment).smtp_password
    if environment.smtp_username is not None and password is None:
        remedy_text = f"set ROUTEWATCH_SMTP_PASSWORD, or the Prefect Secret block {SMTP_BLOCK}"
        return failed("ROUTEWATCH_SMTP_USERNAME is set, but there is no password", remedy_text)
    try:
        found = greet(environment.mail_from, server_of(environment, password, TIMEOUT_S), mailboxes)
    except DeliveryFailed as error:
        return failed(error.answer, _remedy(error.answer))
    return _assessed(found, environment)


def _assessed(found: str, environment: Environment) -> CheckResult:
    if environment.smtp_security == "none" and environment.smtp_host not in LOOPBACK:
        return warning(found, "set ROUTEWATCH_SMTP_SECURITY to starttls or tls: reports can be read on their way")
    return ok(found)


def _remedy(answer: str) -> str:
    fits = (remedy for word, remedy in _REMEDIES if word in answer)
    return next(fits, "ask the mail server's administrator; ROUTEWATCH_MAIL_FROM must be a sender that it accepts")
