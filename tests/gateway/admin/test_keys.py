from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from gateway.admin.actor import Actor, Role
from gateway.admin.errors import Conflict, NotFound, ReadOnly, VersionMismatch
from gateway.admin.keys import (
    KeyPatch,
    NewKey,
    Rotation,
    ShownKey,
    create_key,
    delete_key,
    get_key,
    list_keys,
    rotate_key,
    update_key,
)
from gateway.admin.projects import NewProject, create_project
from gateway.admin.tenants import NewTenant, create_tenant
from gateway.contract.errors import InvalidRequest
from gateway.store.identities import Identities
from gateway.store.tables import keys
from tests.support.administration import FILE_KEY, PEPPERS, START, Office, verifier

ANNA = Actor("anna", Role.ADMIN, "acme")
OTTO = Actor("otto", Role.ADMIN, "other")
CI = verifier(1)
OPS = verifier(2)
NEW = verifier(3)
FULL = NewKey(
    name="ops",
    project="p",
    plan="small",
    models=("chat",),
    scopes=("usage:read",),
    networks=("10.0.0.0/8",),
    expires=START + timedelta(days=9),
)


@pytest.fixture
async def acme(office: Office) -> Office:
    async with office.change() as change:
        await create_tenant(change, NewTenant(id="acme", models=("chat", "embed"), plan="small"))
        await create_tenant(change, NewTenant(id="other", models=("*",)))
        await create_project(change, "acme", NewProject(id="p", models=("chat",)))
        await create_key(change, "acme", NewKey(name="ci"), CI)
        await create_key(change, "acme", FULL, OPS)
    return office


async def key(office: Office, public_id: str, tenant: str = "acme") -> ShownKey:
    async with office.view() as view:
        return await get_key(view, tenant, public_id)


async def test_a_key_is_kept_as_it_was_made(acme: Office) -> None:
    ci, ops = await key(acme, CI.public_id), await key(acme, OPS.public_id)

    assert (ci.tenant, ci.name, ci.project, ci.plan, ci.models) == ("acme", "ci", None, None, None)
    assert (ci.scopes, ci.networks, ci.expires) == (("inference", "usage:read"), (), None)
    assert (ci.version, ci.created, ci.last_used, ci.source) == (1, START, None, "database")
    same = ops.model_dump(include=set(NewKey.model_fields))
    assert same == FULL.model_dump()


async def test_authentication_finds_what_administration_has_made(acme: Office) -> None:
    found = (await Identities(acme.database).find([OPS.public_id]))[OPS.public_id]

    assert (found.digest, found.pepper) == (OPS.digest, PEPPERS.current.name)
    assert (found.tenant, found.project, found.plan, found.models) == (
        "acme",
        "p",
        "small",
        ("chat",),
    )
    assert found.expires == FULL.expires


async def test_the_keys_of_a_tenant_are_listed(acme: Office) -> None:
    async with acme.change() as change:
        await update_key(change, "acme", CI.public_id, KeyPatch(disabled=True))
        assert [each.name for each in (await list_keys(change, "acme")).data] == ["ci", "ops"]
        of_p = await list_keys(change, "acme", project="p")
        assert [each.name for each in of_p.data] == ["ops"]
        disabled = await list_keys(change, "acme", disabled=True)
        assert [each.name for each in disabled.data] == ["ci"]
        assert (await list_keys(change, "other")).data == []
        with pytest.raises(NotFound):
            await list_keys(change, "missing")


async def test_the_files_keys_are_shown_and_are_changed_in_the_file(acme: Office) -> None:
    async with acme.change() as change:
        (shown,) = (await list_keys(change, "written")).data
        assert shown == await get_key(change, "written", FILE_KEY.public_id)
        assert (shown.name, shown.source, shown.version) == ("ci", "file", 0)
        assert (await list_keys(change, "written", disabled=True)).data == []
        assert (await list_keys(change, "written", project="p")).data == []
        for attempt in (
            update_key(change, "written", FILE_KEY.public_id, KeyPatch(disabled=True)),
            rotate_key(change, "written", FILE_KEY.public_id, Rotation(), NEW),
            delete_key(change, "written", FILE_KEY.public_id),
            create_key(change, "written", NewKey(name="new"), NEW),
        ):
            with pytest.raises(ReadOnly):
                await attempt


