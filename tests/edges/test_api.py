"""The API over a real socket: every answer is held to the description that the program gives of itself."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from parts.desks import HOSTILE, NOON, StillDesk, change, workloads

from automator.core.view import Filter
from automator.edges.web import Access, Health, WebServer
from automator.edges.web.openapi import COMMON, describe
from automator.edges.web.operations import KINDS, OPERATIONS
from automator.edges.web.parameters import Moment
from automator.edges.web.site import Behind, make_site
from automator.errors import ConfigError
from automator.reasons import reason

FINE = Health(True, "all is well")


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@dataclass(frozen=True)
class Api:
    """The API of a desk of values."""

    port: int
    desk: StillDesk

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            told = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path if path.startswith("/") else f"/api/v1/{path}", body, told)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def look(self, body: str = "{}", **headers: str) -> Answer:
        return self.ask("look", "POST", body.encode(), **{"Content_Type": "application/json", **headers})


@pytest.fixture(scope="module")
def served() -> Iterator[Api]:
    desk = StillDesk()
    app = make_site(
        Behind(desk, lambda: FINE, lambda: FINE, lambda _: (b"", "text/plain"), "1.2.3"), Access(None)
    )
    server = WebServer(app, ("127.0.0.1", 0))
    server.start()
    yield Api(server.port, desk)
    server.stop()


@pytest.fixture
def api(served: Api) -> Api:
    fresh = StillDesk()
    served.desk.__dict__.update(fresh.__dict__)
    return served


MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
CHECKER = FormatChecker(formats=[])


@CHECKER.checks("date-time")
def is_moment(value: object) -> bool:
    return not isinstance(value, str) or MOMENT.fullmatch(value) is not None


DESCRIPTION = describe(OPERATIONS, "1.2.3")


def schema_of(path: str, method: str, status: int) -> dict[str, Any]:
    answer = DESCRIPTION["paths"][path][method]["responses"][str(status)]
    return {**answer["content"]["application/json"]["schema"], "components": DESCRIPTION["components"]}


def hold(answer: Answer, path: str, status: int, method: str = "get") -> Any:
    """The answer has this status, and is what the description says of it."""
    assert answer.status == status, answer.body
    schema = schema_of(f"/api/v1{path}", method, status)
    Draft202012Validator(schema, format_checker=CHECKER).validate(answer.json)
    return answer.json


# -- the description -----------------------------------------------------------------------------------


def test_the_description_is_served_and_is_openapi(api: Api) -> None:
    answer = api.ask("openapi.json")
    assert (answer.status, answer.json) == (200, json.loads(json.dumps(DESCRIPTION)))
    assert DESCRIPTION["openapi"] == "3.1.0"
    for name, schema in DESCRIPTION["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name
    ids = [told["operationId"] for path in DESCRIPTION["paths"].values() for told in path.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS)


def test_everything_that_is_described_is_there_and_nothing_else(api: Api) -> None:
    for path, methods in DESCRIPTION["paths"].items():
        there = path.replace("{repo}", "shop").replace("{name}", "web")
        there = there.replace("{area}", "guard").replace("{code}", "min-age")
        for method in ("get", "post", "put", "patch", "delete", "options"):
            answer = api.ask(
                there, method.upper(), b"{}" if method == "post" else None, Content_Type="application/json"
            )
            if method in methods:
                assert answer.status in (200, 202), (path, answer.body)
            else:
                assert (answer.status, answer.code) == (405, "web/wrong-method"), (method, path)
                assert {m.lower() for m in answer.headers["allow"].split(", ")} - {"head"} == set(methods)


def test_every_parameter_that_is_described_is_taken_and_no_other(api: Api) -> None:
    good = {"limit": "7", "offset": "1", "slowest": "2", "since": "3d", "until": "2026-11-20", "text": "web"}
    good["runtime"] = "production"
    for path, methods in DESCRIPTION["paths"].items():
        if "get" not in methods:
            continue
        there = path.replace("{repo}", "shop").replace("{name}", "web")
        there = there.replace("{area}", "guard").replace("{code}", "min-age")
        for told in methods["get"]["parameters"]:
            if told["in"] == "query":
                items = told["schema"].get("items", told["schema"])
                value = good.get(told["name"]) or items.get("enum", ["shop"])[0]
                answer = api.ask(f"{there}?{told['name']}={value}")
                hold(answer, path.removeprefix("/api/v1"), 200)
        answer = api.ask(f"{there}?nonsense=1")
        assert (answer.status, answer.code) == (400, "web/unknown-parameter")


# -- answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/repos", "/workloads", "/log", "/report", "/drift", "/registries", "/policies", "/chains"]
)
def test_each_list_is_as_it_is_described(api: Api, path: str) -> None:
    told = hold(api.ask(f"/api/v1{path}"), path, 200)
    assert told.get("items", True), "the test shows nothing where the list is empty"


def test_a_workload_has_its_places_and_its_policy(api: Api) -> None:
    told = hold(api.ask("workloads/shop/web"), "/workloads/{repo}/{name}", 200)
    assert (told["status"], told["current"], told["target"], told["behind"]) == (
        "waiting",
        "1.4.2",
        "1.4.3",
        2,
    )
    assert told["reason"]["changes_at"] == "2026-11-20T13:00:00Z"
    (place,) = told["places"]
    assert (place["file"], place["field"], place["line"]) == ("apps/web.yaml", "spec.image", 3)
    assert (place["version"], place["page"]) == ("1.4.2", "https://git.example.com/acme/shop/web.yaml#L3")
    assert (told["policy"], told["after"]) == ("policies/shop.yaml:5", ["staging/web"])


def test_the_process_tells_whether_its_config_is_used(api: Api) -> None:
    told = hold(api.ask("daemon"), "/daemon", 200)
    assert (told["version"], told["config_refused"], told["no_cycles"]) == ("1.2.3", None, None)
    why = reason("reload/refused", problem=HOSTILE)
    api.desk.process = replace(api.desk.process, config_refused=why, config_refused_at=NOON)
    told = hold(api.ask("daemon"), "/daemon", 200)
    assert (told["config_refused"]["code"], told["config_refused_at"]) == (
        "reload/refused",
        "2026-11-20T12:00:00Z",
    )


def test_an_explanation_has_its_tags_page_by_page(api: Api) -> None:
    api.desk.tags = 250
    path = "/workloads/{repo}/{name}/explanation"
    first = hold(api.ask("workloads/shop/web/explanation"), path, 200)
    assert (len(first["tags"]), first["total"], first["limit"]) == (100, 250, 100)
    last = hold(api.ask("workloads/shop/web/explanation?offset=245&limit=10"), path, 200)
    assert [tag["tag"] for tag in last["tags"]] == [f"1.4.{n}" for n in range(5, 0, -1)]
    waits = api.ask("workloads/shop/api/explanation")
    told = hold(waits, path, 503)["error"]
    assert (told["code"], told["params"]["since"]) == ("web/cycle-runs", "12:00 UTC")
    assert first["decided_at"] == "2026-11-20T12:00:00Z"
    assert int(waits.headers["retry-after"]) > 0


def test_what_is_not_there_is_named(api: Api) -> None:
    for asked, path, code in (
        ("workloads/shop/nothing", "/workloads/{repo}/{name}", "web/no-workload"),
        ("workloads/nowhere/web", "/workloads/{repo}/{name}", "web/no-repo"),
        (
            f"workloads/{quote(HOSTILE.replace('/', ''), safe='')}/x",
            "/workloads/{repo}/{name}",
            "web/no-repo",
        ),
        ("workloads?repo=nowhere", "/workloads", "web/no-repo"),
        ("log?repo=nowhere", "/log", "web/no-repo"),
        ("codes/guard/nothing", "/codes/{area}/{code}", "web/no-code"),
    ):
        assert hold(api.ask(asked), path, 404)["error"]["code"] == code


def test_a_reason_code_is_explained_as_the_command_does(api: Api) -> None:
    told = hold(api.ask("codes/guard/min-age"), "/codes/{area}/{code}", 200)
    assert told.keys() == {"code", "says", "next step", "means"}


def test_ten_thousand_workloads_come_in_pages(api: Api) -> None:
    api.desk.views = workloads(10_000)
    first = hold(api.ask("workloads"), "/workloads", 200)
    assert (len(first["items"]), first["total"]) == (100, 10_000)
    assert len(api.ask("workloads?limit=500").body) < 1_000_000
    seen = {
        item["workload"]
        for offset in range(0, 10_000, 500)
        for item in api.ask(f"workloads?limit=500&offset={offset}").json["items"]
    }
    assert len(seen) == 10_000
    beyond = hold(api.ask("workloads?offset=10000"), "/workloads", 200)
    assert (beyond["items"], beyond["total"]) == ([], 10_000)
    assert api.ask("workloads?limit=501").code == "web/parameter"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("status=waiting", ["web"]),
        ("status=waiting&status=failed", ["api", "web"]),
        ("owner=team-shop", ["web"]),
        ("environment=staging", ["api"]),
        ("repo=lab", []),
        ("text=W0000", ["w00000"]),
        ("text=ghcr%20ALERT", ["api"]),
        ("text=1.4.3&status=current", []),
    ],
)
def test_filters_leave_what_they_say(api: Api, query: str, names: list[str]) -> None:
    told = hold(api.ask(f"workloads?{query}"), "/workloads", 200)
    assert [item["workload"] for item in told["items"]] == names


@given(st.text(max_size=30))
def test_no_text_breaks_the_filter(text: str) -> None:
    found = [view for view in workloads() if Filter(text=text).takes(view)]
    assert len(found) == 3 or text.split()


def test_the_log_takes_the_filters_of_the_command(api: Api) -> None:
    api.desk.changes = (change(1), change(2, kind="rollback"), change(3, workload="api"))
    told = hold(api.ask("log"), "/log", 200)
    assert (told["state"], [one["commit"][-1] for one in told["items"]]) == ("ready", ["1", "2", "3"])
    asked = (
        "log?kind=rollback&workload=web&author=ANN&image=ghcr.io/acme/web&since=2026-11-19&until=2026-11-20"
    )
    assert [one["kind"] for one in hold(api.ask(asked), "/log", 200)["items"]] == ["rollback"]
    wanted = api.desk.asked[-1]
    assert (wanted.people, wanted.images) == ({"ann"}, {"ghcr.io/acme/web"})
    assert f"{wanted.since:%d} {wanted.until:%d}" == "19 21", "the last day counts"
    assert len(api.ask("log?limit=1").json["items"]) == 1


def test_how_long_ago_is_counted_from_the_minute(api: Api) -> None:
    """So that whoever asks again and again asks for the same."""
    moment, half = Moment("since", ""), timedelta(seconds=31)
    assert moment.read(["30d"], NOON + half) == moment.read(["30d"], NOON) == NOON - timedelta(days=30)
    assert moment.read(["2026-11-01T09:30:31Z"], NOON).second == 31


def test_chains_come_in_pages(api: Api) -> None:
    whole = hold(api.ask("chains"), "/chains", 200)
    assert (whole["total"], len(whole["items"])) == (1, 1)
    assert hold(api.ask("chains?offset=1&limit=1"), "/chains", 200)["items"] == []


def test_history_that_is_being_read_is_said_to_be(api: Api) -> None:
    api.desk.state = "reading"
    assert hold(api.ask("log"), "/log", 200)["state"] == "reading"
    answer = api.ask("report")
    assert hold(answer, "/report", 503)["error"]["code"] == "web/reading-history"
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("log?since=yesterday", "web/parameter"),
        ("log?since=99999999d", "web/parameter"),
        ("log?since=2026-13-40", "web/parameter"),
        ("log?since=2026-11-21", "web/empty-period"),
        ("log?since=2d&until=2026-11-01", "web/empty-period"),
        ("report?since=2027-01-01&until=2028-01-01", "web/empty-period"),
        ("log?since=2026-11-20T12:00:00Z&until=2028-01-01", "web/empty-period"),
        ("report?until=0001-02-01", "web/parameter"),
        ("report?since=0001-01-01T00:00:00Z&until=0001-03-01", "web/parameter"),
        ("log?until=9999-12-31", "web/parameter"),
        ("log?kind=nothing", "web/parameter"),
        ("log?image=a%20b", "web/parameter"),
        ("log?limit=0", "web/parameter"),
        ("log?limit=1_0", "web/parameter"),
        ("log?limit=%D9%A1", "web/parameter"),
        ("log?limit=1&limit=2", "web/parameter"),
        ("workloads?offset=-1", "web/parameter"),
        ("workloads?status=fine", "web/parameter"),
        ("workloads?text=" + "x" * 401, "web/parameter"),
        ("workloads?" + "&".join(["owner=a"] * 51), "web/parameter"),
        ("repos?limit=1", "web/unknown-parameter"),
        ("openapi.json?x=1", "web/unknown-parameter"),
        ("report?by=nothing", "web/parameter"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_an_error(api: Api, query: str, code: str) -> None:
    answer = api.ask(query)
    assert (answer.status, answer.code) == (400, code)
    assert HOSTILE not in answer.body.decode()


def test_kinds_are_those_of_the_command() -> None:
    from automator.cli.history import _KINDS

    assert KINDS == _KINDS


# -- looking now ---------------------------------------------------------------------------------------


def test_looking_now_is_of_all_one_repo_or_one_workload(api: Api) -> None:
    for body, looks in (
        ("{}", [("shop", None), ("lab", None)]),
        ('{"repo": "lab"}', [("lab", None)]),
        ('{"repo": "shop", "workload": "web"}', [("shop", "web")]),
        ('{"repo": null, "workload": null}', [("shop", None), ("lab", None)]),
    ):
        api.desk.looks.clear()
        told = hold(api.look(body), "/look", 202, "post")
        assert (api.desk.looks, told["looking"]) == (looks, [repo for repo, _ in looks])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"repo": "nowhere"}', 404),
        ('{"repo": "shop", "workload": "nothing"}', 404),
        ('{"workload": "web"}', 400),
        ('{"repo": 1}', 400),
        ('{"repo": "shop", "more": 1}', 400),
        ("[]", 400),
        ("{", 400),
        ("", 400),
        ("\xff", 400),
        ("[" * 3000, 400),
        ('{"repo": "' + "x" * 5000 + '"}', 413),
    ],
)
def test_a_body_that_cannot_be_used_has_no_effect(api: Api, body: str, status: int) -> None:
    hold(api.look(body), "/look", status, "post")
    assert api.desk.looks == []


def test_a_body_of_another_kind_is_not_read(api: Api) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        hold(api.look(Content_Type=kind), "/look", 415, "post")
    hold(api.look(Content_Type="application/json; charset=utf-8"), "/look", 202, "post")


# -- how it is answered --------------------------------------------------------------------------------


def test_an_answer_that_still_stands_is_not_sent_again(api: Api) -> None:
    first = api.ask("workloads")
    tag = first.headers["etag"]
    for told in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = api.ask("workloads", If_None_Match=told)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert api.ask("workloads", If_None_Match='"other"').status == 200
    api.desk.views = workloads(4)
    assert api.ask("workloads", If_None_Match=tag).status == 200


def test_head_is_get_without_its_body(api: Api) -> None:
    whole, head = api.ask("workloads"), api.ask("workloads", "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("text/html, application/*;q=0.1", 200),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200),
        ("", 200),
        ("nonsense;;q=x,*/*", 200),
        ("text/html", 406),
        ("application/json;q=0, */*", 406),
        ("image/png, application/xml;q=0.9", 406),
    ],
)
def test_who_accepts_no_json_gets_none(api: Api, accept: str, status: int) -> None:
    answer = api.ask("repos", Accept=accept)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "path", ["repos", "nothing", "/nowhere", "workloads?x=1", "openapi.json", "/healthz"]
)
def test_every_answer_has_the_strict_headers(api: Api, path: str) -> None:
    headers = api.ask(path).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] in ("no-store", "private, no-cache")
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert not {"server", "access-control-allow-origin"} & headers.keys()


def test_a_page_may_load_nothing_but_ours(api: Api) -> None:
    policy = api.ask("/nowhere", Accept="text/html").headers["content-security-policy"]
    told = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert (told["default-src"], told["frame-ancestors"], told["base-uri"]) == ("'none'",) * 3
    assert told["script-src"] == told["style-src"] == told["form-action"] == "'self'"
    assert "unsafe" not in policy


def test_hostile_text_stays_text(api: Api) -> None:
    told = api.ask("workloads/shop/api").json
    assert told["owner"] == HOSTILE
    page = api.ask(f"/{quote(HOSTILE)}", Accept="text/html")
    assert (page.status, b"<script>" in page.body) == (404, False)


def test_a_long_address_and_a_long_head_are_told_apart(api: Api) -> None:
    answer = api.ask("/" + "x" * 9_000)
    assert (answer.status, answer.code) == (414, "web/long-address")
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 20_000)
        answered = client.makefile("rb").read()
    head, _, body = answered.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["error"]["code"] == "web/long-head"
    assert b"nosniff" in head


def test_what_is_no_http_is_told_so_in_json(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "web/malformed"


def test_a_bug_shows_no_details(api: Api) -> None:
    api.desk.views = None  # type: ignore[assignment]
    answer = api.ask("workloads")
    assert (answer.status, answer.code) == (500, "web/bug")
    assert b"NoneType" not in answer.body
    assert b"Traceback" not in answer.body
    assert api.ask("repos").status == 200


def test_what_cannot_be_had_just_now_says_why(api: Api) -> None:
    class Broken(StillDesk):
        def workloads(self) -> Any:
            raise ConfigError(reason("state/unusable", folder="state", problem="the disk is full"))

    api.desk.__class__ = Broken
    try:
        answer = api.ask("workloads")
    finally:
        api.desk.__class__ = StillDesk
    assert hold(answer, "/workloads", 503)["error"]["code"] == "state/unusable"


def test_statuses_that_every_request_may_get_have_a_shape() -> None:
    for path, methods in DESCRIPTION["paths"].items():
        for told in methods.values():
            assert {str(status) for status in COMMON} <= told["responses"].keys(), path
    assert NOON.tzinfo is not None
