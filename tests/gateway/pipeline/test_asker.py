from math import inf

import pytest

from gateway.pipeline import Interrupt
from gateway.pipeline.asker import Asker, Hints
from tests.support.pipeline import GOOD_WHOLE, pipeline_of


def asker(*, total: float, patience: float) -> Asker:
    bench = pipeline_of(GOOD_WHOLE)
    return Asker(
        bench.pipeline, bench.request().record, Interrupt(), Hints(patience=patience), total
    )


@pytest.mark.parametrize(
    ("total", "patience", "seconds"), [(600.0, inf, 600.0), (600.0, 10.0, 10.0), (5.0, 10.0, 5.0)]
)
async def test_content_helps_until_the_request_or_its_client_has_no_time_left(
    total: float, patience: float, seconds: float
) -> None:
    asks = asker(total=total, patience=patience)

    assert asks.content_by - asks.now() == pytest.approx(seconds, abs=1.0)
    assert not asks.is_late


async def test_it_is_late_when_that_time_is_over() -> None:
    assert asker(total=0.0, patience=inf).is_late
    assert asker(total=600.0, patience=0.0).is_late
