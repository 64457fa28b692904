import io
import json
from datetime import UTC, datetime

from gateway.admin.apply import Made
from gateway.admin.difference import Step
from gateway.admin.preview import applied, preview
from gateway.admin.printing import Printer

STEPS = (
    Step("create", "plan", ("gold",), {}, {"requests": "5/minute", "tokens": None, "models": {}}),
    Step("create", "key", ("acme", "new"), {}, {"project": "web"}),
    Step("create", "key", ("acme", "own"), {}, {"public_id": "a"}),
    Step(
        "update", "tenant", ("acme",), {"models": ("a",), "plan": "x"}, {"models": (), "plan": "y"}
    ),
    Step("replace", "key", ("acme", "ci"), {"public_id": "a"}, {"public_id": "b", "plan": None}),
    Step("delete", "project", ("acme", "web"), {"title": "The site"}, {}),
)
MADE = Made("acme", "new", "publicid0000", "lg_the_whole_key")


def printer(*, as_json: bool = False) -> tuple[Printer, io.StringIO]:
    out = io.StringIO()
    return Printer(out, as_json=as_json), out


def test_every_step_is_a_line_with_what_it_changes_below() -> None:
    to, out = printer()
    preview(to, STEPS)

    assert out.getvalue().splitlines() == [
        "+ plan gold",
        "    requests: 5/minute",
        "+ key acme/new (with a secret of its own, shown once)",
        "    project: web",
        "+ key acme/own",
        "    public_id: a",
        "~ tenant acme",
        "    models: a -> -",
        "    plan: x -> y",
        "± key acme/ci (the key that it was stops working)",
        "    public_id: a -> b",
        "- project acme/web",
        "3 to create, 1 to update, 1 to replace, 1 to delete.",
    ]


def test_where_nothing_differs_that_is_said() -> None:
    to, out = printer()
    preview(to, ())

    assert out.getvalue() == "Nothing to change.\n"


def test_for_programs_a_difference_is_one_document() -> None:
    to, out = printer(as_json=True)
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    preview(to, [Step("update", "key", ("acme", "ci"), {"expires": None}, {"expires": moment})])

    assert json.loads(out.getvalue()) == {
        "object": "difference",
        "steps": [
            {
                "action": "update",
                "kind": "key",
                "name": "acme/ci",
                "before": {"expires": None},
                "after": {"expires": "2027-01-01T00:00:00+00:00"},
            }
        ],
    }


def test_new_keys_are_shown_at_the_end() -> None:
    to, out = printer()
    applied(to, STEPS, [MADE])

    assert out.getvalue().splitlines()[0] == "Applied."
    assert out.getvalue().splitlines()[-1] == "  acme/new  lg_the_whole_key"


def test_for_programs_what_was_applied_is_one_document() -> None:
    to, out = printer(as_json=True)
    applied(to, STEPS, [MADE])

    told = json.loads(out.getvalue())
    assert (told["object"], len(told["steps"])) == ("applied", len(STEPS))
    assert told["keys"] == [
        {"tenant": "acme", "name": "new", "id": "publicid0000", "key": "lg_the_whole_key"}
    ]


def test_nothing_is_said_to_be_applied_where_nothing_was() -> None:
    to, out = printer()
    applied(to, (), ())

    assert out.getvalue() == ""
