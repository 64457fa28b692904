from tests.support.administration import Office

PLANS = "/admin/v1/plans"


async def test_a_plan_is_made_shown_changed_and_deleted(office: Office) -> None:
    async with office.client() as http:
        made = await http.post(PLANS, json={"name": "big", "limits": {"requests": "9/second"}})
        assert (made.status_code, made.headers["etag"]) == (201, '"1"')
        assert made.headers["location"] == f"{PLANS}/big"

        shown = await http.get(f"{PLANS}/big")
        assert shown.json() == made.json()
        assert shown.json()["limits"]["requests"] == "9/second"

        body = {"limits": {"concurrency": 2}}
        changed = await http.patch(f"{PLANS}/big", json=body, headers={"if-match": '"1"'})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        assert changed.json()["limits"]["concurrency"] == 2

        gone = await http.delete(f"{PLANS}/big", headers={"if-match": '"2"'})
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await http.get(f"{PLANS}/big")).status_code == 404


async def test_a_change_says_which_version_it_is_for(office: Office) -> None:
    async with office.client() as http:
        await http.post(PLANS, json={"name": "big", "limits": {}})
        for method, body in (("PATCH", {"limits": {}}), ("DELETE", None)):
            for headers, status in (
                ({}, 428),
                ({"if-match": "1"}, 400),
                ({"if-match": '"2"'}, 412),
                ({"if-match": 'W/"1"'}, 412),
            ):
                answer = await http.request(method, f"{PLANS}/big", json=body, headers=headers)
                assert answer.status_code == status
        insisted = await http.delete(f"{PLANS}/big", headers={"if-match": "*"})
        assert insisted.status_code == 204


async def test_a_rate_that_is_none_is_refused_by_its_name(office: Office) -> None:
    async with office.client() as http:
        answer = await http.post(PLANS, json={"name": "big", "limits": {"requests": "often"}})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "limits.requests"
    assert error["message"].startswith("'often' is no rate")
