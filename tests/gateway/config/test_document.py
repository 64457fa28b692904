import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import (
    MAX_BYTES,
    MAX_DEPTH,
    Document,
    Fraction,
    as_decimal,
    as_float,
    contents,
    read,
)
from gateway.config.faults import ConfigError

SET = {"NAME": "value", "EMPTY": "", "N": "5", "REF": "${NAME}", "LINES": "a\nb"}


def document(text: str | bytes, environ: Mapping[str, str] = SET) -> Document:
    return read(text.encode() if isinstance(text, str) else text, "f.yaml", environ)


def faults(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        document(text)
    return error.value.lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "value"),
        ("a ${NAME} b ${NAME}", "a value b value"),
        ("${EMPTY}", ""),
        ("${NAME:-x}", "value"),
        ("${EMPTY:-x}", "x"),
        ("${UNSET:-x}", "x"),
        ("${UNSET:-}", ""),
        ("${UNSET:-http://h:1/?a=b}", "http://h:1/?a=b"),
        ("$${NAME}", "${NAME}"),
        ("$NAME", "$NAME"),
        ("100$", "100$"),
        ("${REF}", "${NAME}"),
        ("${UNSET:-${NAME}", "${NAME"),
    ],
)
def test_a_variable_stands_for_its_value_in_a_string(text: str, expected: str) -> None:
    assert document(f'a: "{text}"').data == {"a": expected}
    assert document(f"a: ['{text}']").data == {"a": [expected]}


def test_a_variable_is_not_read_in_a_key_or_a_comment() -> None:
    read = document("# ${UNSET}\n${UNSET}: 1 # ${UNSET}\n")

    assert read.data == {"${UNSET}": 1}


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1))
def test_what_a_variable_says_is_text_and_never_yaml(value: str) -> None:
    assert document("a: ${X}\nb: 1", {"X": value}).data == {"a": value, "b": 1}


def test_each_unset_variable_is_told_with_line_and_name() -> None:
    assert faults("a: ${FIRST}\nb:\n  - 1\n  - x${SECOND}\n") == (
        "f.yaml:1: a: FIRST is not set; ${FIRST:-} would stand for nothing then",
        "f.yaml:4: b[1]: SECOND is not set; ${SECOND:-} would stand for nothing then",
    )


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A", "${A B}", "${A:x}", "${A-x}"])
def test_a_reference_in_any_other_form_is_told(text: str) -> None:
    (told,) = faults(f'a: 1\nb: "{text}"')
    assert told.startswith("f.yaml:2: b: write ${NAME}")


def test_a_variable_with_a_line_break_is_told_without_its_value() -> None:
    (told,) = faults("a: ${LINES}")
    assert told == "f.yaml:1: a: LINES has a line break or an unprintable character"


def test_text_over_several_lines_or_with_hidden_characters_is_told() -> None:
    assert len(faults('a: |\n  x\n  y\nb: "\\0"\nc: "\\u00a0"\nd: "\\ud800"')) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-3", -3),
        ("1_000_000", 1_000_000),
        ("1.5", 1.5),
        ("true", True),
        ("off", False),
        ("~", None),
        ("", None),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("10s", "10s"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("{}", {}),
        ("[]", []),
    ],
)
def test_a_plain_value_means_what_it_says(text: str, expected: object) -> None:
    assert document(f"a: {text}").data == {"a": expected}


@pytest.mark.parametrize(
    "text",
    ["010", "0x10", "0b1", "1:30", "1:30.5", ".inf", ".nan", "9" * 5000, "1" + "0" * 400 + ".0"],
)
def test_a_number_that_reads_differently_than_it_looks_is_told(text: str) -> None:
    assert len(faults(f"a: {text}")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1",
        "a: *x",
        "a: !!python/object/apply:os.system [ls]",
        "a: !secret x",
        "a: !!binary aGk=",
        "a: !!set {x}",
        "a: !!int abc",
        "a: !!float abc",
        "a: !foo!bar x",
        "? [a]\n: 1",
        "? {a: b}\n: 1",
        '"a\\nb": 1',
        "a: 1\n---\nb: 2",
        "a: [",
        "a: }",
        "a: b: c",
        "\ta: 1",
        "a: @b",
        'a: "\\U99999999"',
        'a: "\\q"',
        "%YAML " + "9" * 5000 + ".1\n---\na: 1",
        "%TAG",
        "a: 1\x07",
        "- a",
        "text",
        "5",
    ],
)
def test_what_is_not_plain_yaml_is_told_with_its_line(text: str) -> None:
    assert all(line.startswith("f.yaml:") for line in faults(text))


