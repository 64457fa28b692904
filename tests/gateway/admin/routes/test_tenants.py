from tests.support.administration import Office

TENANTS = "/admin/v1/tenants"


async def test_a_tenant_is_made_shown_changed_and_deleted(office: Office) -> None:
    async with office.client() as http:
        made = await http.post(TENANTS, json={"id": "acme", "models": ["chat"]})
        assert (made.status_code, made.headers["etag"]) == (201, '"1"')
        assert made.headers["location"] == f"{TENANTS}/acme"
        assert (await http.get(made.headers["location"])).json() == made.json()

        changed = await http.patch(
            f"{TENANTS}/acme", json={"suspended": True}, headers={"if-match": '"1"'}
        )
        assert (changed.json()["suspended"], changed.headers["etag"]) == (True, '"2"')

        gone = await http.delete(f"{TENANTS}/acme", headers={"if-match": '"2"'})
        assert gone.status_code == 204
        assert (await http.get(f"{TENANTS}/acme")).status_code == 404


async def test_tenants_are_listed_in_pages_and_by_what_they_are(office: Office) -> None:
    async with office.client() as http:
        for number in range(3):
            await http.post(TENANTS, json={"id": f"t-{number}", "suspended": number == 1})
        first = (await http.get(TENANTS, params={"limit": 2})).json()
        second = (await http.get(TENANTS, params={"limit": 2, "after": first["next"]})).json()
        suspended = (await http.get(TENANTS, params={"suspended": "true"})).json()

    assert [each["id"] for each in first["data"] + second["data"]] == [
        "written",
        "t-0",
        "t-1",
        "t-2",
    ]
    assert "next" not in second
    assert [each["id"] for each in suspended["data"]] == ["t-1"]
    assert suspended["object"] == "list"


async def test_a_list_has_its_bounds(office: Office) -> None:
    async with office.client() as http:
        for query in (
            "limit=0",
            "limit=201",
            "limit=x",
            "after=x",
            f"after={'x' * 1001}",
            "plann=x",
        ):
            answer = await http.get(f"{TENANTS}?{query}")
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == query.partition("=")[0]


async def test_the_files_tenants_are_read_only(office: Office) -> None:
    async with office.client() as http:
        shown = await http.get(f"{TENANTS}/written")
        assert (shown.json()["source"], shown.headers["etag"]) == ("file", '"0"')
        for answer in (
            await http.patch(
                f"{TENANTS}/written", json={"title": "x"}, headers={"if-match": '"0"'}
            ),
            await http.delete(f"{TENANTS}/written", headers={"if-match": '"0"'}),
        ):
            assert answer.status_code == 409
            assert answer.json()["error"]["code"] == "read_only"


async def test_an_id_that_can_be_none_is_refused(office: Office) -> None:
    async with office.client() as http:
        for id_ in ("Acme", "a" * 41, "a%00", "%2e%2e"):
            assert (await http.get(f"{TENANTS}/{id_}")).status_code == 400


async def test_an_erased_tenant_is_gone(office: Office) -> None:
    async with office.client() as http:
        await http.post(TENANTS, json={"id": "acme"})
        refused = await http.post(f"{TENANTS}/acme/erase", json={"confirm": "other"})
        erased = await http.post(f"{TENANTS}/acme/erase", json={"confirm": "acme"})
        gone = await http.get(f"{TENANTS}/acme")

    assert (refused.status_code, gone.status_code) == (400, 404)
    assert erased.json() == {"object": "erased", "tenant": "acme", "ledger_rows": 0}
