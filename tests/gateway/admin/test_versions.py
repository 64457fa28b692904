import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.errors import VersionMismatch, VersionRequired
from gateway.admin.versions import ANY, check_version, etag, read_if_match
from gateway.contract.errors import InvalidRequest


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("*", ANY),
        (" * ", ANY),
        ('"3"', {3}),
        ('"3", "5"', {3, 5}),
        ('"3","4" ,"5"', {3, 4, 5}),
        ('W/"3"', set()),
        ('"3", W/"5"', {3}),
        ('"another-services"', set()),
        ('""', set()),
        ('"-1"', set()),
    ],
)
def test_if_match_names_versions(header: str, match: set[int] | None) -> None:
    assert read_if_match(header) == match


@pytest.mark.parametrize(
    "header", ["", "3", '"3', "'3'", '"3" "4"', '"3",', ",", "*,*", 'w/"3"', '"²"', '"a b"']
)
def test_a_malformed_if_match_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_if_match(header)
    assert raised.value.param == "if-match"


def test_a_change_without_if_match_is_refused() -> None:
    with pytest.raises(VersionRequired):
        read_if_match(None)


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_the_etag_of_a_version_matches_that_version_alone(version: int) -> None:
    match = read_if_match(etag(version))

    check_version(match, version)
    with pytest.raises(VersionMismatch):
        check_version(match, version + 1)


@given(st.integers(min_value=0))
def test_whoever_insists_changes_any_version(version: int) -> None:
    check_version(ANY, version)


@given(st.text(max_size=50))
def test_no_header_breaks_the_reader(header: str) -> None:
    try:
        match = read_if_match(header)
    except InvalidRequest:
        return
    assert match is None or all(version >= 0 for version in match)