async def test_a_name_is_one_of_its_own_among_a_tenants_keys(acme: Office) -> None:
    async with acme.change() as change:
        await create_key(change, "other", NewKey(name="ci"), NEW)
        with pytest.raises(Conflict) as raised:
            await create_key(change, "acme", NewKey(name="ci"), verifier(4))
    assert raised.value.param == "name"


@pytest.mark.parametrize("taken", [CI, replace(NEW, public_id=FILE_KEY.public_id)], ids=str)
async def test_a_public_id_is_one_keys_in_file_and_database(acme: Office, taken: object) -> None:
    async with acme.change() as change:
        with pytest.raises(Conflict):
            await create_key(change, "other", NewKey(name="new"), taken)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"plan": "missing"}, "plan", "unknown_plan"),
        ({"project": "missing"}, "project", "unknown_project"),
        ({"models": ("missing",)}, "models", "unknown_model"),
        ({"models": ("org/other:latest",)}, "models", "model_not_granted"),
        ({"project": "p", "models": ("embed",)}, "models", "model_not_granted"),
        ({"expires": START}, "expires", "already_expired"),
    ],
)
async def test_a_key_has_what_its_tenant_or_project_could_give(
    acme: Office, fields: dict[str, object], param: str, code: str
) -> None:
    async with acme.change() as change:
        for attempt in (
            create_key(change, "acme", NewKey.model_validate({"name": "new", **fields}), NEW),
            update_key(change, "acme", CI.public_id, KeyPatch.model_validate(fields)),
        ):
            with pytest.raises(InvalidRequest) as raised:
                await attempt
            assert (raised.value.param, raised.value.code) == (param, code)


async def test_another_tenants_project_is_unknown(acme: Office) -> None:
    async with acme.change() as change:
        with pytest.raises(InvalidRequest) as raised:
            await create_key(change, "other", NewKey(name="new", project="p"), NEW)
    assert raised.value.code == "unknown_project"


async def test_a_change_leaves_alone_what_it_does_not_name(acme: Office) -> None:
    async with acme.change() as change:
        after = await update_key(change, "acme", OPS.public_id, KeyPatch(disabled=True))

    assert (after.disabled, after.version) == (True, 2)
    assert after.model_dump(include=set(NewKey.model_fields) - {"disabled"}) == FULL.model_dump(
        exclude={"disabled"}
    )


async def test_null_takes_away_what_may_be_missing(acme: Office) -> None:
    patch = KeyPatch(project=None, plan=None, models=None, expires=None, networks=())
    async with acme.change() as change:
        after = await update_key(change, "acme", OPS.public_id, patch)

    assert (after.project, after.plan, after.models) == (None, None, None)
    assert (after.expires, after.networks, after.scopes) == (None, (), ("usage:read",))


async def test_a_change_for_another_version_changes_nothing(acme: Office) -> None:
    async with acme.change() as change:
        for attempt in (
            update_key(change, "acme", CI.public_id, KeyPatch(disabled=True), frozenset({2})),
            delete_key(change, "acme", CI.public_id, frozenset({2})),
        ):
            with pytest.raises(VersionMismatch):
                await attempt
    assert (await key(acme, CI.public_id)).version == 1


async def test_using_a_key_is_no_change_of_it(acme: Office) -> None:
    async with acme.database.writing() as connection:
        used = update(keys).where(keys.c.public_id == CI.public_id).values(last_used=START)
        await connection.execute(used)

    ci = await key(acme, CI.public_id)
    assert (ci.last_used, ci.version) == (START, 1)


async def test_a_revoked_key_is_gone(acme: Office) -> None:
    async with acme.change() as change:
        await delete_key(change, "acme", CI.public_id, frozenset({1}))
        with pytest.raises(NotFound):
            await get_key(change, "acme", CI.public_id)
    assert await Identities(acme.database).find([CI.public_id]) == {}
    event = (await acme.events())[-1]
    assert (event["action"], event["kind"], event["object"]) == ("delete", "key", CI.public_id)


# Rotation


async def test_a_rotated_key_works_on_for_the_overlap_and_the_new_one_has_its_rights(
    acme: Office,
) -> None:
    async with acme.change() as change:
        new = await rotate_key(change, "acme", CI.public_id, Rotation(overlap=60), NEW)
    old = await key(acme, CI.public_id)

    assert (old.expires, old.replaced_by) == (START + timedelta(seconds=60), NEW.public_id)
    assert (old.version, new.version, new.id) == (2, 1, NEW.public_id)
    assert new.expires is None
    rights = set(NewKey.model_fields) - {"expires"}
    assert new.model_dump(include=rights) == old.model_dump(include=rights)
    event = (await acme.events())[-1]
    assert (event["action"], event["object"]) == ("rotate", CI.public_id)
    assert event["after"]["replaced_by"] == NEW.public_id


