"""Files are read whole, and believed once nobody writes them any more."""

import asyncio
import random
import threading
import time
from pathlib import Path

import pytest

from gateway.config import ConfigError
from gateway.wiring import source
from gateway.wiring.source import Loaded, Source
from tests.support.application import CONFIG
from tests.support.reloading import loader

PRICED = CONFIG + "pricing: {file: prices.yaml}\n"
PRICES = "targets: {sim/demo-model: {input: %s, output: 2.0}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "gateway.yaml"
    written.write_text(PRICED)
    (tmp_path / "prices.yaml").write_text(PRICES % "1.0")
    return written


def write(file: Path, text: str, prices: str = PRICES % "1.0") -> None:
    file.write_text(text)
    (file.parent / "prices.yaml").write_text(prices)


def remove(file: Path) -> None:
    file.unlink()


async def at_once(file: Path) -> Loaded:
    """What the files say, whoever writes them."""
    return await asyncio.to_thread(loader(file).load)


def test_a_source_has_the_bytes_of_the_file_and_of_its_prices(file: Path) -> None:
    config, found = loader(file).load()

    assert found.files == {
        str(file): PRICED.encode(),
        str(file.parent / "prices.yaml"): (PRICES % "1.0").encode(),
    }
    assert config.prices


def test_what_was_read_then_is_read_again_whatever_the_files_say_now(file: Path) -> None:
    config, found = loader(file).load()
    file.write_text("nonsense")
    (file.parent / "prices.yaml").unlink()

    again = loader(file).load_from(found)

    assert again == config
    assert again.prices.of("sim/demo-model") == config.prices.of("sim/demo-model")


def test_a_source_without_the_file_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="was not read"):
        loader(file).load_from(Source({}))
    with pytest.raises(ConfigError, match=r"prices\.yaml.*was not read"):
        loader(file).load_from(Source({str(file): PRICED.encode()}))


def test_a_digest_tells_every_other_content_and_every_other_path() -> None:
    sources = [
        Source({}),
        Source({"a": b""}),
        Source({"a": b"x"}),
        Source({"b": b"x"}),
        Source({"a": b"", "b": b"x"}),
        Source({"a": b"x", "b": b""}),
    ]

    assert len({each.digest for each in sources}) == len(sources)
    assert Source({"b": b"x", "a": b""}).digest == sources[4].digest


async def test_a_file_at_rest_is_read_at_once(file: Path) -> None:
    assert await loader(file).load_settled() == await at_once(file)


async def test_a_file_at_rest_that_can_not_be_used_is_refused_with_its_faults(file: Path) -> None:
    write(file, PRICED.replace("kind: vllm", "kind: no-such"))
    with pytest.raises(ConfigError, match=r"gateway\.yaml:2: .*no-such"):
        await loader(file).load_settled()

    write(file, PRICED, "targets: {nobody/x: {input: 1.0}}\n")
    with pytest.raises(ConfigError, match=r"prices\.yaml:1"):
        await loader(file).load_settled()

    remove(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        await loader(file).load_settled()


async def test_a_file_that_never_rests_is_given_up(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "TRIES", 3)
    numbers = iter(range(1000))

    def changing(self: object) -> bool:
        file.write_text(f"{PRICED}# {next(numbers)}\n")
        return False

    monkeypatch.setattr(source._Reading, "still_holds", changing)
    with pytest.raises(ConfigError, match="changes all the time"):
        await loader(file).load_settled()


@pytest.mark.parametrize("first", ["gateway.yaml", "prices.yaml"])
async def test_a_change_of_either_file_while_it_settles_is_waited_for(
    file: Path, first: str
) -> None:
    (file.parent / first).write_text("")
    reading = asyncio.ensure_future(loader(file, settle=0.3).load_settled())
    await asyncio.sleep(0.1)
    assert not reading.done()
    write(file, PRICED, PRICES % "7.0")

    config, found = await reading

    assert found == (await at_once(file))[1]
    assert found.files[str(file)] == PRICED.encode()
    assert config.prices.of("sim/demo-model") is not None


async def test_half_of_a_file_is_never_taken_for_the_whole(file: Path) -> None:
    """Row 80: a writer that truncates at random, and pauses for less than it takes to settle."""
    texts = [f"{PRICED}# {'x' * 2000} {number}\n" for number in range(3)]
    chance, stop = random.Random(80), threading.Event()

    def write() -> None:
        while not stop.is_set():
            text = chance.choice(texts)
            cut = chance.randrange(len(text))
            with file.open("w") as opened:
                opened.write(text[:cut])
                opened.flush()
                time.sleep(chance.random() * 0.01)
                opened.write(text[cut:])
            time.sleep(chance.random() * 0.3)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            _, found = await loader(file, settle=0.1).load_settled()
            assert found.files[str(file)].decode() in texts
    finally:
        stop.set()
        await asyncio.to_thread(writer.join)
