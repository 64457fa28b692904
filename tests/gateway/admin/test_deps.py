from fastapi import Response

from gateway.admin.deps import Gates, located, makes, refusals, shows, tagged
from gateway.admin.tenants import Tenant
from tests.support.administration import Office

ACME = Tenant(id="acme", plan="default", models=(), version=3)


def test_an_object_is_shown_with_its_version_as_the_etag() -> None:
    response = Response()

    assert tagged(response, ACME) is ACME
    assert response.headers["etag"] == '"3"'


def test_an_object_that_was_made_says_where_it_is() -> None:
    response = Response()

    assert located(response, ACME, "tenants", "acme") is ACME
    assert response.headers["location"] == "/admin/v1/tenants/acme"
    assert response.headers["etag"] == '"3"'


def test_every_route_may_refuse_and_some_in_more_ways() -> None:
    assert list(refusals()) == [400, 401, 403, 503]
    assert list(refusals(404, 412)) == [400, 401, 403, 404, 412, 503]
    assert list(shows()) == [200]
    assert list(makes()) == [201]


def test_gates_have_the_word_of_their_role(office: Office) -> None:
    gates = Gates.of(office.sessions)

    words = [each.access for each in (gates.viewer, gates.admin, gates.owner)]
    assert words == ["viewer", "admin", "owner"]
    assert gates.admin_everywhere.access == "admin"
