"""Whatever the gateway was given to keep is on the list of what no log may show."""

from pathlib import Path

import pytest

from gateway.settings import Settings, StartRefused
from gateway.wiring.secrets import peppers_of, secrets_of
from tests.support.application import KEY, NARROW_KEY, TOKEN, configured, settings

CONFIG = """\
providers:
  paid: {kind: openai, api_key: "an upstream's credential"}
models:
  chat: {targets: [{provider: paid, model: gpt-4o-mini}], max_output: 64}
plans: {free: {}}
tenants:
  wide: {models: ["*"], keys: [{name: ci, key: "${KEY}"}], plan: free}
  narrow: {models: [chat], keys: [{name: ci, key: "${NARROW}"}], plan: free}
"""


def given(folder: Path) -> Settings:
    return settings(
        folder,
        key_pepper="the pepper of today",
        key_pepper_previous="the one before, and the first",
        jwt_secret="what tokens are signed with",
        metrics_token="what opens the metrics",
        redis_url="redis://:a%20password@127.0.0.1/0",
        database_url="postgresql://gateway:another%21one@127.0.0.1/lockgate",
    )


def test_every_secret_of_settings_and_configuration_is_named(tmp_path: Path) -> None:
    own = given(tmp_path)

    named = set(secrets_of(own, configured(CONFIG), peppers_of(own)))

    assert named == {
        "the pepper of today",
        "the one before",
        "and the first",
        "what tokens are signed with",
        "what opens the metrics",
        TOKEN,
        "an upstream's credential",
        KEY,
        NARROW_KEY,
        "redis://:a%20password@127.0.0.1/0",
        "a%20password",
        "a password",
        "postgresql://gateway:another%21one@127.0.0.1/lockgate",
        "another%21one",
        "another!one",
    }


def test_a_proxys_password_is_named(tmp_path: Path) -> None:
    proxy = 'upstream: {transport: aiohttp, proxy: "http://me:pass%20word@127.0.0.1:3128"}'
    own = settings(tmp_path)

    named = set(secrets_of(own, configured(CONFIG + proxy), peppers_of(own)))

    assert {"http://me:pass%20word@127.0.0.1:3128", "pass%20word", "pass word"} <= named


@pytest.mark.parametrize("name", ["redis_url", "database_url"])
def test_what_is_no_address_is_secret_as_a_whole(tmp_path: Path, name: str) -> None:
    broken = "postgresql://gateway:secret@[::1/lockgate"
    own = settings(tmp_path, **{name: broken})

    assert broken in set(secrets_of(own, configured(), peppers_of(own)))


def test_a_pepper_of_any_letters_is_named(tmp_path: Path) -> None:
    own = settings(tmp_path, key_pepper="Pfeffer in Körnern")

    assert "Pfeffer in Körnern" in set(secrets_of(own, configured(), peppers_of(own)))


def test_development_makes_its_pepper_once(tmp_path: Path) -> None:
    own = settings(tmp_path)

    assert peppers_of(own) == peppers_of(own)
    assert len(peppers_of(own)) == 1


def test_a_folder_that_can_not_be_used_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StartRefused, match="LOCKGATE_STATE_DIR can't be used"):
        peppers_of(settings(tmp_path / "file"))
