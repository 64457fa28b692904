"""The suite passes a provider of a foreign dialect, and catches what is wrong with others."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from gateway.contract.conformance import Exchange, ProviderSuite
from gateway.contract.errors import InvalidRequest, ProviderError, ProviderGarbled, ProviderRejected
from gateway.contract.provider import Body, Operation, Seen, Target, UpstreamRequest, Usage
from tests.support.acme_provider.acme_provider import Acme, AcmeReader, AcmeSettings

SETTINGS = AcmeSettings.model_validate(
    {"kind": "acme", "base_url": "http://127.0.0.1:9", "api_key": "acme-secret"}
)
STREAM = b'data: {"t": "Hel"}\r\n\r\n: ping\n\ndata: {"t": "lo", "done": {"in": 3, "out": 2}}\n\n'
WHOLE = b'{"t": "Hello", "done": {"in": 3, "out": 2}}'
EXCHANGES = (
    Exchange("chat", STREAM, stream=True, text="Hello", finish=("stop",), usage=Usage(3, 2)),
    Exchange("chat", WHOLE, text="Hello", finish=("stop",), usage=Usage(3, 2)),
)


class TestAcme(ProviderSuite):
    provider = Acme("acme", SETTINGS)
    exchanges = EXCHANGES


def suite(kind: type[Acme], told: tuple[Exchange, ...] = EXCHANGES) -> ProviderSuite:
    class Suite(ProviderSuite):
        provider = kind("acme", SETTINGS)
        exchanges = told

    return Suite()


class Relays(Acme):
    """Relays the upstream's text as it is."""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return ProviderRejected(body.decode(errors="replace"), status=400)


class Confuses(Acme):
    """Tells the client that its key is wrong when it is the operator's."""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return ProviderRejected("", status=status)


class Shows(Acme):
    """Puts the credential into the address."""

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        sent = super().encode(operation, body, target)
        return replace(sent, url=f"{sent.url}?key={self.settings.api_key.get_secret_value()}")


class Changes(Acme):
    """Changes the body."""

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        assert isinstance(body, dict)
        body["model"] = target.model
        return super().encode(operation, body, target)


class Counts(Acme):
    """Says something else each time."""

    calls: ClassVar[list[int]] = []

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        self.calls.append(1)
        sent = super().encode(operation, body, target)
        return replace(sent, headers=((b"x-call", str(len(self.calls)).encode()),))


class Forgets(Acme):
    """Leaves out fields without a word."""

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        return replace(super().encode(operation, body, target), dropped=())


class Ignores(Acme):
    """Asks for the public model."""

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        return super().encode(operation, body, replace(target, model=body["model"]))


class Injects(Acme):
    """Sends a header that is two."""

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        sent = super().encode(operation, body, target)
        return replace(sent, headers=((b"x-a", b"1\r\nx-b: 2"),))


class Raises(Acme):
    """Reads without care."""

    def reader(self, operation: Operation, body: Body, *, stream: bool) -> Any:
        class Careless(AcmeReader):
            def read(self, data: bytes) -> Seen:
                seen = super().read(data)
                assert seen.error is None, "careless"
                return seen

        return Careless("m", stream=stream)


class Hopes(Acme):
    """Takes every answer for a complete one."""

    def reader(self, operation: Operation, body: Body, *, stream: bool) -> Any:
        reader = super().reader(operation, body, stream=stream)
        reader.complete = True
        return reader


class Refuses(Acme):
    """Refuses fields that it does not know, which is as good as saying so."""

    def encode(self, operation: Operation, body: Body, target: Target) -> UpstreamRequest:
        sent = super().encode(operation, body, target)
        if sent.dropped:
            raise InvalidRequest("unknown field", param=sent.dropped[0])
        return sent


class TestRefuses(ProviderSuite):
    provider = Refuses("acme", SETTINGS)
    exchanges = EXCHANGES


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (Relays, "test_the_credential_shows_nowhere_but_in_a_header"),
        (Relays, "test_every_status_is_named_and_none_is_the_clients_key"),
        (Confuses, "test_every_status_is_named_and_none_is_the_clients_key"),
        (Shows, "test_the_credential_shows_nowhere_but_in_a_header"),
        (Changes, "test_encoding_is_pure"),
        (Counts, "test_encoding_is_pure"),
        (Forgets, "test_unknown_fields_go_on_or_are_announced_or_refused"),
        (Ignores, "test_the_upstream_is_asked_for_its_own_model"),
        (Injects, "test_headers_are_fit_for_the_wire"),
        (Raises, "test_garbage_is_an_error_or_silence_and_is_never_raised"),
        (Hopes, "test_an_answer_that_breaks_off_is_not_complete"),
    ],
)
def test_the_suite_catches_a_provider_that(kind: type[Acme], rule: str) -> None:
    with pytest.raises(AssertionError):
        getattr(suite(kind), rule)()


def test_the_suite_catches_a_recording_that_means_something_else() -> None:
    wrong = suite(Acme, tuple(replace(each, text="Good-bye") for each in EXCHANGES))

    with pytest.raises(AssertionError):
        wrong.test_a_recording_means_what_it_says()
    with pytest.raises(AssertionError):
        wrong.test_a_stream_cut_anywhere_means_the_same()


def test_a_recording_of_an_error_has_no_meaning() -> None:
    with pytest.raises(ProviderGarbled):
        suite(Acme, (Exchange("chat", b"{}"),)).test_a_recording_means_what_it_says()


def test_the_suite_catches_an_operation_without_a_recording() -> None:
    with pytest.raises(AssertionError):
        suite(Acme, ()).test_the_recordings_cover_every_operation()
