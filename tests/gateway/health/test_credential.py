from gateway.contract.errors import ProviderAuthFailed, ProviderQuotaExhausted
from gateway.health.credential import EMPTY, REASONS, REFUSED, Credential


def test_reasons_are_the_codes_of_the_errors_that_say_so() -> None:
    assert (ProviderAuthFailed.code, ProviderQuotaExhausted.code) == (REFUSED, EMPTY) == REASONS


def test_only_the_first_of_many_refusals_is_news_and_another_reason_is() -> None:
    credential = Credential("p")

    assert credential.disable(REFUSED, 60.0)
    assert not credential.disable(REFUSED, 61.0)
    assert credential.disable(EMPTY, 300.0)
    assert credential.until() == 300.0


def test_a_refusal_never_shortens_a_longer_pause() -> None:
    credential = Credential("p")
    credential.disable(EMPTY, 300.0)
    credential.disable(REFUSED, 60.0)

    assert credential.until() == 300.0


def test_one_that_was_accepted_is_as_good_as_new() -> None:
    credential = Credential("p")
    credential.disable(REFUSED, 60.0)
    credential.enable()

    assert not credential.is_disabled
    assert credential.until() == 0.0
    assert credential.disable(REFUSED, 90.0)
