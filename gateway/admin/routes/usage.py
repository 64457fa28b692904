"""`/admin/v1/usage` and `/admin/v1/ledger`, as JSON or as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from ...contract.errors import InvalidRequest
from ...store.ledger import Chosen
from .. import usage
from ..actor import Actor
from ..deps import PREFIX, Gates, Parts, refusals
from ..listing import MAX_CURSOR, Listing, Paging
from ..route import AdminRoute
from ..shapes import Instant, KeyId, ModelName, ProjectId, TenantId, Text
from ..tabular import CONTENT_TYPE, Format, as_csv, format_of
from ..usage import LedgerRow, UsageGroup

MAX_ROWS = 1000
MAX_GROUPS = 10_000
"""Rows of one page."""

_CSV = {"content": {"text/csv": {"schema": {"type": "string"}}}}
_LINK = {"Link": {"description": 'The next page, with rel="next".', "schema": {"type": "string"}}}

Item = TypeVar("Item", UsageGroup, LedgerRow)
Tag = Annotated[Text, Query(max_length=200, pattern="^[^:]+:")]
Group = Annotated[
    Text,
    Query(max_length=80, pattern="^(day|month|tenant|project|key|model|target|outcome|tag:.+)$"),
]
As = Annotated[Format | None, Query(description="Default: what the Accept header names first.")]
After = Annotated[
    str | None, Query(max_length=MAX_CURSOR, description="The `next` of the page before.")
]


def _chosen(  # noqa: PLR0913, PLR0917 - what may be asked for
    tenant: TenantId | None = None,
    project: ProjectId | None = None,
    key: KeyId | None = None,
    model: ModelName | None = None,
    target: Annotated[Text | None, Query(max_length=300)] = None,
    outcome: Annotated[Text | None, Query(max_length=16)] = None,
    tag: Annotated[
        Sequence[Tag], Query(max_length=8, description="Those with this tag: `name:value`.")
    ] = (),
    since: Annotated[Instant | None, Query(description="The first instant.")] = None,
    until: Annotated[Instant | None, Query(description="The first instant after.")] = None,
) -> Chosen:
    tags = dict(each.split(":", 1) for each in tag)
    if len(tags) < len(tag):
        raise InvalidRequest("A tag is named twice.", param="tag")
    return Chosen(tenant, project, key, model, target, outcome, tags, since, until)


ChosenRows = Annotated[Chosen, Depends(_chosen)]


def usage_router(parts: Parts, gates: Gates) -> APIRouter:
    """Both are read by everyone, each the own part."""
    router = APIRouter(prefix=PREFIX, tags=["usage"], route_class=AdminRoute)
    admin = parts.administration
    Viewer = Annotated[Actor, Depends(gates.viewer)]  # noqa: N806 - a type
    answers = {200: {**_CSV, "headers": _LINK}} | refusals(404)

    @router.get("/usage", response_model=Listing[UsageGroup], responses=answers)
    async def sum_usage(  # noqa: PLR0913, PLR0917 - what may be asked for
        actor: Viewer,
        request: Request,
        response: Response,
        chosen: ChosenRows,
        group_by: Annotated[Sequence[Group], Query(max_length=5)] = ("day",),
        limit: Annotated[int, Query(ge=1, le=MAX_GROUPS)] = MAX_ROWS,
        after: After = None,
        format: As = None,  # noqa: A002 - as the query calls it
    ) -> Listing[UsageGroup] | Response:
        groups = tuple(group_by)
        async with admin.reading(actor) as view:
            page = await usage.sum_usage(view, chosen, groups, Paging(limit=limit, after=after))
        _link(request, response, page)
        if (format or format_of(request.headers.get("accept", ""))) == "json":
            return page
        columns = (*groups, *(n for n in UsageGroup.model_fields if n not in {"object", "group"}))
        rows = ({**each.model_dump(exclude={"group"}), **each.group} for each in page.data)
        return _table(columns, rows, response)

    @router.get("/ledger", response_model=Listing[LedgerRow], responses=answers)
    async def list_ledger(  # noqa: PLR0913, PLR0917 - what may be asked for
        actor: Viewer,
        request: Request,
        response: Response,
        chosen: ChosenRows,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50,
        after: After = None,
        format: As = None,  # noqa: A002 - as the query calls it
    ) -> Listing[LedgerRow] | Response:
        async with admin.reading(actor) as view:
            page = await usage.list_ledger(view, chosen, Paging(limit=limit, after=after))
        _link(request, response, page)
        if (format or format_of(request.headers.get("accept", ""))) == "json":
            return page
        columns = tuple(name for name in LedgerRow.model_fields if name != "object")
        rows = (
            {
                **each.model_dump(),
                "attempts": len(each.attempts),
                "tags": ";".join(f"{name}={value}" for name, value in each.tags.items()),
            }
            for each in page.data
        )
        return _table(columns, rows, response)

    return router


def _link(request: Request, response: Response, page: Listing[Item]) -> None:
    if page.next is not None:
        query = str(request.url.remove_query_params("after").include_query_params(after=page.next))
        response.headers["link"] = f'<{query}>; rel="next"'


def _table(
    columns: Sequence[str], rows: Iterable[Mapping[str, object]], response: Response
) -> Response:
    headers = dict(response.headers)
    return Response(as_csv(columns, rows), media_type=CONTENT_TYPE, headers=headers)
