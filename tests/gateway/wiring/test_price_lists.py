import subprocess
import sys

from gateway.wiring.price_lists import public_lists


def test_a_public_price_is_found() -> None:
    price = public_lists()("openai", "gpt-4o-mini")

    assert price is not None
    assert price.rates.input > 0
    assert public_lists()("openai", "no-such-model") is None


def test_the_lists_are_loaded_by_the_first_who_asks() -> None:
    script = (
        "import sys; from gateway.wiring.price_lists import public_lists; lists = public_lists(); "
        "before = 'genai_prices' in sys.modules; lists('openai', 'gpt-4o'); "
        "print(before, 'genai_prices' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert told.stdout.split() == ["False", "True"]
