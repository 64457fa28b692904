"""What administration refuses, in the one shape that every error of the gateway has."""

from collections.abc import Iterable

from ..contract.errors import GatewayError


class NotSignedIn(GatewayError):
    """No token, or one that is malformed, expired, signed out or another service's."""

    status, code = 401, "invalid_token"

    def __init__(self) -> None:
        super().__init__("Sign in first: the request carries no valid administration token.")


class WrongPassword(GatewayError):
    """Unknown name, wrong password or a disabled operator: the answer never says which."""

    status, code = 401, "invalid_credentials"

    def __init__(self) -> None:
        super().__init__("Incorrect name or password.")


class Forbidden(GatewayError):
    """The operator is known and its role does not allow this."""

    status, code = 403, "forbidden"

    def __init__(self) -> None:
        super().__init__("Your role does not allow this.")


class NotFound(GatewayError):
    """There is no such object, or it is another tenant's: the answer is the same."""

    status, code = 404, "not_found"

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no such {kind}.")


class ConfigRefused(GatewayError):
    """The configuration file can't be used; nothing has changed. The message has every fault."""

    status, code = 400, "config_refused"

    def __init__(self, faults: Iterable[str]) -> None:
        super().__init__("\n".join(("The configuration file can't be used.", *faults)))


class Conflict(GatewayError):
    """The request contradicts what is there; `code` says how."""

    status = 409

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code


class ReadOnly(Conflict):
    """The object is the configuration file's, which alone can change it."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"This {kind} is written in the configuration file and is changed there.",
            code="read_only",
        )


class VersionMismatch(GatewayError):
    """Somebody else changed the object since it was read; nothing was changed."""

    status, code = 412, "version_mismatch"

    def __init__(self) -> None:
        super().__init__("The object has changed since it was read: read it again.")


class VersionRequired(GatewayError):
    """A change has to say which version it is meant for."""

    status, code = 428, "version_required"

    def __init__(self) -> None:
        super().__init__('Send If-Match with the ETag of what you read, or "*" to insist.')


class SignInThrottled(GatewayError):
    """Too many attempts from this address, or for this name."""

    status, code, retryable = 429, "too_many_attempts", True

    def __init__(self, retry_after: float) -> None:
        super().__init__("Too many attempts to sign in: wait.", retry_after=retry_after)