async def test_a_rotation_keeps_every_right_and_the_end_of_the_old_key(acme: Office) -> None:
    async with acme.change() as change:
        new = await rotate_key(change, "acme", OPS.public_id, Rotation(), NEW)

    assert new.model_dump(include=set(NewKey.model_fields)) == FULL.model_dump()


async def test_an_overlap_does_not_prolong_the_old_key(acme: Office) -> None:
    async with acme.change() as change:
        month = Rotation(overlap=30 * 24 * 3600, expires=START + timedelta(days=400))
        new = await rotate_key(change, "acme", OPS.public_id, month, NEW)

    assert (await key(acme, OPS.public_id)).expires == FULL.expires
    assert new.expires == START + timedelta(days=400)


async def test_without_an_overlap_the_old_key_ends_at_once(acme: Office) -> None:
    async with acme.change() as change:
        await rotate_key(change, "acme", CI.public_id, Rotation(overlap=0), NEW)

    assert (await key(acme, CI.public_id)).expires == START


async def test_a_key_is_rotated_once(acme: Office) -> None:
    async with acme.change() as change:
        await rotate_key(change, "acme", CI.public_id, Rotation(), NEW)
        with pytest.raises(Conflict) as raised:
            await rotate_key(change, "acme", CI.public_id, Rotation(), verifier(4))
        newest = await rotate_key(change, "acme", NEW.public_id, Rotation(), verifier(4))

    assert raised.value.code == "already_rotated"
    assert newest.name == "ci"


async def test_an_expired_key_is_rotated_with_another_end(acme: Office) -> None:
    acme.clock.move(10 * 24 * 3600)
    async with acme.change() as change:
        with pytest.raises(InvalidRequest) as raised:
            await rotate_key(change, "acme", OPS.public_id, Rotation(), NEW)
        later = acme.clock() + timedelta(days=1)
        new = await rotate_key(change, "acme", OPS.public_id, Rotation(expires=later), NEW)

    assert (raised.value.param, raised.value.code) == ("expires", "already_expired")
    assert new.expires == later
    assert (await key(acme, OPS.public_id)).expires == FULL.expires


async def test_the_name_of_a_rotated_key_is_free_when_its_successor_is_gone(acme: Office) -> None:
    async with acme.change() as change:
        await rotate_key(change, "acme", CI.public_id, Rotation(), NEW)
        with pytest.raises(Conflict):
            await create_key(change, "acme", NewKey(name="ci"), verifier(4))
        await delete_key(change, "acme", NEW.public_id)
        await create_key(change, "acme", NewKey(name="ci"), verifier(4))


# Whose keys


async def test_keys_are_their_tenants_own_to_change(acme: Office) -> None:
    async with acme.change(ANNA) as change:
        await create_key(change, "acme", NewKey(name="mine", plan="small"), NEW)
        await update_key(change, "acme", NEW.public_id, KeyPatch(plan=None))
        await rotate_key(change, "acme", NEW.public_id, Rotation(), verifier(4))
        await delete_key(change, "acme", NEW.public_id)


async def test_another_tenants_keys_do_not_exist(acme: Office) -> None:
    before = await acme.events()
    async with acme.change(OTTO) as change:
        for tenant in ("acme", "other", "written"):
            for attempt in (
                get_key(change, tenant, CI.public_id),
                update_key(change, tenant, CI.public_id, KeyPatch(disabled=True)),
                rotate_key(change, tenant, CI.public_id, Rotation(), NEW),
                delete_key(change, tenant, CI.public_id),
            ):
                with pytest.raises(NotFound):
                    await attempt
        with pytest.raises(NotFound):
            await list_keys(change, "acme")
        with pytest.raises(NotFound):
            await create_key(change, "acme", NewKey(name="new"), NEW)
    assert await acme.events() == before


def test_what_is_kept_of_a_key_is_shown_nowhere() -> None:
    hidden = {"digest", "pepper"}

    assert not hidden & {*ShownKey.model_fields, *NewKey.model_fields, *KeyPatch.model_fields}
    assert CI.digest.hex() not in repr(CI)
    assert repr(CI.digest) not in repr(CI)
