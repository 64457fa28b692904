"""The secrets that the gateway was given: none may show in a log."""

from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from ..access import load_pepper
from ..config import Config
from ..settings import Settings, StartRefused


def peppers_of(settings: Settings) -> tuple[bytes, ...]:
    """
    The pepper of these settings, made on the first start in development, and the older ones.

    Raises:
        StartRefused: the folder that it is kept in can't be used.
    """
    try:
        return (load_pepper(settings.key_pepper, settings.state_dir), *settings.older_peppers)
    except OSError as error:
        raise StartRefused(f"LOCKGATE_STATE_DIR can't be used: {error}") from None


def secrets_of(settings: Settings, config: Config, peppers: Sequence[bytes]) -> Iterator[str]:
    """Every secret, of the environment and of the configuration file."""
    for pepper in peppers:
        yield pepper.decode(errors="replace")
    given = [settings.admin_token, settings.metrics_token, settings.jwt_secret]
    given += [provider.api_key for provider in config.providers.values()]
    given += [k.key for tenant in config.tenants.values() for k in tenant.keys if k.key is not None]
    for secret in given:
        if value := secret.get_secret_value():
            yield value
    for address in (settings.redis_url, settings.database_url, config.upstream.proxy):
        yield from _within(address)


def _within(address: SecretStr | None) -> Iterator[str]:
    """What is secret of a store's address: all of it, and the password in both of its forms."""
    if address is None or not (value := address.get_secret_value()):
        return
    yield value
    try:
        password = urlsplit(value).password
    except ValueError:  # no address at all, which whoever would use it refuses
        return
    if password:
        yield password
        yield unquote(password)
