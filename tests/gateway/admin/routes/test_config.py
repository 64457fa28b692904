from tests.support.administration import Office

RELOAD = "/admin/v1/config/reload"


async def test_the_answer_says_what_was_taken_over_and_what_waits(office: Office) -> None:
    async with office.client() as http:
        answer = await http.post(RELOAD)

    assert answer.status_code == 200
    assert answer.json() == {
        "object": "config",
        "sha256": "5e8f" * 16,
        "needs_restart": ["limits.lease"],
    }


async def test_a_file_that_can_not_be_used_is_told_line_by_line(office: Office) -> None:
    office.faults = ("gateway.yaml:3: a: is wrong", "gateway.yaml:9: b: is, too")
    async with office.client() as http:
        answer = await http.post(RELOAD)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "config_refused")
    assert error["message"].splitlines()[1:] == list(office.faults)
    assert answer.headers["x-should-retry"] == "false"


async def test_the_document_has_an_example(office: Office) -> None:
    document = office.api.openapi()

    answer = document["paths"][RELOAD]["post"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Reloaded")
    assert document["components"]["schemas"]["Reloaded"]["examples"]
