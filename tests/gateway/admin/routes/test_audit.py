import pytest

from tests.support.administration import Office

AUDIT = "/admin/v1/audit"


@pytest.fixture
async def log(office: Office) -> Office:
    async with office.client() as http:
        for name in ("acme", "other"):
            await http.post("/admin/v1/tenants", json={"id": name})
    return office


async def test_the_log_is_shown_in_pages_by_what_rows_say(log: Office) -> None:
    async with log.client() as http:
        first = (await http.get(AUDIT, params={"limit": 1})).json()
        second = (await http.get(AUDIT, params={"limit": 1, "after": first["next"]})).json()
        chosen = (
            await http.get(
                AUDIT,
                params={
                    "tenant": "acme",
                    "actor": "bootstrap",
                    "action": "create",
                    "kind": "tenant",
                    "id": "acme",
                    "since": "2026-01-31T12:00:00Z",
                    "until": "2026-01-31T12:00:01Z",
                },
            )
        ).json()

    assert [each["seq"] for each in first["data"] + second["data"]] == [2, 1]
    assert "next" not in second
    assert [each["id"] for each in chosen["data"]] == ["acme"]
    assert chosen["data"][0]["after"]["plan"] == "default"


async def test_the_log_is_verified_also_against_a_head_that_was_kept(log: Office) -> None:
    async with log.client() as http:
        whole = (await http.get(f"{AUDIT}/verify")).json()
        head = {"seq": whole["seq"], "hash": whole["hash"]}
        kept = (await http.get(f"{AUDIT}/verify", params=head)).json()
        cut = (await http.get(f"{AUDIT}/verify", params={**head, "seq": 3})).json()

    assert whole == kept
    assert (whole["sound"], whole["seq"]) == (True, 2)
    assert (cut["sound"], cut["bad"], cut["reason"]) == (False, 3, "is missing")


HALVES = (
    ("seq=2", "hash"),
    (f"hash={'0' * 64}", "seq"),
    ("seq=-1&hash=x", "seq"),
    (f"seq=2&hash={'0' * 63}", "hash"),
)


async def test_half_a_head_is_none(log: Office) -> None:
    async with log.client() as http:
        for query, param in HALVES:
            answer = await http.get(f"{AUDIT}/verify?{query}")
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
