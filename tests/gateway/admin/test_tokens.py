import base64
import json
from dataclasses import replace

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.admin.tokens import AUDIENCE, ISSUER, LIFETIME, MAX_TOKEN, Claims, Tokens
from tests.support.administration import SECRET, START, Clock

CLAIMS = Claims("anna", "admin", "acme", 1_769_860_800_000_001)


def tokens_of(secret: str = SECRET, clock: Clock | None = None) -> Tokens:
    return Tokens(SecretStr(secret), now=clock or Clock(), new_id=lambda: "one-id")


def forged(**changes: object) -> str:
    """A token under the right key whose claims are not those that we would write."""
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(START.timestamp()),
        "exp": int((START + LIFETIME).timestamp()),
        "sub": "anna",
        "role": "admin",
        "tenant": "acme",
        "since": CLAIMS.since,
        "jti": "one-id",
    }
    kept = {k: v for k, v in {**payload, **changes}.items() if v != "missing"}
    return jwt.encode(kept, tokens_of()._key, algorithm="HS256")


@pytest.mark.parametrize("claims", [CLAIMS, replace(CLAIMS, tenant=None)])
def test_a_token_says_whose_it_is(claims: Claims) -> None:
    token, ends = tokens_of().issue(claims)

    assert tokens_of().read(token) == claims
    assert ends == START + LIFETIME
    assert len(token) < MAX_TOKEN / 3


def test_a_token_holds_for_a_quarter_of_an_hour() -> None:
    clock = Clock()
    tokens = tokens_of(clock=clock)
    token, _ = tokens.issue(CLAIMS)

    clock.move(LIFETIME.total_seconds() - 1)
    assert tokens.read(token) == CLAIMS
    clock.move(1)
    assert tokens.read(token) is None


def test_a_token_of_another_secret_is_none_of_ours() -> None:
    token, _ = tokens_of("another secret").issue(CLAIMS)

    assert tokens_of().read(token) is None


def test_forging_what_we_would_write_needs_the_secret_only() -> None:
    assert tokens_of().read(forged()) == CLAIMS


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"aud": "lockgate-inference"},
        {"aud": [AUDIENCE + "x"]},
        *({name: "missing"} for name in ("iss", "aud", "exp", "iat", "sub", "role", "jti")),
        {"since": "missing"},
        {"since": "1769860800000001"},
        {"tenant": ["acme"]},
        {"role": 3},
        {"sub": ""},
        {"exp": int(START.timestamp())},
        {"nbf": 10**12},
    ],
    ids=str,
)
def test_each_claim_is_checked(changes: dict[str, object]) -> None:
    read = tokens_of().read(forged(**changes))

    assert read is None or read == replace(CLAIMS, name="")  # whom no operator is called


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_algorithm_is_not_the_tokens_to_choose(algorithm: str) -> None:
    payload = jwt.decode(forged(), options={"verify_signature": False})
    key = tokens_of()._key.ljust(64, b"\0")

    assert tokens_of().read(jwt.encode(payload, key, algorithm=algorithm)) is None


def test_a_token_without_a_signature_is_none() -> None:
    header, payload, _ = forged().split(".")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode())

    for head in (header, unsigned.decode().rstrip("=")):
        assert tokens_of().read(f"{head}.{payload}.") is None


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert tokens_of().read(text) is None


@given(st.integers(min_value=0), st.characters())
def test_a_token_that_was_changed_anywhere_is_none(at: int, character: str) -> None:
    token = forged()
    place = at % len(token)
    changed = token[:place] + character + token[place + 1 :]
    read = tokens_of().read(changed)

    # The last character of each part has bits that mean nothing.
    assert changed == token or read in {None, CLAIMS}


def test_a_very_long_text_is_not_looked_at() -> None:
    assert tokens_of().read(forged() + "." * MAX_TOKEN) is None
