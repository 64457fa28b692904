from itertools import product

import pytest

from gateway.admin.actor import Actor, Role
from gateway.admin.errors import Forbidden


def test_a_role_includes_those_below_it() -> None:
    order = [Role.VIEWER, Role.ADMIN, Role.OWNER]

    for (high, one), (low, other) in product(enumerate(order), repeat=2):
        assert one.includes(other) == (high >= low)


def test_an_actor_that_no_tenant_bounds_sees_everything() -> None:
    actor = Actor("olga", Role.VIEWER)

    assert actor.sees("acme")
    assert actor.sees(None)


def test_an_actor_that_is_bound_to_a_tenant_sees_that_one_alone() -> None:
    actor = Actor("anna", Role.ADMIN, "acme")

    assert actor.sees("acme")
    assert not actor.sees("other")
    assert not actor.sees(None)


def test_an_actor_is_held_to_its_role() -> None:
    Actor("olga", Role.OWNER).require(Role.ADMIN)
    with pytest.raises(Forbidden):
        Actor("vera", Role.VIEWER).require(Role.ADMIN)


def test_what_concerns_all_tenants_is_for_those_whom_none_bounds() -> None:
    Actor("adam", Role.ADMIN).require(Role.ADMIN, everywhere=True)
    with pytest.raises(Forbidden):
        Actor("anna", Role.ADMIN, "acme").require(Role.ADMIN, everywhere=True)
