import io
import json
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.access import Key
from gateway.admin.desk import Desk, read, request
from gateway.admin.keys import KeyPatch, NewKey
from gateway.admin.listing import Listing
from gateway.admin.operators import NewOperator
from gateway.admin.plans import NewPlan
from gateway.admin.printing import Column, Printer
from gateway.admin.tenants import NewTenant, Tenant, TenantPatch
from gateway.settings import StartRefused
from tests.support.administration import OWNER, PEPPERS, Office

ACME = Tenant(id="acme", title="Acme", plan="gold", models=("chat",), version=2)
COLUMNS = (Column("ID", "id"), Column("MODELS", "models"))


def desk(office: Office, *, as_json: bool = False) -> tuple[Desk, io.StringIO]:
    out = io.StringIO()
    printer = Printer(out, as_json=as_json)
    return Desk(office.administration, OWNER, printer, PEPPERS, office.passwords), out


def refusal(model: Any, **given: Any) -> list[str]:
    with pytest.raises(StartRefused) as refused:
        request(model, **given)
    return str(refused.value).splitlines()


# Requests


def test_an_option_that_was_not_given_is_not_sent() -> None:
    assert request(TenantPatch, title="Acme", plan=None).given() == {"title": "Acme"}


@pytest.mark.parametrize(
    ("name", "empty", "meant"),
    [
        ("plan", "", None),
        ("project", "", None),
        ("expires", "", None),
        ("models", [""], None),
        ("networks", [""], ()),
        ("scopes", [""], ("inference", "usage:read")),
    ],
)
def test_an_empty_option_takes_away_what_may_be_missing(
    name: str, empty: object, meant: object
) -> None:
    assert request(KeyPatch, **{name: empty}).given() == {name: meant}


def test_an_empty_option_that_may_not_be_missing_is_sent_as_it_is() -> None:
    assert request(TenantPatch, title="").given() == {"title": ""}
    assert request(TenantPatch, models=[""]).given() == {"models": ()}
    assert refusal(TenantPatch, plan="")[0].startswith("plan: ")


def test_each_option_that_is_wrong_is_told_once() -> None:
    lines = refusal(NewKey, name="c i", scopes=["a", "b"], networks=["x"])

    assert [line.partition(":")[0] for line in lines] == ["name", "scopes", "networks"]


def test_a_fault_of_no_option_is_told_alone() -> None:
    assert refusal(TenantPatch) == ["names nothing to change"]


def test_a_refused_password_is_not_shown() -> None:
    [line] = refusal(NewOperator, name="ada", role="owner", password=SecretStr("short"))

    assert line == "password: needs at least 12 characters"


def test_what_is_nested_is_told_by_its_option() -> None:
    [line] = refusal(NewPlan, name="gold", limits={"requests": "many"})

    assert line.startswith("limits: ")
    assert "many" in line


def test_what_can_not_be_read_is_told_by_its_option() -> None:
    with pytest.raises(StartRefused, match=r"^since: invalid literal"):
        read(lambda: int("x"), "since")
    assert read(lambda: 5, "since") == 5


def test_a_request_keeps_what_is_given() -> None:
    made = request(NewTenant, id="acme", models=["chat"], plan="gold")

    assert (made.id, made.models, made.plan) == ("acme", ("chat",), "gold")


# Answers


async def test_a_list_is_a_table_or_the_documents_of_the_api(office: Office) -> None:
    listing = Listing(data=[ACME], next="more")

    to, out = desk(office)
    to.listing(COLUMNS, listing)
    assert out.getvalue().splitlines() == [
        "ID    MODELS",
        "acme  chat",
        "There are more: --page more",
    ]

    to, out = desk(office, as_json=True)
    to.listing(COLUMNS, listing)
    assert json.loads(out.getvalue()) == listing.model_dump(mode="json")


async def test_an_object_is_shown_after_what_was_done(office: Office) -> None:
    to, out = desk(office)
    to.show(ACME, "Changed tenant acme.")
    assert [line.split()[0] for line in out.getvalue().splitlines()] == [
        "Changed",
        "id",
        "title",
        "plan",
        "models",
        "suspended",
        "source",
        "version",
    ]

    to, out = desk(office, as_json=True)
    to.show(ACME, "Changed tenant acme.")
    assert json.loads(out.getvalue()) == ACME.model_dump(mode="json")


async def test_what_is_gone_is_told(office: Office) -> None:
    for as_json in (False, True):
        to, out = desk(office, as_json=as_json)
        to.gone("tenant", "acme")
        told = out.getvalue()
        if as_json:
            assert json.loads(told) == {"object": "tenant", "id": "acme", "deleted": True}
        else:
            assert told == "Deleted tenant acme.\n"


async def test_a_new_key_is_whole_and_what_is_kept_of_it_is_not(office: Office) -> None:
    to, out = desk(office, as_json=True)
    secret, verifier = to.issue()
    to.secret(ACME, secret, "Created.")

    key = Key.parse(secret)
    assert key is not None
    assert verifier.public_id == key.public_id
    assert verifier.digest == key.digest(PEPPERS.current)
    assert json.loads(out.getvalue())["key"] == secret
    assert secret not in repr(to)
    assert secret not in repr(verifier)
