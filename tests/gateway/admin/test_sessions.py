from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, update

from gateway.admin.actor import Actor, Role
from gateway.admin.administration import Administration
from gateway.admin.errors import Conflict, NotSignedIn, SignInThrottled, WrongPassword
from gateway.admin.operators import BOOTSTRAP as BOOTSTRAP_NAME
from gateway.admin.operators import OperatorPatch, update_operator
from gateway.admin.passwords import Passwords
from gateway.admin.sessions import OWNER, Sessions
from gateway.admin.tenants import NewTenant, create_tenant
from gateway.admin.tokens import LIFETIME
from gateway.contract.errors import StoreUnavailable
from gateway.store.audit import AuditLog
from gateway.store.database import Database
from gateway.store.tables import operators
from tests.support.administration import (
    BOOTSTRAP,
    CONFIGURED,
    PASSWORD,
    START,
    Clock,
    Office,
)

HERE = "192.0.2.7"
ADAM = Actor("adam", Role.ADMIN)
RIGHT, WRONG = SecretStr(PASSWORD), SecretStr("another password")
ANOTHER = SecretStr("yet another password")


@pytest.fixture
async def adam(office: Office) -> Office:
    await office.operator("adam", Role.ADMIN)
    return office


async def told(office: Office) -> list[tuple[str, str, str]]:
    return [(each["actor"], each["action"], each["object"]) for each in await office.events()]


async def test_a_password_is_exchanged_for_a_token(adam: Office) -> None:
    session = await adam.sessions.sign_in("adam", RIGHT, HERE)

    assert session.actor == ADAM == await adam.sessions.actor(session.token)
    assert session.ends == START + LIFETIME
    assert session.token not in repr(session)
    (event,) = await adam.events()
    assert (event["actor"], event["action"], event["kind"]) == ("adam", "sign_in", "session")
    assert event["after"] == {"address": HERE}


@pytest.mark.parametrize("name", ["adam", "nobody", "disabled"])
async def test_the_wrong_name_or_password_is_refused_alike_and_recorded(
    adam: Office, name: str
) -> None:
    await adam.operator("disabled", Role.OWNER, disabled=True)
    password = RIGHT if name == "disabled" else WRONG

    with pytest.raises(WrongPassword) as raised:
        await adam.sessions.sign_in(name, password, HERE)
    assert raised.value.message == "Incorrect name or password."
    assert await told(adam) == [("nobody", "sign_in_refused", name)]


async def test_a_kept_hash_is_no_credential(adam: Office) -> None:
    kept = SecretStr(adam.hashes[PASSWORD])

    with pytest.raises(WrongPassword):
        await adam.sessions.sign_in("adam", kept, HERE)
    with pytest.raises(NotSignedIn):
        await adam.sessions.actor(kept.get_secret_value())


async def test_attempts_beyond_the_throttle_are_neither_tried_nor_recorded(adam: Office) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await adam.sessions.sign_in("adam", WRONG, HERE)
    for _ in range(20):
        with pytest.raises(SignInThrottled):
            await adam.sessions.sign_in("adam", RIGHT, HERE)

    assert await told(adam) == [("nobody", "sign_in_refused", "adam")] * 5


async def test_signing_in_starts_the_count_of_a_name_anew(adam: Office) -> None:
    for _ in range(4):
        with pytest.raises(WrongPassword):
            await adam.sessions.sign_in("adam", WRONG, HERE)
    await adam.sessions.sign_in("adam", RIGHT, HERE)
    with pytest.raises(WrongPassword):
        await adam.sessions.sign_in("adam", WRONG, HERE)


async def test_the_bootstrap_token_is_an_owners(office: Office) -> None:
    assert await office.sessions.actor(BOOTSTRAP) == OWNER
    assert Actor(BOOTSTRAP_NAME, Role.OWNER) == OWNER


async def test_without_a_bootstrap_token_nobody_has_it(office: Office) -> None:
    sessions = Sessions(
        office.administration,
        office.sessions._tokens,
        office.passwords,
        office.throttle,
        SecretStr(""),
    )
    for token in ("", BOOTSTRAP):
        with pytest.raises(NotSignedIn):
            await sessions.actor(token)


@pytest.mark.parametrize("token", ["", "x", BOOTSTRAP + "x", BOOTSTRAP[:-1], "ünïcode", "a.b.c"])
async def test_any_other_text_is_nobodys_token(office: Office, token: str) -> None:
    with pytest.raises(NotSignedIn):
        await office.sessions.actor(token)


@pytest.mark.parametrize(
    "change",
    [
        {"disabled": True},
        {"role": "viewer"},
        {"role": "owner"},
        {"password": PASSWORD},
    ],
    ids=str,
)
async def test_a_token_ends_with_whatever_changes_for_its_operator(
    adam: Office, change: dict[str, object]
) -> None:
    session = await adam.sessions.sign_in("adam", RIGHT, HERE)
    async with adam.change() as opened:
        patch = OperatorPatch.model_validate(change)
        await update_operator(opened, "adam", patch, password_hash=adam.hashes[PASSWORD])

    with pytest.raises(NotSignedIn):
        await adam.sessions.actor(session.token)


