from hypothesis import given
from hypothesis import strategies as st

from gateway.config.faults import MAX_FAULTS, ConfigError, Fault, nearest, quoted, written


def test_a_fault_tells_file_line_and_place() -> None:
    fault = Fault(7, ("models", "org/x", "targets", 0, "provider"), "is required")

    assert fault.told("f.yaml") == 'f.yaml:7: models."org/x".targets[0].provider: is required'
    assert Fault(0, (), "is not UTF-8").told("f.yaml") == "f.yaml: is not UTF-8"


@given(st.text(), st.text())
def test_a_fault_is_one_line_whatever_the_file_says(name: str, message: str) -> None:
    told = Fault(1, ("models", name), message).told("f.yaml")

    assert len(told.splitlines()) == 1
    assert len(quoted(name)) <= 64 * 12 + 2  # a character may need two escapes


def test_faults_are_told_in_the_order_of_the_file_and_once() -> None:
    faults = [Fault(3, (), "c"), Fault(1, (), "a"), Fault(3, (), "c")]

    assert ConfigError("f", faults).lines == ("f:1: a", "f:3: c")


def test_a_flood_of_faults_is_counted() -> None:
    lines = ConfigError("f", [Fault(n, (), "x") for n in range(1, 1000)]).lines

    assert len(lines) == MAX_FAULTS + 1
    assert lines[-1] == f"f: and {999 - MAX_FAULTS} more"


def test_the_nearest_known_name_is_offered_or_a_few_are_listed() -> None:
    assert nearest("modles", ["models", "plans"]) == "; did you mean models?"
    assert nearest("zzz", ["b", "a"]) == "; known: a, b"
    assert nearest("zzz", []) == ""
    assert nearest("zzz", map(str, range(1000))) == ""


def test_a_place_is_written_as_a_path() -> None:
    assert written(("a", 0, "b c")) == 'a[0]."b c"'
