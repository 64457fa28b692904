from tests.support.administration import PASSWORD, Office

OPERATORS = "/admin/v1/operators"
ADAM = {"name": "adam", "password": PASSWORD, "role": "admin"}


async def test_an_operator_is_made_shown_changed_and_deleted(office: Office) -> None:
    async with office.client() as http:
        made = await http.post(OPERATORS, json=ADAM)
        assert (made.status_code, made.headers["location"]) == (201, f"{OPERATORS}/adam")
        assert (await http.get(f"{OPERATORS}/adam")).json() == made.json()
        assert made.json()["role"] == "admin"

        changed = await http.patch(
            f"{OPERATORS}/adam", json={"disabled": True}, headers={"if-match": '"1"'}
        )
        assert (changed.json()["disabled"], changed.headers["etag"]) == (True, '"2"')
        assert len((await http.get(OPERATORS)).json()["data"]) == 1
        gone = await http.delete(f"{OPERATORS}/adam", headers={"if-match": '"2"'})
        assert gone.status_code == 204
        assert (await http.get(OPERATORS, params={"tenant": "acme"})).json()["data"] == []


async def test_a_new_password_is_the_one_that_counts(office: Office) -> None:
    async with office.client() as http:
        await http.post(OPERATORS, json=ADAM)
        body = {"password": "another correct horse"}
        await http.patch(f"{OPERATORS}/adam", json=body, headers={"if-match": "*"})
        statuses = [
            (
                await http.post("/admin/v1/sessions", json={"name": "adam", "password": each})
            ).status_code
            for each in (PASSWORD, "another correct horse")
        ]

    assert statuses == [401, 201]


async def test_no_answer_has_a_password_or_its_hash(office: Office) -> None:
    async with office.client() as http:
        answers = [
            await http.post(OPERATORS, json=ADAM),
            await http.post(OPERATORS, json=ADAM),
            await http.post(OPERATORS, json={**ADAM, "name": "b", "role": PASSWORD}),
            await http.post(OPERATORS, json={**ADAM, "name": "c", "password": PASSWORD[:11]}),
            await http.get(OPERATORS),
            await http.get(f"{OPERATORS}/adam"),
        ]

    assert [each.status_code for each in answers] == [201, 409, 400, 400, 200, 200]
    for answer in answers:
        assert "argon2" not in answer.text
        assert PASSWORD[:11] not in answer.text
