import base64
import hmac
import json
import pickle
import re
import secrets
from collections import Counter
from collections.abc import Callable
from math import log2
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.key import ALPHABET, SCANNER, SECRET_LENGTH, Key, checksum, read_stored
from gateway.access.pepper import Pepper

PEPPER = b"a pepper of the tests"


def a_key(seed: int = 7) -> Key:
    return Key.generate(Random(seed))


keys = st.integers(0, 2**64).map(a_key)


@given(keys)
def test_a_generated_key_is_read_back(key: Key) -> None:
    read = Key.parse(key.reveal())

    assert read is not None
    assert read.public_id == key.public_id
    assert read.digest(Pepper(PEPPER)) == key.digest(Pepper(PEPPER))
    assert read.reveal() == key.reveal()


@given(keys, st.data())
def test_a_key_with_any_one_character_changed_is_refused(key: Key, data: st.DataObject) -> None:
    text = key.reveal()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda char: char != text[place]))

    assert Key.parse(text[:place] + other + text[place + 1 :]) is None


def test_every_change_of_one_character_to_another_of_the_alphabet_is_refused() -> None:
    text = a_key().reveal()

    for place, own in enumerate(text):
        for other in ALPHABET.replace(own, ""):
            assert Key.parse(text[:place] + other + text[place + 1 :]) is None


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_text_that_is_no_key_is_refused_without_an_error(text: str) -> None:
    assert Key.parse(text) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text[:-1],
        lambda text: text * 100,
        lambda text: text.replace("lg_", "lg-"),
        lambda text: text[:20] + "\u0661" + text[21:],
    ],
)
def test_a_key_in_any_other_form_is_refused(change: Callable[[str], str]) -> None:
    assert Key.parse(change(a_key().reveal())) is None


def test_the_checksum_is_crc_32_in_base62_with_the_most_significant_digit_first() -> None:
    unsigned = "lg_000000000000_" + "0" * 32
    digits = checksum(unsigned)
    number = 0
    for digit in digits:
        number = number * 62 + ALPHABET.index(digit)

    assert len(digits) == 6
    assert number == _crc_32(unsigned.encode())


def _crc_32(data: bytes) -> int:
    """The bitwise definition of CRC-32/ISO-HDLC, apart from zlib."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@given(st.text(ALPHABET, min_size=1, max_size=60))
def test_a_checksum_has_six_digits_whatever_it_is_of(text: str) -> None:
    assert re.fullmatch("[0-9A-Za-z]{6}", checksum(text))


def test_the_digest_is_hmac_sha_256_of_the_secret_under_the_pepper() -> None:
    key = a_key()
    secret = key.reveal()[16:48].encode()

    assert key.digest(Pepper(PEPPER)) == hmac.digest(PEPPER, secret, "sha256")
    assert key.digest(Pepper(PEPPER)) != key.digest(Pepper(b"another pepper"))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_pepper_authenticates_as_the_standard_library_does(secret: bytes, text: bytes) -> None:
    pepper = Pepper(secret)

    assert pepper.mac(text) == hmac.digest(secret, text, "sha256")
    assert pepper.mac(text) == pepper.mac(text), "nothing of a message stays"


@given(keys)
def test_the_stored_form_is_read_back_and_is_no_key(key: Key) -> None:
    stored = key.stored(PEPPER)

    assert read_stored(stored) == (key.public_id, key.digest(Pepper(PEPPER)))
    assert Key.parse(stored) is None
    assert Key.parse(stored.split(":")[1]) is None


@given(st.text())
def test_text_that_is_no_stored_form_is_refused(text: str) -> None:
    assert read_stored(text) is None


def test_a_key_is_masked_wherever_it_could_be_written() -> None:
    key = a_key()
    secret = key.reveal()[16:48]

    for shown in (repr(key), str(key), f"{key}", f"{[key]!r}"):
        assert secret not in shown
        assert key.public_id in shown
    with pytest.raises(TypeError):
        json.dumps(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_the_scanner_finds_every_generated_key_in_text() -> None:
    rng = Random(1)
    surroundings = ("{}", "key={}", '"{}",', "Bearer {}\n", "({})", "https://h/?k={}&x=1")

    for count in range(20_000):
        text = Key.generate(rng).reveal()
        around = surroundings[count % len(surroundings)]
        assert re.findall(SCANNER, around.format(text)) == [text]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_the_scanner_finds_no_key_in_random_base64(encode: Callable[[bytes], bytes]) -> None:
    rng = Random(2)
    pattern = re.compile(SCANNER)

    assert not any(pattern.search(encode(rng.randbytes(60)).decode()) for _ in range(100_000))


def test_generated_keys_differ_and_use_the_whole_alphabet_evenly() -> None:
    rng = Random(3)
    texts = [Key.generate(rng).reveal() for _ in range(20_000)]
    secrets = "".join(text[16:48] for text in texts)
    expected = len(secrets) / len(ALPHABET)

    assert len({text[3:15] for text in texts}) == len(texts)
    # Five standard deviations of a fair draw.
    assert all(abs(secrets.count(c) - expected) < 5 * expected**0.5 for c in ALPHABET)


def test_two_keys_made_without_a_source_of_randomness_differ() -> None:
    assert Key.generate().reveal() != Key.generate().reveal()


@pytest.mark.no_cover
def test_a_hundred_thousand_keys_are_of_the_form_and_evenly_drawn() -> None:
    rng = Random(1)
    drawn = [Key.generate(rng).reveal() for _ in range(100_000)]

    found = re.findall(SCANNER, "\n".join(drawn))
    assert found == drawn, "a scanner finds each of them"
    assert all(Key.parse(each) is not None for each in found[::10])
    assert len({each[16:48] for each in drawn}) == len({each[3:15] for each in drawn}) == 100_000
    expected = 100_000 / len(ALPHABET)
    for place in (*range(3, 15), *range(16, 48)):
        counts = Counter(each[place] for each in drawn)
        chi_squared = sum((counts[char] - expected) ** 2 / expected for char in ALPHABET)
        assert chi_squared < 120, "61 degrees of freedom: 1 in 100,000 is above 113"


def test_a_key_is_drawn_from_the_machines_own_randomness_and_has_190_bits() -> None:
    assert Key.generate.__defaults__ == (secrets,)
    assert SECRET_LENGTH * log2(len(ALPHABET)) > 190


@pytest.mark.no_cover
def test_a_million_random_texts_hold_no_key() -> None:
    rng = Random(2)
    texts = base64.urlsafe_b64encode(rng.randbytes(1_000_000 * 42)).decode()
    rows = "\n".join(texts[start : start + 56] for start in range(0, len(texts), 56))

    assert len(rows.splitlines()) == 1_000_000
    assert [each for each in re.findall(SCANNER, rows) if Key.parse(each)] == []


def test_what_looks_like_a_key_to_a_scanner_is_none_by_its_checksum() -> None:
    rng = Random(3)
    forged = [
        f"lg_{''.join(rng.choices(ALPHABET, k=12))}_{''.join(rng.choices(ALPHABET, k=38))}"
        for _ in range(100_000)
    ]

    assert re.findall(SCANNER, " ".join(forged)) == forged
    assert [each for each in forged if Key.parse(each)] == []
