"""The parts that routes of administration work with."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import SecretStr

from ..access import Peppers, issue
from ..admin.administration import Administration
from ..admin.configured import Configured
from ..admin.deps import Parts
from ..admin.errors import ConfigRefused
from ..admin.passwords import Passwords
from ..admin.reload import Reloaded
from ..admin.sessions import Sessions
from ..admin.throttle import Throttle
from ..admin.tokens import Tokens
from ..config import Config, ConfigError
from ..inbound.addresses import ClientAddresses
from ..settings import Settings
from .reload import Reload
from .stores import Stores


def administration_of(
    settings: Settings,
    config: Callable[[], Config],
    stores: Stores,
    peppers: Peppers,
    reload: Callable[[], Awaitable[Reloaded]],
) -> Parts:
    """What is administered is in the stores; what the configuration says is shown beside it."""
    administration = Administration(
        stores.database,
        stores.audit,
        configured=lambda: _configured(config()),
        now=_now,
        committed=stores.feed.hasten,
    )
    passwords = Passwords()
    tokens = Tokens(_signing(settings.jwt_secret), now=_now, new_id=lambda: uuid4().hex)
    sessions = Sessions(administration, tokens, passwords, Throttle(), settings.admin_token)
    addresses = ClientAddresses(config().http.trusted_proxies)
    return Parts(
        administration,
        sessions,
        passwords,
        addresses,
        issue=lambda: issue(peppers),
        reload=reload,
    )


async def reloaded(reload: Reload) -> Reloaded:
    """
    A reload, told in administration's words.

    Raises:
        ConfigRefused: the files can't be used; nothing has changed.
    """
    try:
        staged = await reload.reload()
    except ConfigError as error:
        raise ConfigRefused(error.lines) from None
    return Reloaded(sha256=staged.source.digest, needs_restart=staged.needs_restart)


def _configured(config: Config) -> Configured:
    return Configured(config.plans, config.tenants, frozenset(config.models))


def _signing(given: SecretStr) -> SecretStr:
    """Without a secret of the deployment's, tokens end with this process."""
    return given if given.get_secret_value() else SecretStr(secrets.token_hex(32))


def _now() -> datetime:
    return datetime.now(UTC)
