"""The API under made-up requests: whatever comes, the answer is one that its description tells of."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from parts.desks import StillDesk
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from automator.edges.web import Access, Health, WebServer
from automator.edges.web.api import BASE, Operation
from automator.edges.web.operations import OPERATIONS
from automator.edges.web.site import Behind, make_site

pytestmark = pytest.mark.slow

LONG = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
FINE = Health(True, "all is well")
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def described() -> Iterator[schemathesis.BaseSchema]:
    """The description as a running server gives it."""
    access = Access(None)
    app = make_site(
        Behind(StillDesk(), lambda: FINE, lambda: FINE, lambda _: (b"", "text/plain"), "1.2.3"), access
    )
    server = WebServer(app, ("127.0.0.1", 0))
    server.start()
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/api/v1/openapi.json")
    server.stop()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_no_request_is_answered_otherwise_than_described(
    described: schemathesis.BaseSchema, operation: Operation
) -> None:
    @given(case=made(described, operation).as_strategy())
    @LONG
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    holds()


TAKES_SOMETHING = [o for o in OPERATIONS if o.parameters or o.varies or o.body is not None]


@pytest.mark.parametrize("operation", TAKES_SOMETHING, ids=lambda operation: operation.name)
def test_what_the_description_excludes_is_refused(
    described: schemathesis.BaseSchema, operation: Operation
) -> None:
    @given(case=made(described, operation).as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @LONG
    def is_refused(case: schemathesis.Case) -> None:
        answer = case.call()
        # An address that is too long is refused too, by a status that schemathesis does not know for it.
        more = [] if answer.status_code == 414 else [negative_data_rejection]
        case.validate_response(answer, checks=[*CHECKS, *more])

    is_refused()


def made(described: schemathesis.BaseSchema, operation: Operation) -> APIOperation:
    return described[BASE + operation.path][operation.method]