def test_an_unquoted_secret_that_yaml_takes_for_an_alias_is_not_shown() -> None:
    (told,) = faults("a: 1\nb: *hunter2")
    assert "hunter2" not in told
    assert told.startswith("f.yaml:2:")


def test_a_key_written_twice_is_told_with_both_lines() -> None:
    assert faults("a:\n  b: 1\n  c: 2\n  b: 3\n") == (
        "f.yaml:4: a.b: is written twice, first in line 2",
    )


def test_bytes_that_are_not_utf_8_are_told_with_their_line() -> None:
    assert faults(b"a: 1\nb: \xff") == ("f.yaml:2: is not UTF-8",)


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert document("\ufeffa: 1".encode()).data == {"a": 1}


@pytest.mark.parametrize("text", ["", "# nothing", "\n\n"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert document(text).data == {}


def test_a_file_over_the_bound_is_refused_before_it_is_read() -> None:
    start = time.monotonic()

    assert faults(b"#" * (MAX_BYTES + 1)) == (f"f.yaml: is larger than {MAX_BYTES} bytes",)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_nesting_is_bounded(opening: str, closing: str) -> None:
    allowed, deep = MAX_DEPTH - 2, 10_000

    top = "a: {}" if closing else "a:\n {}"
    assert document(top.format(opening * allowed + "1" + closing * allowed)).data
    assert "nested deeper" in faults(top.format(opening * deep + "1" + closing * deep))[0]


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [*{before}, *{before}]\n"
        for before, name in zip("abcdefghi", "bcdefghij", strict=True)
    )

    assert "f.yaml:1:" in faults(bomb)[0]


def test_a_place_knows_its_line_or_that_of_what_is_around_it() -> None:
    read = document("a: 1\nb:\n  c:\n    - x\n    - y: 2\n")

    assert read.line(("a",)) == 1
    assert read.line(("b", "c", 1, "y")) == 5
    assert read.line(("b", "c", 0)) == 4
    assert read.line(("b", "c", 7)) == 3
    assert read.line(("b", "missing")) == 2
    assert read.line(("missing",)) == 1


def test_numbers_are_floats_unless_their_decimals_matter() -> None:
    text = b"{a: 0.1, b: 1_000.50, c: 3, d: 1.5e+3}"

    assert read(text, "f", {}).data == {"a": 0.1, "b": 1000.5, "c": 3, "d": 1500.0}
    exact = read(text, "f", {}, fraction=as_decimal).data
    assert exact == {"a": Decimal("0.1"), "b": Decimal("1000.50"), "c": 3, "d": Decimal(1500)}


@pytest.mark.parametrize("number", [".inf", "-.INF", ".nan", "1:30.5"])
@pytest.mark.parametrize("fraction", [as_float, as_decimal])
def test_a_number_that_is_none_is_told_however_it_is_read(number: str, fraction: Fraction) -> None:
    with pytest.raises(ConfigError, match="write numbers in plain decimals"):
        read(f"a: {number}".encode(), "f", {}, fraction=fraction)


def test_no_more_of_a_file_is_read_than_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"#" * (MAX_BYTES + 100))

    assert len(contents(file)) == MAX_BYTES + 1


def test_a_fault_does_not_show_what_a_variable_says() -> None:
    read = document("a: x ${NAME}")

    assert read.fault(("a",), "'x value' is wrong").message == "'x ***' is wrong"


yaml_like = st.text(st.sampled_from("ab:-{}[]&*!|>'\"%@`#?,$ \n\t0159.~<=\\u"), max_size=60)


@given(st.one_of(yaml_like, st.text(max_size=60), st.binary(max_size=60)))
def test_any_text_is_a_document_or_a_config_error(text: str | bytes) -> None:
    try:
        document(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    except ConfigError as error:
        assert error.lines  # noqa: PT017 - either way is fine


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(-1e6, 1e6)
    | st.text(st.characters(categories=["L", "N", "P"], exclude_characters="$")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcXYZ09-_", max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", min_size=1), trees, max_size=4))
def test_plain_data_is_read_back_as_it_was_written(data: dict[str, object]) -> None:
    assert document(yaml.safe_dump(data)).data == data
