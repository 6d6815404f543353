"""What a server answers: pictures, mistakes, who may ask, and how much at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.postprocessing import Prediction
from runtime.serve.limits import ServeLimits
from runtime.serve.metrics import processor_temperature
from tests.support.serving import Served, encoded, fake_classifier, served

pytestmark = pytest.mark.fast

TOKEN = "correct-horse-battery"
BOUNDARY = "xx-boundary-xx"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(limits=ServeLimits(body_bytes=100_000)) as found:
        yield found


def form(*files: tuple[str, bytes], field: str = "picture") -> bytes:
    parts = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    )
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def test_a_picture_as_body_or_in_a_form_is_answered_as_classify_answers_it(server: Served) -> None:
    picture = encoded(1)
    expected = [each.as_dict() for each in fake_classifier().classify(picture)]
    for content_type in ("image/png", "application/x-www-form-urlencoded", "application/octet-stream"):
        reply = server.ask("/v1/classify", picture, Content_Type=content_type)
        assert (reply.status, reply.value) == (200, {"path": "-", "predictions": expected})
    reply = server.ask("/v1/classify", form(("a b.png", picture)), Content_Type=MULTIPART)
    assert (reply.status, reply.value) == (200, {"path": "a b.png", "predictions": expected})
    assert len(server.ask("/v1/classify?top=1", picture).value["predictions"]) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "query", "status", "message"),
    [
        (b"", "image/png", "", 400, "the body is empty; send a picture"),
        (b"no picture", "image/png", "", 400, "picture: not an image of a known format"),
        (b"x" * 100_001, "image/png", "", 413, "100001 bytes, and at most 100,000 are taken"),
        (form(), MULTIPART, "", 400, "has no file"),
        (form(("a.png", b"x"), ("b.png", b"x")), MULTIPART, "", 400, "send one picture"),
        (form(("evil\x1b.png", b"x")), MULTIPART, "", 400, "evil"),
        (b"no form", MULTIPART, "", 400, "send"),
        (b"no form", "multipart/form-data", "", 400, "send one picture"),
        (encoded(), "image/png", "?top=0", 400, "top is '0', expected a whole number from 1"),
        (encoded(), "image/png", "?top=many", 400, "top is 'many'"),
        (encoded(), "image/png", "?top=99999999", 400, "expected a whole number"),
    ],
)
def test_a_mistake_is_named_with_its_cure(
    body: bytes, content_type: str, query: str, status: int, message: str, server: Served
) -> None:
    reply = server.ask(f"/v1/classify{query}", body, Content_Type=content_type)
    assert reply.status == status
    assert message in reply.value["error"]
    assert reply.value["error"].isprintable()


def test_the_limits_of_pictures_hold_here_too(server: Served) -> None:
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + b"\0" * 4
    reply = server.ask("/v1/classify", bomb)
    assert reply.status == 400
    assert server.ask("/healthz").value == {"status": "ok"}


def test_other_addresses(server: Served) -> None:
    assert server.ask("/v1/model").value["labels"] == ["cat", "dog"]
    page = server.ask("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(rb"(src|href)=.(https?:)?//", page.body)
    missing = server.ask("/v2")
    assert (missing.status, "openapi.json" in missing.value["error"]) == (404, True)
    assert server.ask("/v1/live").status == 404
    wrong = server.ask("/v1/classify")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


def test_metrics_count_what_happened() -> None:
    with served() as server:
        for body in (encoded(), encoded(), b"garbage"):
            server.ask("/v1/classify", body)
        text = server.ask("/metrics").body.decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["pocketlens_answers_total"] == "2"
    assert values['pocketlens_errors_total{status="400"}'] == "1"
    assert values['pocketlens_request_seconds_bucket{le="+Inf"}'] == values["pocketlens_request_seconds_count"] == "3"
    buckets = [int(value) for name, value in values.items() if "_bucket{" in name]
    assert buckets == sorted(buckets)
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) pocketlens_\w+ .+|pocketlens_\w+(\{\w+=\"[^\"]+\"\})? [\d.e+-]+", line), (
            line
        )


def test_the_temperature_is_that_of_the_processor(tmp_path: Path) -> None:
    for number, (kind, value) in enumerate((("acpitz", "20000"), ("cpu-thermal", "48250"), ("soc", "broken"))):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{value}\n")
    assert processor_temperature(tmp_path) == 48.25
    assert processor_temperature(tmp_path / "missing") is None


def test_a_token_is_demanded_where_there_is_one() -> None:
    with served(token=TOKEN) as server:
        for wrong in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer t\xf6ken"):
            reply = server.ask("/v1/classify", encoded(), **({"Authorization": wrong} if wrong else {}))
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer TOKEN" in reply.value["error"]
            assert TOKEN not in reply.body.decode()
        assert server.ask("/metrics").status == server.ask("/v1/model").status == 401
        assert server.ask("/v1/classify", encoded(), Authorization=f"Bearer {TOKEN}").status == 200
        assert server.ask("/v1/classify", encoded(), Authorization=f"bearer {TOKEN}").status == 200
        for path in ("/", "/healthz", "/openapi.json"):
            assert server.ask(path).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example:80"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST.:8000"}, 200),
        ({"Host": "192.168.1.7:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "door.example"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://[broken"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_may_not_ask(headers: dict[str, str], status: int) -> None:
    with served(names=("Door.example",)) as server:
        assert server.ask("/v1/classify", encoded(), **headers).status == status


def test_a_link_to_the_page_may_be_followed(server: Served) -> None:
    assert server.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    assert server.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403


def test_beyond_the_limit_of_requests_it_says_when_to_try_again() -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(_picture: bytes, **_options: Any) -> list[Prediction]:
        begun.release()
        assert go_on.wait(20)
        return [Prediction("cat", 1.0, 0)]

    with served(slow, limits=ServeLimits(requests=2)) as server:
        replies: list[int] = []
        threads = [
            threading.Thread(target=lambda: replies.append(server.ask("/v1/classify", b"x").status)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
            assert begun.acquire(timeout=20)
        refused = server.ask("/v1/classify", b"x")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "2 pictures are being answered, the limit" in refused.value["error"]
        assert server.ask("/healthz").status == 200
        go_on.set()
        for thread in threads:
            thread.join(20)
        assert replies == [200, 200]
        assert server.ask("/v1/classify", b"x").status == 200


def test_an_unexpected_error_does_not_end_the_server(messages: list[str]) -> None:
    def broken(_picture: bytes, **_options: Any) -> list[Prediction]:
        raise KeyError("secret of the host")

    with served(broken) as server:
        reply = server.ask("/v1/classify", b"x")
        assert reply.status == 500
        assert "secret" not in reply.body.decode()
        assert server.ask("/healthz").status == 200
    assert any("KeyError" in message for message in messages)
