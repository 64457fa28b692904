import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.listing import Listing, Paging, cursor_of, place_of
from gateway.admin.tenants import NewTenant, Tenant, create_tenant, list_tenants
from gateway.contract.errors import InvalidRequest
from tests.support.administration import Office

PRINTABLE = st.text(st.characters(codec="utf-8")).filter(str.isprintable)


@given(st.lists(PRINTABLE, min_size=1, max_size=4))
def test_a_place_survives_its_cursor(place: list[str]) -> None:
    assert place_of(cursor_of(*place), len(place)) == tuple(place)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader_of_cursors(text: str) -> None:
    try:
        place = place_of(text, 1, 2)
    except InvalidRequest as error:
        assert error.param == "after"  # noqa: PT017 - either outcome is right
    else:
        assert len(place) in {1, 2}


@pytest.mark.parametrize("place", [("a",), ("a", "b", "c"), ("a", "b\0")])
def test_a_place_of_another_list_is_none_of_this(place: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        place_of(cursor_of(*place), 2)


@pytest.fixture
async def tenants(office: Office) -> Office:
    async with office.change() as change:
        for number in range(5):
            await create_tenant(change, NewTenant(id=f"tenant-{number}"))
    return office


async def pages(office: Office, limit: int) -> list[Listing[Tenant]]:
    found: list[Listing[Tenant]] = []
    while not found or found[-1].next is not None:
        after = found[-1].next if found else None
        async with office.view() as view:
            found.append(await list_tenants(view, Paging(limit, after)))
    return found


@pytest.mark.parametrize(
    ("limit", "sizes"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (6, [6]), (7, [6])]
)
async def test_pages_have_the_files_objects_first_and_then_the_others(
    tenants: Office, limit: int, sizes: list[int]
) -> None:
    found = await pages(tenants, limit)

    assert [len(page.data) for page in found] == sizes
    ids = [each.id for page in found for each in page.data]
    assert ids == ["written", *(f"tenant-{number}" for number in range(5))]


async def test_a_list_may_be_had_whole(tenants: Office) -> None:
    async with tenants.view() as view:
        whole = await list_tenants(view)

    assert len(whole.data) == 6
    assert whole.next is None


@pytest.mark.parametrize(
    "cursor", ["", "x", cursor_of("x", "y"), cursor_of("d"), cursor_of("d", "a", "b")]
)
async def test_a_place_that_is_none_is_refused(tenants: Office, cursor: str) -> None:
    async with tenants.view() as view:
        with pytest.raises(InvalidRequest):
            await list_tenants(view, Paging(2, cursor))


async def test_a_page_goes_on_where_an_object_was_that_is_gone(tenants: Office) -> None:
    async with tenants.view() as view:
        page = await list_tenants(view, Paging(1, cursor_of("d", "tenant-1x")))

    assert [each.id for each in page.data] == ["tenant-2"]
