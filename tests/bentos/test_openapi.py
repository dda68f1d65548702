"""The OpenAPI page is true: every answer has a documented code and a body of the documented shape."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.front.openapi import REFUSALS
from bentos.match_odds.front.openapi import page as page_of

pytestmark = pytest.mark.services


PAGE = page_of("match_odds:x")["paths"]
OPERATIONS = [(path, GenerationMode.POSITIVE) for path in PAGE] + [
    (path, GenerationMode.NEGATIVE) for path, item in PAGE.items() if "post" in item
]
BEYOND_A_SCHEMA = [positive_data_acceptance, not_a_server_error]
"""That every feature of the model is there cannot be said in a schema (400), and there is no store here (503)."""


@pytest.fixture(scope="module")
def page(running: RunningBento) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{running.url}/docs.json")


@pytest.mark.parametrize(("path", "mode"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_documented(page: BaseSchema, path: str, mode: GenerationMode) -> None:
    (operation,) = (found.ok() for found in page.get_all_operations() if found.ok().path == path)

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=BEYOND_A_SCHEMA)

    check()


def test_the_page_names_the_bento(running: RunningBento) -> None:
    page = httpx.get(f"{running.url}/docs.json").json()
    assert page == page_of(running.tag)
    assert page["info"]["version"] == running.tag.partition(":")[2]


def test_every_documented_refusal_is_one_that_the_service_can_give() -> None:
    """The codes are provoked one by one in test_service.py (400, 413, 415, 503) and test_predict.py (404, 409, 503)."""
    codes = {
        int(code)
        for path in page_of("match_odds:x")["paths"].values()
        for operation in path.values()
        for code in operation["responses"]
    }
    assert codes == {200, *REFUSALS}
