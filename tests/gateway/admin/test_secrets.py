"""Whatever holds a secret shows none: not as text, in a container, in an error or in a pickle."""

import pickle
from collections.abc import Callable
from random import Random
from string import ascii_lowercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from gateway.access import Key
from gateway.admin.actor import Actor, Role
from gateway.admin.deps import Parts
from gateway.admin.keys import Verifier
from gateway.admin.operators import NewOperator, OperatorPatch
from gateway.admin.routes.keys import IssuedKey
from gateway.admin.routes.sessions import PasswordChange, SignedIn, SignIn
from gateway.admin.sessions import Me, Session
from gateway.admin.tokens import Tokens
from tests.support.administration import START

PASSWORDS = st.text(ascii_lowercase + digits, min_size=12, max_size=40).map("Z{}Z".format)

HOLDERS: tuple[Callable[[str], object], ...] = (
    lambda secret: NewOperator(name="a", password=SecretStr(secret), role=Role.VIEWER),
    lambda secret: OperatorPatch(password=SecretStr(secret)),
    lambda secret: SignIn(name="a", password=SecretStr(secret)),
    lambda secret: PasswordChange(old=SecretStr(secret), new=SecretStr(secret)),
    lambda secret: Session(secret, START, Actor("a", Role.VIEWER)),
    lambda secret: SignedIn(token=secret, expires=START, actor=Me(name="a", role=Role.VIEWER)),
    lambda secret: IssuedKey(
        id="aKeyOfNobody", tenant="a", name="a", scopes=("inference",), key=secret
    ),
    lambda secret: Tokens(SecretStr(secret), now=lambda: START, new_id=str),
    lambda secret: Verifier("aKeyOfNobody", secret.encode(), "p"),
)


@pytest.mark.parametrize("made", HOLDERS)
@given(secret=PASSWORDS)
def test_a_holder_of_a_secret_does_not_show_it(made: Callable[[str], object], secret: str) -> None:
    holder = made(secret)

    for text in (str(holder), repr(holder), f"{holder}", repr([{"held": (holder,)}])):
        assert secret not in text


@pytest.mark.parametrize("made", HOLDERS[:4])
@given(secret=PASSWORDS)
def test_a_request_with_a_secret_is_not_serialised_with_it(
    made: Callable[[str], object], secret: str
) -> None:
    request = made(secret)

    assert isinstance(request, BaseModel)
    assert secret not in request.model_dump_json()
    assert secret not in str(request.model_dump())


@given(secret=PASSWORDS)
def test_a_refused_request_does_not_repeat_its_secret(secret: str) -> None:
    for sent in (
        {"name": "a", "password": secret, "role": "viewer", "more": secret},
        {"name": secret + "!", "password": secret, "role": secret},
        {"password": [secret]},
    ):
        with pytest.raises(ValidationError) as raised:
            NewOperator.model_validate(sent)
        assert secret not in str(raised.value)


def test_a_key_is_neither_shown_nor_pickled() -> None:
    key = Key.generate(Random(1))

    assert key.reveal()[16:] not in repr([key])
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_the_parts_of_administration_do_not_show_how_keys_are_made() -> None:
    assert not Parts.__dataclass_fields__["issue"].repr
