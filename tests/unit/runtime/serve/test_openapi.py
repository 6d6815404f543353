"""The description of the routes, held against the server by schemathesis: each answer is one that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtime.serve.limits import ServeLimits
from tests.support.serving import Served, served

pytestmark = pytest.mark.fast

schemathesis = pytest.importorskip("schemathesis", reason="the package schemathesis is missing")
hypothesis = pytest.importorskip("hypothesis")
positive_data_acceptance = pytest.importorskip("schemathesis.specs.openapi.checks").positive_data_acceptance
_SETTINGS = hypothesis.settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=[*hypothesis.HealthCheck]
)
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(limits=ServeLimits(body_bytes=5000), token=TOKEN) as found:
        yield found


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_every_answer_is_as_described(mode: str, server: Served) -> None:
    """Valid and invalid requests of each operation: no status, type or body that the description does not name."""
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 5  # it leaves out its own source
    tried = 0
    for operation in operations:
        if mode == "NEGATIVE" and operation.label != "POST /v1/classify":  # nothing can be wrong with the others
            continue

        def answer_is_as_described(case: Any) -> None:
            nonlocal tried
            tried += 1
            # Any bytes are valid to the description, and few are a picture.
            excluded = [positive_data_acceptance]
            case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20, excluded_checks=excluded)

        requests = operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode])
        hypothesis.given(case=requests)(_SETTINGS(answer_is_as_described))()
    assert tried >= 15


def test_the_description_is_of_version_3_1_and_names_every_route(server: Served) -> None:
    description = server.ask("/openapi.json").value
    assert description["openapi"].startswith("3.1")
    paths = {"/", "/healthz", "/metrics", "/openapi.json", "/v1/classify", "/v1/model"}
    assert description["paths"].keys() == paths
    assert description["paths"]["/v1/model"]["get"]["security"] == [{"token": []}]
    assert description["paths"]["/healthz"]["get"]["security"] == []
