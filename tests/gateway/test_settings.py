from collections.abc import Callable, Mapping

import pytest
from pydantic import ValidationError

from gateway.settings import MIN_SECRET, Settings

Reading = Callable[[Mapping[str, str]], Settings]
SECRET = "s3cret-" + "x" * MIN_SECRET
LONG = "l0ng-" + "y" * 32
SAFE = {
    "ENVIRONMENT": "production",
    "KEY_PEPPER": SECRET,
    "ADMIN_TOKEN": SECRET,
    "JWT_SECRET": LONG,
}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Reading:
    """Reads settings from the given environment alone."""

    def read(environ: Mapping[str, str]) -> Settings:
        for name in Settings.model_fields:
            monkeypatch.delenv(f"LOCKGATE_{name.upper()}", raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(f"LOCKGATE_{name}", value)
        return Settings()

    return read


def test_development_needs_no_environment(settings: Reading) -> None:
    found = settings({})

    assert (found.host, found.port, found.environment) == ("127.0.0.1", 8080, "development")
    assert found.redis_url is None
    assert found.admin_address is None


def test_production_starts_with_strong_secrets(settings: Reading) -> None:
    found = settings(SAFE)

    assert found.key_pepper.get_secret_value() == SECRET
    assert found.admin_address == ("127.0.0.1", 8081)


@pytest.mark.parametrize(
    "unsafe",
    [
        {"KEY_PEPPER": ""},
        {"KEY_PEPPER": "x" * (MIN_SECRET - 1)},
        {"ADMIN_TOKEN": ""},
        {"ADMIN_TOKEN": "short"},
        {"METRICS_TOKEN": "short"},
        {"JWT_SECRET": ""},
        {"JWT_SECRET": "x" * 31},
        {"KEY_PEPPER_PREVIOUS": f"{SECRET},short"},
        {"LOG_LEVEL": "debug"},
    ],
)
def test_production_refuses_what_is_unsafe(settings: Reading, unsafe: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=f"LOCKGATE_{next(iter(unsafe))}"):
        settings(SAFE | unsafe)


@pytest.mark.parametrize(
    "unsafe", [{"KEY_PEPPER": ""}, {"JWT_SECRET": "short"}, {"LOG_LEVEL": "debug"}]
)
def test_development_allows_it(settings: Reading, unsafe: dict[str, str]) -> None:
    assert settings(unsafe).environment == "development"


@pytest.mark.parametrize(
    "wrong", [{"PORT": "65536"}, {"PORT": "-1"}, {"ENVIRONMENT": "staging"}, {"LOG_FORMAT": "xml"}]
)
def test_a_value_out_of_range_is_refused(settings: Reading, wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        settings(wrong)


def test_the_administration_may_have_an_address_of_its_own(settings: Reading) -> None:
    assert settings({"ADMIN_LISTEN": "10.0.0.1:9000"}).admin_address == ("10.0.0.1", 9000)


def test_the_store_is_a_file_of_the_state_by_default(settings: Reading) -> None:
    assert settings({}).store_url == "sqlite:///.lockgate/lockgate.db"
    assert settings({"STATE_DIR": "/var/lib/x"}).store_url == "sqlite:////var/lib/x/lockgate.db"
    assert settings({"DATABASE_URL": ""}).store_url == "sqlite:///.lockgate/lockgate.db"


@pytest.mark.parametrize("url", ["sqlite:///x.db", "postgresql://u:p@h/d", "postgres://h/d"])
def test_another_database_may_be_named(settings: Reading, url: str) -> None:
    assert settings({"DATABASE_URL": url}).store_url == url


def test_an_address_of_no_database_is_refused_without_showing_it(settings: Reading) -> None:
    with pytest.raises(ValidationError) as error:
        settings({"DATABASE_URL": f"mysql://u:{SECRET}@h/d"})

    assert SECRET not in str(error.value)


def test_older_peppers_are_separated_by_commas(settings: Reading) -> None:
    assert settings({}).older_peppers == ()
    assert settings({"KEY_PEPPER_PREVIOUS": "one, two,"}).older_peppers == (b"one", b"two")


def test_no_secret_is_shown(settings: Reading) -> None:
    found = settings(
        SAFE
        | {
            "REDIS_URL": f"redis://:{SECRET}@localhost",
            "DATABASE_URL": f"postgresql://u:{SECRET}@localhost/d",
            "KEY_PEPPER_PREVIOUS": SECRET,
        }
    )
    shown = f"{found!r}{found}{found.model_dump_json()}"

    assert SECRET not in shown
    assert LONG not in shown


def test_the_words_of_a_refusal_do_not_show_a_secret(settings: Reading) -> None:
    short = "hunter2"

    with pytest.raises(ValidationError) as error:
        settings(SAFE | {"KEY_PEPPER": short})
    assert all(short not in each["msg"] for each in error.value.errors())


def test_settings_cannot_be_changed(settings: Reading) -> None:
    with pytest.raises(ValidationError):
        settings({}).port = 1


def test_variables_of_others_are_no_fault(settings: Reading) -> None:
    assert settings({"DEMO_KEY": "x"}).port == 8080


REDIS = {"REDIS_URL": "redis://127.0.0.1:1/0"}
POSTGRES = {"DATABASE_URL": "postgresql://lockgate@127.0.0.1/lockgate"}


def test_several_workers_share_what_they_count(settings: Reading) -> None:
    assert settings({}).workers == 1
    assert settings({"WORKERS": "4", **REDIS}).workers == 4
    assert settings({"WORKERS": "2", "INSIST": "true"}).workers == 2
    assert settings({**SAFE, "WORKERS": "2", **REDIS, **POSTGRES}).workers == 2


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "LOCKGATE_REDIS_URL"),
        ({"REDIS_URL": ""}, "LOCKGATE_REDIS_URL"),
        ({**SAFE, **POSTGRES}, "LOCKGATE_REDIS_URL"),
        ({**SAFE, **POSTGRES, "INSIST": "true"}, "LOCKGATE_REDIS_URL"),
        ({**SAFE, **REDIS}, "LOCKGATE_DATABASE_URL"),
        ({**SAFE, **REDIS, "INSIST": "true"}, "LOCKGATE_DATABASE_URL"),
    ],
)
def test_several_workers_that_would_not_are_refused(
    settings: Reading, environ: Mapping[str, str], missing: str
) -> None:
    with pytest.raises(ValidationError, match=missing):
        settings({**environ, "WORKERS": "2"})


@pytest.mark.parametrize("count", ["0", "-1", "257", "x"])
def test_there_is_a_worker_and_a_bound_on_them(settings: Reading, count: str) -> None:
    with pytest.raises(ValidationError):
        settings({"WORKERS": count, **REDIS})
