"""What an operator is told of targets: one line when something changes, none for a request."""

import structlog

from .circuit import Circuit
from .credential import Credential

_log = structlog.stdlib.get_logger("lockgate.health")

FAILING = "failing"
"""The reason where requests or probes failed; otherwise it is the credential's."""


def target_opened(circuit: Circuit) -> None:
    """It failed too often."""
    _log.warning(
        "target_alert",
        target=circuit.name,
        provider=circuit.credential.provider,
        reason=FAILING,
        kept=circuit.kept,
    )


def target_closed(circuit: Circuit) -> None:
    """It works again."""
    _log.info("target_back", target=circuit.name, provider=circuit.credential.provider)


def credential_disabled(credential: Credential, target: str) -> None:
    """All targets of the provider are left alone, because of what this one answered."""
    _log.warning(
        "target_alert", target=target, provider=credential.provider, reason=credential.reason
    )


def credential_enabled(credential: Credential) -> None:
    """It was accepted again."""
    _log.info("credential_back", provider=credential.provider)


def probe_says_nothing(provider: str) -> None:
    """It was answered, but not by something that knows how the provider is: its path is wrong."""
    _log.warning("probe_says_nothing", provider=provider)