@pytest.mark.parametrize("column", ["role", "tenant", "disabled", "signed_out"])
async def test_a_token_says_nothing_that_the_operators_row_does_not(
    adam: Office, column: str
) -> None:
    session = await adam.sessions.sign_in("adam", RIGHT, HERE)
    async with adam.change() as change:
        await create_tenant(change, NewTenant(id="acme"))
    later = START + timedelta(microseconds=1)
    values = {"role": "viewer", "tenant": "acme", "disabled": True, "signed_out": later}
    async with adam.database.writing() as connection:
        await connection.execute(update(operators).values({column: values[column]}))

    with pytest.raises(NotSignedIn):
        await adam.sessions.actor(session.token)


async def test_a_token_ends_with_its_operator(adam: Office) -> None:
    session = await adam.sessions.sign_in("adam", RIGHT, HERE)
    async with adam.database.writing() as connection:
        await connection.execute(delete(operators))

    with pytest.raises(NotSignedIn):
        await adam.sessions.actor(session.token)


async def test_a_token_ends_in_time(adam: Office) -> None:
    session = await adam.sessions.sign_in("adam", RIGHT, HERE)
    adam.clock.move(LIFETIME.total_seconds())

    with pytest.raises(NotSignedIn):
        await adam.sessions.actor(session.token)


async def test_signing_out_ends_all_of_an_operators_tokens(adam: Office) -> None:
    first = await adam.sessions.sign_in("adam", RIGHT, HERE)
    second = await adam.sessions.sign_in("adam", RIGHT, HERE)
    await adam.sessions.sign_out(first.actor)

    for session in (first, second):
        with pytest.raises(NotSignedIn):
            await adam.sessions.actor(session.token)
    again = await adam.sessions.sign_in("adam", RIGHT, HERE)
    assert await adam.sessions.actor(again.token) == ADAM
    assert ("adam", "sign_out", "adam") in await told(adam)


async def test_whoever_knows_the_password_may_change_it(adam: Office) -> None:
    session = await adam.sessions.sign_in("adam", RIGHT, HERE)
    await adam.sessions.change_password(ADAM, RIGHT, ANOTHER, HERE)

    with pytest.raises(NotSignedIn):
        await adam.sessions.actor(session.token)
    with pytest.raises(WrongPassword):
        await adam.sessions.sign_in("adam", RIGHT, HERE)
    await adam.sessions.sign_in("adam", ANOTHER, HERE)
    assert ("adam", "change_password", "adam") in await told(adam)


async def test_a_token_alone_does_not_change_the_password(adam: Office) -> None:
    with pytest.raises(WrongPassword):
        await adam.sessions.change_password(ADAM, WRONG, ANOTHER, HERE)
    await adam.sessions.sign_in("adam", RIGHT, HERE)


class Interrupted(Passwords):
    """Lets something happen while a password is hashed."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    async def hash(self, password: SecretStr) -> str:
        made = await super().hash(password)
        await self._meanwhile()
        return made


async def test_a_password_that_an_owner_gave_meanwhile_is_not_overwritten(adam: Office) -> None:
    owners = SecretStr("a password of the owner's")

    async def given() -> None:
        kept = await adam.passwords.hash(owners)
        async with adam.change() as change:
            await update_operator(
                change, "adam", OperatorPatch(password=owners), password_hash=kept
            )

    adam.sessions._passwords = Interrupted(given)
    with pytest.raises(NotSignedIn):
        await adam.sessions.change_password(ADAM, RIGHT, ANOTHER, HERE)

    await adam.sessions.sign_in("adam", owners, HERE)


async def test_the_bootstrap_token_has_neither_a_session_nor_a_password(office: Office) -> None:
    with pytest.raises(Conflict):
        await office.sessions.sign_out(OWNER)
    with pytest.raises(Conflict):
        await office.sessions.change_password(OWNER, RIGHT, ANOTHER, HERE)
    assert await office.events() == []


async def test_without_the_database_only_the_bootstrap_token_is_known(office: Office) -> None:
    token = office.token("adam", Role.ADMIN)
    async with Database("postgresql://lockgate@127.0.0.1:9/none?sslmode=disable") as nowhere:
        closed = Administration(
            nowhere, AuditLog.of(b"a secret"), configured=lambda: CONFIGURED, now=Clock()
        )
        sessions = Sessions(
            closed, office.sessions._tokens, office.passwords, office.throttle, SecretStr(BOOTSTRAP)
        )
        assert await sessions.actor(BOOTSTRAP) == OWNER
        with pytest.raises(StoreUnavailable):
            await sessions.actor(token)
        with pytest.raises(StoreUnavailable):
            await sessions.sign_in("adam", RIGHT, HERE)
