"""
The files that a configuration is read from: the configuration file and the prices file.

A running gateway must not take over half of a file that somebody is just writing. So they are
read whole, read again after a moment, and believed if both times they were alike.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ..config import Config, ConfigError, ProviderClass, contents, load
from ..config.faults import Fault
from ..pricing import ListPrice
from .price_lists import public_lists

SETTLE = 0.2
"""Seconds between two readings that must be alike."""
TRIES = 25
"""Readings, after which whoever writes the file is not waited for any longer."""


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of each file that a configuration was read from, by path."""

    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> str:
        """What tells it from any other, in 64 hex digits."""
        told = sha256()
        for path, content in sorted(self.files.items()):
            told.update(sha256(path.encode()).digest() + sha256(content).digest())
        return told.hexdigest()

    def read(self, path: Path) -> bytes:
        """
        A file as it was then.

        Raises:
            ConfigError: it was not read then.
        """
        content = self.files.get(str(path))
        if content is None:
            raise ConfigError(str(path), [Fault(0, (), "was not read with the others")])
        return content


Loaded = tuple[Config, Source]
"""A configuration, and what it was read from."""


class _Reading:
    """Reads files and remembers what was in them; None where one could not be read."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {}

    def __call__(self, path: Path) -> bytes:
        self.files[str(path)] = None
        content = self.files[str(path)] = contents(path)
        return content

    def still_holds(self) -> bool:
        """Whether each file is as it was."""
        return all(_unless_refused(Path(path)) == then for path, then in self.files.items())

    def source(self) -> Source:
        return Source({path: then for path, then in self.files.items() if then is not None})


@dataclass(frozen=True, slots=True)
class Loader:
    """How the configuration is read, at the start and ever after."""

    path: Path
    environ: Mapping[str, str] = field(repr=False)
    provider_class: ProviderClass
    list_price: ListPrice = field(default_factory=public_lists)
    settle: float = SETTLE
    """Seconds."""

    def load(self) -> Loaded:
        """
        What the files say now.

        Raises:
            ConfigError: they can't be used.
        """
        reading = _Reading()
        config = self._load(reading)
        return config, reading.source()

    def load_from(self, source: Source) -> Config:
        """
        What the files said then.

        Raises:
            ConfigError: they can't be used, or lie elsewhere.
        """
        return self._load(source.read)

    async def load_settled(self) -> Loaded:
        """
        What the files say as soon as nobody writes them any more.

        Raises:
            ConfigError: they can't be used, or change all the time.
        """
        for _ in range(TRIES):
            reading = _Reading()
            found = await asyncio.to_thread(self._try, reading)
            await asyncio.sleep(self.settle)
            if not await asyncio.to_thread(reading.still_holds):
                continue
            if isinstance(found, ConfigError):
                raise found
            return found, reading.source()
        raise ConfigError(str(self.path), [Fault(0, (), "changes all the time")])

    def _try(self, reading: _Reading) -> Config | ConfigError:
        try:
            return self._load(reading)
        except ConfigError as error:
            return error

    def _load(self, read_file: Callable[[Path], bytes]) -> Config:
        return load(self.path, self.environ, self.provider_class, self.list_price, read_file)


def _unless_refused(path: Path) -> bytes | None:
    try:
        return contents(path)
    except ConfigError:
        return None
