"""The secrets that the gateway was given: none may show in a log."""

from collections.abc import Iterator

from ..access import load_pepper
from ..config import Config
from ..settings import Settings, StartRefused


def pepper_of(settings: Settings) -> bytes:
    """
    The pepper of these settings, made on the first start in development.

    Raises:
        StartRefused: the folder that it is kept in can't be used.
    """
    try:
        return load_pepper(settings.key_pepper, settings.state_dir)
    except OSError as error:
        raise StartRefused(f"LOCKGATE_STATE_DIR can't be used: {error}") from None


def secrets_of(settings: Settings, config: Config, pepper: bytes) -> Iterator[str]:
    """Every secret, of the environment and of the configuration file."""
    yield pepper.decode("ascii", "replace")
    given = [settings.admin_token]
    if settings.redis_url is not None:
        given.append(settings.redis_url)
    given += [provider.api_key for provider in config.providers.values()]
    given += [k.key for tenant in config.tenants.values() for k in tenant.keys if k.key is not None]
    for secret in given:
        if value := secret.get_secret_value():
            yield value
