"""Check that webhooks and chats can be reached by the rules of sending; posts nothing."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from models.errors import DeliveryFailed
from models.recipient import EMAIL, WEBHOOK, Recipient
from tasks.delivery.channels.http import ProbeResult, probe
from tasks.delivery.channels.webhook_signature import WebhookMessage, signed_headers
from tasks.delivery.secrets import Secrets
from tasks.health.check import Check, CheckResult, CheckSkipped, failed, ok, warning
from tasks.health.context import CheckContext

TIMEOUT_S = 6.0

SOON = timedelta(days=7)

_REMEDIES = (
    ("not public", "in one's own network delivery.allowPrivateAddresses allows it; else correct the address"),
    ("unencrypted", "use https: in delivery.recipients, or an address in one's own network"),
    ("CERTIFICATE_VERIFY_FAILED", "it needs a certificate for this name; SSL_CERT_FILE names one's own authority"),
    ("WRONG_VERSION", "the receiver speaks no TLS at this port: correct the port"),
    ("neither a variable", "set the variable, or make the Secret block in Prefect"),
    ("is no URL", "put the receiver's whole URL into it"),
    ("not known", "correct the host in delivery.recipients, or see that this machine's name server knows it"),
    ("name resolution", "see that this machine's name server answers (/etc/resolv.conf)"),
)  # fmt: skip
_UNREACHABLE = "see that the receiver listens there, and that no firewall is in between"


def checks(context: CheckContext) -> list[Check]:
    """Return one check per address, and one for the signing secret."""
    try:
        found = [it for it in context.recipients() if it.channel != EMAIL]
    except CheckSkipped:
        return [Check("webhooks", lambda: _settings_needed(context))]
    secret = [Check("webhook secret", partial(_secret, context))]
    return secret + [Check(f"webhook {it.reference}", partial(_receiver, context, it)) for it in found]


# ----------------------------------------------------------------------------------------------------------------------


def _settings_needed(context: CheckContext) -> CheckResult:
    context.recipients()
    return ok("")


def _secret(context: CheckContext) -> CheckResult:
    if not any(it.channel == WEBHOOK for it in context.recipients()):
        raise CheckSkipped("no recipient in the settings is a webhook")
    keys = Secrets(context.environment)
    try:
        signed_headers(WebhookMessage("msg_doctor", b"{}"), "", keys.webhook, context.clock())
    except DeliveryFailed:
        remedy_text = (
            "set ROUTEWATCH_WEBHOOK_SECRET to whsec_ and base64 of 24 to 64 random bytes, and give it to the receiver"
        )
        return failed("nothing to sign with, and nothing is sent unsigned", remedy_text)
    return ok("webhooks can be signed")


def _receiver(context: CheckContext, recipient: Recipient) -> CheckResult:
    delivery = context.settings.delivery
    if delivery.mode == "files":
        raise CheckSkipped("delivery.mode is files: nothing is posted")
    resolved = recipient
    try:
        resolved = Secrets(context.environment).resolved(recipient)
        found = probe(resolved, allow_private_addresses=delivery.allow_private_addresses, timeout_s=TIMEOUT_S)
    except DeliveryFailed as error:
        answer = error.answer.replace(resolved.address, recipient.reference) if resolved.address else error.answer
        return failed(answer, next((it for word, it in _REMEDIES if word in answer), _UNREACHABLE))
    return _assessed(context, found)


def _assessed(context: CheckContext, found: ProbeResult) -> CheckResult:
    if found.certificate_until is None:
        return ok(f"{found.address} answers, not encrypted")
    said = f"{found.address} answers by {found.protocol}, with a certificate until {found.certificate_until:%Y-%m-%d}"
    if found.certificate_until < context.clock() + SOON:
        return warning(said, "the receiver's certificate has to be renewed by then")
    return ok(said)
