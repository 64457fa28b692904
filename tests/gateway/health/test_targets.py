import pytest

from gateway.health import State, TargetHealth, TargetInfo


def test_what_is_compared_of_a_target_is_never_shown() -> None:
    info = TargetInfo("p", frozenset({("chat", "chat")}), settings="sk-secret")

    assert "sk-secret" not in repr(info)


@pytest.mark.parametrize("state", ["cooling", "open", "kept", "probing"])
def test_only_a_target_that_takes_requests_freely_is_up(state: State) -> None:
    assert not TargetHealth(state, 0.0, 0).up
    assert TargetHealth("up", 0.0, 0).up
