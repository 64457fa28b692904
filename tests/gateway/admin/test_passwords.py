import asyncio
import re
import threading

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from gateway.admin.errors import SignInThrottled
from gateway.admin.passwords import MAX_WAITING, NOBODYS, Passwords

RIGHT, WRONG = SecretStr("correct horse battery"), SecretStr("correct horse batterz")
FORM = re.compile(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}")


async def test_a_password_is_kept_as_argon2id_with_the_recommended_costs() -> None:
    kept = await Passwords().hash(RIGHT)

    assert FORM.fullmatch(kept)
    assert kept != await Passwords().hash(RIGHT)  # each has a salt of its own


async def test_the_right_password_is_told_from_others() -> None:
    passwords = Passwords()
    kept = await passwords.hash(RIGHT)

    assert await passwords.is_right(RIGHT, kept)
    assert not await passwords.is_right(WRONG, kept)
    assert not await passwords.is_right(SecretStr(kept), kept)
    assert not await passwords.is_right(SecretStr(""), kept)


async def test_for_nobody_the_same_work_is_done_and_no_password_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[str] = []
    verify = Argon2Hasher.verify

    def seen(self: Argon2Hasher, password: str, kept: str) -> bool:
        verified.append(kept)
        return verify(self, password, kept)

    monkeypatch.setattr(Argon2Hasher, "verify", seen)
    assert not await Passwords().is_right(RIGHT, None)
    assert verified == [NOBODYS]
    assert FORM.fullmatch(NOBODYS)


async def test_passwords_are_hashed_in_a_thread_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once, most, threads = 0, 0, set()
    hashed = Argon2Hasher.hash

    def counted(self: Argon2Hasher, password: str, *, salt: bytes | None = None) -> str:
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        threads.add(threading.get_ident())
        try:
            return hashed(self, password, salt=salt)
        finally:
            at_once -= 1

    monkeypatch.setattr(Argon2Hasher, "hash", counted)
    passwords = Passwords()
    await asyncio.gather(*(passwords.hash(RIGHT) for _ in range(5)))

    assert most == 1
    assert threading.get_ident() not in threads


async def test_only_so_many_wait_for_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Argon2Hasher, "hash", lambda *_, **__: "hash")
    passwords = Passwords()
    asked = [asyncio.ensure_future(passwords.hash(RIGHT)) for _ in range(MAX_WAITING + 2)]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(each) for each in answers].count(SignInThrottled) == 2
    assert await passwords.hash(RIGHT) == "hash"
