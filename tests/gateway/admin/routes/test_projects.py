from tests.support.administration import Office

PROJECTS = "/admin/v1/tenants/acme/projects"


async def test_a_project_is_made_shown_changed_and_deleted(office: Office) -> None:
    async with office.client() as http:
        await http.post("/admin/v1/tenants", json={"id": "acme", "models": ["*"]})
        made = await http.post(PROJECTS, json={"id": "p", "plan": "small", "models": ["chat"]})
        assert (made.status_code, made.headers["etag"]) == (201, '"1"')
        assert made.headers["location"] == f"{PROJECTS}/p"
        assert (await http.get(made.headers["location"])).json() == made.json()

        tag = {"if-match": '"1"'}
        changed = await http.patch(f"{PROJECTS}/p", json={"plan": None}, headers=tag)
        assert "plan" not in changed.json()
        assert changed.headers["etag"] == '"2"'
        late = await http.patch(f"{PROJECTS}/p", json={"title": "x"}, headers=tag)
        assert late.status_code == 412

        listed = (await http.get(PROJECTS, params={"suspended": "false"})).json()
        assert [each["id"] for each in listed["data"]] == ["p"]
        gone = await http.delete(f"{PROJECTS}/p", headers={"if-match": "*"})
        assert gone.status_code == 204
        assert (await http.get(PROJECTS)).json() == {"object": "list", "data": []}


async def test_in_a_tenant_that_is_none_there_are_no_projects(office: Office) -> None:
    async with office.client() as http:
        for answer in (
            await http.get(PROJECTS),
            await http.post(PROJECTS, json={"id": "p"}),
            await http.get(f"{PROJECTS}/p"),
        ):
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "not_found"
