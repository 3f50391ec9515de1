"""The dashboard's pages: what they tell, what can be asked of them, and what they never do."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from parts.desks import HOSTILE, HOUR, NOON, StillDesk, chain, change, current, outcome, workloads
from parts.fleets import FORGE, FleetDesk
from parts.pages import site, text_of, words_of

from automator.core.policy import InvalidWorkload, Place
from automator.core.view import (
    Chain,
    ChainEdge,
    ChainNode,
    Past,
    PolicyView,
    RegistryView,
    RepoView,
    SiteView,
    Verdicts,
    WorkloadView,
)
from automator.edges.web.pages.drawing import link, relative, ticked
from automator.edges.web.pages.routes import PAGES
from automator.edges.web.pages.words import as_of
from automator.reasons import CODES, Reason, Status, reason

ADDRESSES = (
    *("/", "/workloads/shop/web", "/workloads/shop/mail", "/chains", "/drift", "/releases", "/report"),
    *("/registries", "/policies", "/repos", "/codes", "/codes/guard/min-age"),
)
LARGEST = 300_000
"""Bytes that no page exceeds."""


@pytest.fixture(scope="module")
def fleet() -> FleetDesk:
    return FleetDesk()


# -- every page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_page_is_valid_and_has_landmarks_and_one_heading(fleet: FleetDesk, path: str) -> None:
    page = site(fleet).get(path)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("footer")) == 1
    assert page.all("html", lang="en")
    assert page.all("nav", aria_label="Main")
    assert page.all("a", class_="skip", href="#content")
    for table in page.all("table"):
        assert any(str(one.tag).endswith("}caption") for one in table), "a table says what it is of"
    for head in page.all("th"):
        assert head.get("scope") in ("col", "row")


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_page_has_nothing_that_its_own_policy_refuses_and_asks_nobody_else(
    fleet: FleetDesk, path: str
) -> None:
    page = site(fleet).get(path)
    policy = page.headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "default-src 'none'" in policy
    for one in page.tree.iter():
        assert "style" not in one.attrib
        assert not [name for name in one.attrib if name.startswith("on")]
        tag = str(one.tag).rpartition("}")[2]
        assert tag != "style"
        if tag == "script":
            assert not one.text
        loaded = one.get("src") or (one.get("href") if tag == "link" else None)
        assert loaded is None or loaded.startswith("/assets/")


def test_the_page_that_is_shown_is_marked_in_the_menu(fleet: FleetDesk) -> None:
    for path in ("/", "/chains", "/drift", "/releases", "/report", "/registries", "/policies", "/repos"):
        marked = site(fleet).get(path).all("a", aria_current="page")
        assert [one.get("href") for one in marked] == [path]


def test_style_and_script_have_names_of_their_content_and_are_kept(fleet: FleetDesk) -> None:
    it = site(fleet)
    page = it.get("/")
    loaded = [one.get("href") or one.get("src") for one in (*page.all("link"), *page.all("script"))]
    assert len(loaded) == 3
    for path in loaded:
        assert path
        assert re.fullmatch(r"/assets/(style|script|icon)-[0-9a-f]{12}\.(css|js|svg)", path)
        answer = it.get(path)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
    assert it.get("/assets/style-000000000000.css").status == 404
    assert it.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    assert page.headers["cache-control"] == "no-store"


def test_strange_parameters_are_a_page_that_says_so(fleet: FleetDesk) -> None:
    for path in ("/?colour=red", "/?status=odd", "/?offset=-1", "/report?by=colour", "/releases?since=x"):
        page = site(fleet).get(path)
        assert page.status == 400, path
        assert "web/" in page.words
    assert site(fleet).get("/?owner=&status=&text=").status == 200, "a form sends its empty fields too"
    lost = site(fleet).get("/nowhere").words
    assert "web/not-found" in lost
    assert "openapi" not in lost, "that is for programs"
    assert "web/no-workload" in site(fleet).get("/workloads/shop/none").words
    assert "web/no-code" in site(fleet).get("/codes/no/code").words


# -- strangers' texts ------------------------------------------------------------------------------------


def hostile_desk() -> StillDesk:
    bad = "javascript:alert(1)"
    view = workloads()[-1]
    told = replace(view.outcome, current=HOSTILE, target=HOSTILE, candidate=HOSTILE, environment=HOSTILE)
    view = replace(
        view,
        outcome=told,
        sites=(SiteView(HOSTILE, HOSTILE, bad), SiteView("x", None, "https://a:b@evil.example/")),
        policy_page="http://elsewhere.example/x",
        commit_page=bad,
        pull_request="//evil.example/x",
    )
    first = change(0)
    odd = replace(
        first,
        author=HOSTILE,
        merged_by=HOSTILE,
        actor=HOSTILE,
        reason=HOSTILE,
        environment=HOSTILE,
        member=replace(first.member, before=HOSTILE, after=HOSTILE),
    )
    return StillDesk(views=(*workloads()[:-1], view), changes=(odd,))


@pytest.mark.parametrize("path", ADDRESSES)
def test_text_of_strangers_is_text(path: str) -> None:
    page = site(hostile_desk()).get(path.replace("mail", "api"))
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    assert len(page.all("script")) == 1
    for address in page.links:
        assert address.startswith(("/", "#", "https://git.example.com/", "https://dora.dev/")), address
    for one in page.all("a"):
        if one.get("href", "").startswith("https:"):
            assert "noopener" in (one.get("rel") or "")


def test_what_a_visitor_asks_for_is_text_too() -> None:
    page = site(hostile_desk()).get("/", {"text": HOSTILE, "owner": HOSTILE})
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text, "what turns text round is not shown,"
    assert page.all("input", name="text")[0].get("value") == HOSTILE, "and sent back as it came"
    assert next(one.get("value") for one in page.all("option", selected="")) == HOSTILE


def test_links_lead_to_https_or_to_the_forge_that_the_config_names() -> None:
    forge = "http://git.lan:3000/acme/shop"
    assert link("https://example.com/x") == "https://example.com/x"
    assert link(f"{forge}/commit/1", forge) == f"{forge}/commit/1"
    for bad in ("javascript:x", "http://git.lan:3000.evil.example/", "https://a@b/", "//b/", "x", "data:,"):
        assert link(bad, forge) is None
    assert link("https://exa\nmple.com/", forge) is None


def test_backticks_are_code_and_nothing_else() -> None:
    assert ticked("set `<b>` now") == "set <code>&lt;b&gt;</code> now"
    assert ticked("one ` alone <") == "one ` alone &lt;"


def test_a_time_in_a_sentence_is_kept_in_one_piece() -> None:
    at = '<span class="time">2026-11-21 22:58:17 UTC</span>'
    assert ticked("<b> at 2026-11-21 22:58:17 UTC, or `2026-11-21`") == (
        f"&lt;b&gt; at {at}, or <code>2026-11-21</code>"
    )
    assert ticked("on 2026-11-21; not 12026-11-21, nor v2026-11-21-3") == (
        'on <span class="time">2026-11-21</span>; not 12026-11-21, nor v2026-11-21-3'
    )


# -- the first page --------------------------------------------------------------------------------------


def test_workloads_what_needs_a_person_first(fleet: FleetDesk) -> None:
    page = site(fleet).get("/")
    assert page.rows()[:5] == ["shop/mail", "shop/payments", "shop/api", "shop/web", "staging/edge"]
    assert "All 20" in page.words
    assert "2 versions, 3 days behind" in page.words
    assert "remove hold at policies/payments.yaml:9" in page.words, "the next step of what is stuck"
    assert "changes in 1 hour" in page.words
    assert "lab : https://git.example.com/x cannot be reached" in page.words, "a config repo in trouble"
    times = page.all("time", datetime="2026-11-20T13:00:00Z")
    assert times[0].get("title") == "2026-11-20 13:00:00 UTC"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status": "failed"}, ["shop/mail"]),
        ({"status": ["failed", "held"]}, ["shop/mail", "shop/payments"]),
        ({"owner": "team-data", "environment": "production"}, ["shop/mail", "shop/cart", "shop/edge"]),
        ({"repo": "staging", "text": "edge"}, ["staging/edge"]),
        ({"text": "AUDIT runs"}, ["shop/payments"]),
        ({"text": "nothing of that kind"}, []),
    ],
)
def test_filters(fleet: FleetDesk, query: dict[str, object], found: list[str]) -> None:
    page = site(fleet).get("/", query)
    assert page.rows() == found
    if not found:
        assert "No workload is like that" in page.words


def test_a_config_that_is_not_used_stands_above_every_page_until_it_is(fleet: FleetDesk) -> None:
    assert "not used" not in site(fleet).get("/").text
    well = fleet.process
    why = reason("reload/refused", problem="config.toml:3: no such key `intervall`")
    fleet.process = replace(well, config_refused=why, config_refused_at=NOON - HOUR)
    for path in ("/", "/workloads/shop/web", "/repos", "/codes"):
        page = site(fleet).get(path)
        assert "the old one stays: config.toml:3: no such key intervall" in page.words, path
        assert "since 1 hour ago" in page.words
        assert "/codes/reload/refused" in page.links
    fallen = reason("reload/no-cycles", problem="the disk is full")
    fleet.process = replace(fleet.process, no_cycles=fallen)
    assert "no cycle runs: the new config could not be opened" in site(fleet).get("/").words
    fleet.process = well
    assert "not used" not in site(fleet).get("/").text


def test_counts_by_status_keep_the_other_filters(fleet: FleetDesk) -> None:
    page = site(fleet).get("/?environment=production&status=failed")
    tabs = {text_of(one): one.get("href") for one in page.all("a") if "status=" in one.get("href", "")}
    assert tabs["waiting 2"] == "/?environment=production&status=waiting"
    assert [text_of(one) for one in page.all("a", aria_current="true")] == ["failed 1"]


def test_orders(fleet: FleetDesk) -> None:
    it = site(fleet)
    assert it.get("/?sort=behind").rows()[0] == "shop/payments"
    assert it.get("/?sort=since").rows()[0] == "shop/payments"
    assert it.get("/?sort=name").rows()[:3] == ["shop/api", "staging/api", "shop/cache"]
    assert it.get("/?sort=environment").rows()[0] == "shop/api"
    assert it.get("/?sort=owner").rows()[0] == "shop/cart"
    head = it.get("/?sort=name").all("th", aria_sort="ascending")
    assert [text_of(one) for one in head] == ["Workload ↑"]


def test_a_thousand_workloads_come_in_pages() -> None:
    it = site(StillDesk(views=workloads(1000)))
    first = it.get("/")
    assert len(first.rows()) == 100
    assert len(first.text) < LARGEST
    assert "1 to 100 of 1000" in first.words
    assert len(it.get("/?offset=900").rows()) == 100
    last = it.get("/?offset=5000")
    assert "901 to 1000 of 1000" in last.words, "beyond the end is the end"
    assert [one.get("href") for one in last.all("a", rel="prev")] == ["/?offset=800"]


@dataclass
class EmptyDesk(StillDesk):
    """A desk with nothing on it, whose config repos are as given."""

    homes: tuple[RepoView, ...] = ()

    def repos(self) -> tuple[RepoView, ...]:
        return self.homes

    def policies(self) -> tuple[PolicyView, ...]:
        return ()

    def chains(self) -> tuple[Chain, ...]:
        return ()


def test_nothing_yet() -> None:
    home = RepoView("shop", "x", "main", None, "write", "push", HOUR)
    first = site(EmptyDesk(views=(), changes=(), homes=(home,)))
    assert "The first cycle has not ended yet" in first.get("/").words
    read = replace(home, started_at=NOON, finished_at=NOON)
    none = site(EmptyDesk(views=(), changes=(), homes=(read,)))
    assert "There are no workloads" in none.get("/").words
    assert "no policy has the key after" in none.get("/chains").words
    assert "No policy file has been read" in none.get("/policies").words
    assert "Nothing was released yet" in none.get("/releases").words


def test_what_is_not_known_is_not_said_to_be_nothing() -> None:
    lost = RepoView(
        *("shop", "x", "main", None, "write", "push", HOUR),
        finished_at=NOON,
        error=reason("git/unreachable", url="x", words="refused"),
    )
    it = site(EmptyDesk(views=(), homes=(lost,)))
    for path in ("/", "/chains", "/policies"):
        words = it.get(path).words
        assert "is not known: shop could not be read" in words, path
        assert "no policy" not in words.lower()


def test_the_version_of_a_policy_that_cannot_be_used_is_that_of_its_site() -> None:
    place = Place("policies/web.yaml", 3)
    why = reason("policy/no-upstream", place=place, missing="staging/web")
    entry = InvalidWorkload("web", None, ("workloads", "web"), why, place)
    told = replace(outcome("web", Status.FAILED, why), image="", current=None, sites=("a.yaml#image",))
    unread = SiteView("b.yaml#image", None, None, is_read=False)
    view = WorkloadView("shop", told, entry, (SiteView("a.yaml#image", "1.2.1", None), unread))

    class Desk(StillDesk):
        def verdicts(self, repo: str, name: str) -> Verdicts | None:
            return Verdicts((), NOON)

    it = site(Desk(views=(view,), changes=()))
    page = it.get("/workloads/shop/web")
    assert "Version 1.2.1" in page.words
    assert "b.yaml#image not known" in page.words, "another process read it"
    assert "Nothing is known of its tags" in page.words
    assert "lists no tag" not in page.words
    assert "not known" in words_of(it.get("/").all("tbody")[0])


# -- a workload ------------------------------------------------------------------------------------------


def test_a_workload_tells_everything_of_itself(fleet: FleetDesk) -> None:
    page = site(fleet).get("/workloads/shop/web")
    assert "1.5.0 has been in staging/web for 1h of 2h" in page.words
    assert "Next step: wait, or let urgent name" in page.words
    assert "Changes by itself in 1 hour 2026-11-20 13:00 UTC" in page.words
    assert "what customers see of web" in page.words
    links = page.links
    assert "/codes/guard/soak" in links
    assert any(address.startswith(f"{FORGE}/shop/blob/") and "#L19" in address for address in links), "site"
    assert any("policies/web.yaml#L3" in address for address in links), "policy"
    assert any(address.startswith(f"{FORGE}/shop/commit/") for address in links), "releases"
    assert "/workloads/staging/web" in links, "its chain"
    assert "1 to 50 of 120" in page.words, "tags come in pages"
    kept = [words_of(one) for one in page.all("tr", class_="kept")]
    assert kept == ["kept 1.4.2 1.4.2 is the current version tag/current"]
    assert "1.4.60 is not newer" not in page.words
    assert "1.4.60 is not newer" in site(fleet).get("/workloads/shop/web?offset=50").words
    (form,) = [one for one in page.all("form") if one.get("action") == "/look"]
    told = {one.get("name"): one.get("value") for one in form.iter() if one.get("name")}
    assert told["repo"] == "shop"
    assert told["workload"] == "web"
    assert told["next"] == "/workloads/shop/web"
    assert told["form_token"]


def test_a_workload_of_which_little_is_known() -> None:
    view = WorkloadView("shop", replace(outcome("web"), image=""), None)
    page = site(StillDesk(views=(view,), changes=())).get("/workloads/shop/web")
    assert "not known" in page.words
    assert "No place of the config repo is its own" in page.words
    assert "Nothing has happened to it yet" in page.words
    api = site(StillDesk()).get("/workloads/shop/api")
    assert "not known yet: the next cycle tells" in api.words


# -- what happened ---------------------------------------------------------------------------------------


def test_releases_day_by_day(fleet: FleetDesk) -> None:
    page = site(fleet).get("/releases")
    days = [text_of(one) for one in page.all("h2")]
    assert days[:2] == ["Friday, 20 November 2026", "Thursday, 19 November 2026"]
    assert (
        "rollback shop/ search 1.5.0 → to 1.4.2 “slow queries since 1.5.0” asked by Ann Author" in page.words
    )
    for kind in ("release", "promote", "rollback", "revert", "manual", "hold"):
        assert page.all("span", class_=f"kind k-{kind}")


def test_releases_are_asked_for_as_the_log_is(fleet: FleetDesk) -> None:
    asked = FleetDesk()
    it = site(asked)
    query = {"kind": "rollback", "environment": "production", "author": "ANN", "since": "30d", "repo": "shop"}
    page = it.get("/releases", query)
    assert asked.asked[-1].kinds == {"rollback"}
    assert asked.asked[-1].since == NOON - timedelta(days=30)
    assert asked.asked[-1].people == {"ann"}
    assert "slow queries" in page.words
    assert "No" in it.get("/releases?workload=none").words
    for period in (
        "since=2026-11-20&until=2026-11-01",
        "since=2027-01-01&until=2028-01-01",
        "until=0001-02-01",
    ):
        assert it.get(f"/releases?{period}").status == it.get(f"/report?{period}").status == 400
    assert it.get("/releases?repo=none").status == 400


def test_many_releases_come_in_pages() -> None:
    it = site(StillDesk(changes=tuple(change(n) for n in range(250))))
    first = it.get("/releases")
    assert len(first.text) < LARGEST
    (older,) = [one.get("href", "") for one in first.all("a", rel="next")]
    assert older == "/releases?offset=100"
    last = it.get("/releases?offset=200")
    assert len(last.all("li")) - len(first.all("li")) == -50
    assert not last.all("a", rel="next")


def test_while_history_is_read_the_page_asks_again() -> None:
    it = site(StillDesk(state="reading"))
    for path in ("/releases", "/report", "/workloads/shop/web"):
        page = it.get(path)
        assert page.all("body", data_again="3"), "by the script, which disturbs nobody who types"
        (again,) = page.all("meta", http_equiv="refresh")
        assert again.get("content") == "3"
        assert "<noscript><meta" in page.text, "or by the browser where there is no script"
        assert "reading history…" in page.words
    ready = site(StillDesk()).get("/releases")
    assert not ready.all("meta", http_equiv="refresh")
    assert ready.all("body", data_again="15")


def test_the_report_has_figures_with_levels_that_lead_to_what_they_mean(fleet: FleetDesk) -> None:
    page = site(fleet).get("/report")
    assert "Change failure rate 2.3 % elite" in page.words
    for address in ("#frequency", "#lead-time", "#failure-rate", "#restore"):
        assert address in page.links
        assert page.all("dt", id=address[1:])
    assert len([one for one in page.tree.iter() if str(one.tag).endswith("}svg")]) > 4
    for by in ("owner", "environment", "repo", "week", "month"):
        assert site(fleet).get(f"/report?by={by}&since=30d").status == 200
    assert "team-data" in site(fleet).get("/report?by=owner").words


# -- how things stand ------------------------------------------------------------------------------------


def test_chains_as_a_picture_and_as_a_table(fleet: FleetDesk) -> None:
    page = site(fleet).get("/chains")
    assert "staging/payments → shop/payments" in page.words
    assert "soak 11:00 to 13:00" in page.words
    table = words_of(page.all("table")[0])
    assert "staging/api 1.5.0 current shop/api 1.4.2 waiting 2h 1.5.0" in table
    assert "/workloads/shop/edge" in page.links
    assert "/workloads/shop/backend" not in page.links, "a group has no page"
    assert len(site(fleet).get("/chains?text=payments").all("table")) == 1
    assert len(site(fleet).get("/chains?repo=shop").all("table")) == 4
    assert "No chain is like that" in site(fleet).get("/chains?text=nobody").words


def test_registries_policies_and_config_repos(fleet: FleetDesk) -> None:
    it = site(fleet)
    hosts = it.get("/registries")
    assert hosts.rows()[0] == "ghcr.io", "what is in trouble comes first"
    assert "asked again in 13 s, 2 requests queued" in hosts.words
    assert "87" in hosts.words
    files = it.get("/policies")
    assert files.rows()[0] == "shop/policies/shop.yaml"
    assert "mend the name" in files.words
    assert it.get("/policies?only=problems").rows() == ["shop/policies/shop.yaml"]
    assert it.get("/policies?only=warnings").rows() == ["shop/policies/web.yaml"]
    repos = it.get("/repos")
    assert [text_of(one) for one in repos.all("h2")] == ["lab", "shop", "staging"]
    assert len([one for one in repos.all("form") if one.get("action") == "/look"]) == 3
    assert "vendor is a submodule" in repos.words


def test_what_runs_beside_what_git_says(fleet: FleetDesk) -> None:
    it = site(fleet)
    page = it.get("/drift")
    assert page.rows()[:2] == ["far docker", "production kubernetes"], "what gives no answer comes first"
    assert page.rows()[2:] == ["shop/web", "shop/api", "shop/web", "shop/w00000"], "the worst first"
    assert it.get("/drift?state=diverged").rows()[2:] == ["shop/web"]
    assert it.get("/drift?runtime=far").rows()[2:] == ["shop/web"]
    assert "No workload is like that" in it.get("/drift?owner=nobody").words
    assert it.get("/drift?runtime=nowhere").status == 200
    facts = it.get("/workloads/shop/web")
    assert "At production" in facts.words
    assert "diverged" in facts.words


def test_without_runtimes_the_page_says_how_to_name_one() -> None:
    it = site(StillDesk(places=()))
    assert "[runtimes.NAME]" in it.get("/drift").words
    assert "At production" not in it.get("/workloads/shop/web").words


def test_the_next_cycle_is_the_interval_s_or_sooner() -> None:
    def words(**told: object) -> str:
        view = RepoView("shop", "x", "main", None, "write", "push", HOUR, started_at=NOON - HOUR / 2, **told)  # type: ignore[arg-type]

        class Desk(StillDesk):
            def repos(self) -> tuple[RepoView, ...]:
                return (replace(view, finished_at=NOON),)

        return site(Desk()).get("/repos").words

    assert "in 30 minutes , every 1h" in words()
    assert "in 10 minutes , every 1h" in words(changes_at=NOON + HOUR / 6)
    assert "running, began 1 hour ago" in words(running_since=NOON - HOUR)


@pytest.mark.parametrize("code", ["guard/min-age", "push/refused", "registry/denied"])
def test_a_code_is_explained(fleet: FleetDesk, code: str) -> None:
    page = site(fleet).get(f"/codes/{code}")
    assert CODES[code].meaning.replace("`", "") in page.words
    assert ("1 workload is there now" in page.words) == (code == "push/refused")


def test_all_codes_are_listed_and_found_by_words(fleet: FleetDesk) -> None:
    assert len(site(fleet).get("/codes").all("dt")) == len(CODES)
    assert "/codes/guard/soak" in site(fleet).get("/codes?text=soak").links


def test_every_status_has_a_word_and_a_shape() -> None:
    views = tuple(
        WorkloadView("shop", outcome(status.value, status, reason("tag/current", tag="1")), None)
        for status in Status
    )
    page = site(StillDesk(views=views)).get("/")
    shapes = set()
    for status in Status:
        (mark,) = page.all("span", class_=f"status {status.value}")
        assert text_of(mark) == status.value
        shapes.add(next(one.get("d") for one in mark.iter() if one.get("d")))
    assert len(shapes) == len(Status)


def test_times_in_words() -> None:
    assert relative(NOON - 3 * HOUR, NOON) == "3 hours ago"
    assert relative(NOON + HOUR / 3, NOON) == "in 20 minutes"
    assert relative(NOON, NOON) == "now"


# -- forms -----------------------------------------------------------------------------------------------


def test_several_values_of_a_filter_outlive_the_next_form_and_can_be_taken_away(fleet: FleetDesk) -> None:
    for path, name in (
        ("/", "owner"),
        ("/releases", "environment"),
        ("/report", "owner"),
        ("/chains", "repo"),
    ):
        one, other = ("staging", "shop") if name == "repo" else ("team-shop", "team-data")
        page = site(fleet).get(path, {name: [one, other]})
        assert page.status == 200
        form = next(each for each in page.all("form") if each.get("action") == path and each.get("class"))
        sent = [each.get("value") for each in form.iter() if each.get("name") == name and each.get("value")]
        chosen = [each.get("value") for each in form.iter() if each.get("selected") is not None]
        assert (one in chosen, sent) == (True, [other]), path
        assert f"{path}?{name}={other}" in page.links, "without the one"
        assert f"{path}?{name}={one}" in page.links


def test_a_wish_to_look_is_confirmed_on_the_page_it_came_from(fleet: FleetDesk) -> None:
    it = site(fleet)
    assert "Looking at shop : its cycle" in it.get("/workloads/shop/web?looked=shop").words
    assert "Nothing was looked at" in it.get("/?looked=-").words
    assert "Looking" not in it.get("/?looked=evil%20words").words, "an address is anybody's"
    page = it.get("/repos?looked=shop")
    assert {one.get("value") for one in page.all("input", name="next")} == {"/repos"}, "once"


# -- ages ------------------------------------------------------------------------------------------------


def test_ages_are_those_of_now_and_not_of_the_cycle_that_told_them() -> None:
    def soak(held: str) -> Reason:
        told = {"version": "1.4.3", "upstream": "staging/web", "soak": "2h", "at": "13:00"}
        return reason("guard/soak", changes_at=NOON + HOUR / 2, held=held, **told)

    assert "for 1h30m of 2h" in as_of(soak("0s"), NOON).sentence
    assert "for 2h of 2h" in as_of(soak("0s"), NOON + HOUR).sentence
    assert as_of(current("1"), NOON) == current("1")
    told = {"tag": "1.4.3", "min_age": "1h", "at": "13:00"}
    young = reason("guard/min-age", changes_at=NOON + HOUR / 2, age="2 minutes", **told)
    assert "1.4.3 is 30 minutes old" in as_of(young, NOON).sentence
    window = reason("guard/min-age", changes_at=NOON + HOUR, age="50 minutes", **told)
    assert as_of(window, NOON) == window, "it waits for a window: that tells nothing of the age"
    view = WorkloadView("shop", outcome("web", Status.WAITING, soak("0s")), None)
    assert "for 1h30m of 2h" in site(StillDesk(views=(view,))).get("/").words


def test_a_moment_of_another_year_has_its_year(fleet: FleetDesk) -> None:
    node = replace(chain().nodes[0], since=NOON - 400 * 24 * HOUR)

    class Desk(StillDesk):
        def chains(self) -> tuple[Chain, ...]:
            return (replace(chain(), nodes=(node, chain().nodes[1])),)

    page = site(Desk()).get("/chains")
    assert "since 16 Oct 2025 12:00 UTC" in page.words
    assert "soaks since 2026-11-20 11:00 UTC" in page.words


# -- the report ------------------------------------------------------------------------------------------


def test_a_history_that_cannot_be_read_is_said_so_and_not_waited_for() -> None:
    @dataclass
    class Desk(StillDesk):
        def summary(self, *_: object, **__: object) -> None:
            return None

        def past(self, *_: object, **__: object) -> Past:
            return Past("failed", (), None, reason("git/unreachable", url="x", words="refused"))

    page = site(Desk()).get("/report")
    assert "The history cannot be read: x cannot be reached: refused" in page.words
    assert "reading history" not in page.words
    assert not page.all("meta", http_equiv="refresh")


def test_few_days_have_no_level_of_how_often() -> None:
    page = site(StillDesk()).get("/report?since=1d")
    assert "4.0 a day no level yet 4 deployments in 1 day" in page.words
    assert "4.0 a week high 4 deployments in 7 days" in site(StillDesk()).get("/report?since=7d").words
    assert "in 1 week," in site(StillDesk()).get("/report?since=2h").text


def test_names_in_the_report_do_not_turn_text_round() -> None:
    turned = replace(change(0), owner="team\u202egnp", environment="a\u200bb")
    turned = replace(turned, member=replace(turned.member, after="1.0\u2066"))
    for by in ("owner", "environment", "workload"):
        text = site(StillDesk(changes=(turned,))).get(f"/report?by={by}").text
        assert all(one.isprintable() or one == "\n" for one in text)


# -- size ------------------------------------------------------------------------------------------------


def wide_chain(number: int, above: int, below: int) -> Chain:
    """Every one of some workloads before every one of others."""
    repo, why = f"repo-{number}", reason("file/unreadable", file="x" * 200, problem="y" * 200)
    nodes = [ChainNode(repo, f"w{n:04}-{'z' * 40}", "waiting", "1.4.2", NOON) for n in range(above + below)]
    keys = [(one.repo, one.name) for one in nodes]
    pairs = ((one, other) for one in keys[:above] for other in keys[above:])
    return Chain(tuple(nodes), tuple(ChainEdge(*pair, HOUR, "1.5.0", why) for pair in pairs))


def dense_chain(count: int) -> Chain:
    """Every workload after all those before it."""
    nodes = tuple(ChainNode("shop", f"w{n:04}", "waiting", "1.4.2", NOON) for n in range(count))
    keys = [(one.repo, one.name) for one in nodes]
    return Chain(
        nodes, tuple(ChainEdge(a, b, HOUR, "1.5.0", None) for n, b in enumerate(keys) for a in keys[:n])
    )


@pytest.mark.parametrize(
    "found",
    [
        tuple(wide_chain(n, 1, 300) for n in range(20)),
        tuple(wide_chain(n, 40, 40) for n in range(2)),
        (dense_chain(120),),
        (dense_chain(18), dense_chain(12)),
        tuple(wide_chain(n, 1, 1) for n in range(40)),
    ],
    ids=["long", "wide", "dense", "drawn", "many"],
)
def test_chains_of_any_kind_stay_small(found: tuple[Chain, ...]) -> None:
    @dataclass
    class Desk(StillDesk):
        def chains(self) -> tuple[Chain, ...]:
            return found

        def chain(self, repo: str, name: str) -> Chain | None:
            return found[0]

    it = site(Desk())
    page = it.get("/chains")
    assert len(page.text.encode()) < LARGEST
    assert len(it.get("/workloads/shop/web").text.encode()) < LARGEST
    assert len(page.all("h2")) == min(len(found), 20), "each is told of"


def test_problems_without_end_stay_small() -> None:
    why = tuple(reason("file/unreadable", file="x" * 200, problem="y" * 200) for _ in range(200))
    names = tuple(f"workload-{'z' * 50}-{n}" for n in range(300))
    homes = tuple(
        RepoView(f"repo-{n}", "p" * 200, "main", None, "write", "push", HOUR, warnings=why) for n in range(60)
    )

    class Desk(EmptyDesk):
        def policies(self) -> tuple[PolicyView, ...]:
            return tuple(PolicyView("shop", f"{n}.yaml", None, names, why, why) for n in range(60))

        def registries(self) -> tuple[RegistryView, ...]:
            return tuple(
                RegistryView(f"r{n}.example.com", False, 1, 1, 9.0, 1, NOON, why[0], 1, 1) for n in range(300)
            )

    it = site(Desk(homes=homes))
    for path in ("/policies", "/repos", "/registries"):
        page = it.get(path)
        assert len(page.text.encode()) < LARGEST, path
    assert "and 199 more" in it.get("/policies").words, "of each at least one is told"


def test_no_page_is_huge() -> None:
    view = workloads()[-1]
    long = tuple(SiteView(f"{'x' * 150}#{n}", "1.4.2", f"{FORGE}/{n}") for n in range(5000))
    crowd = tuple(replace(one, repo=f"repo-{n:04}") for n, one in enumerate(workloads(10_000)[:-1]))
    it = site(
        StillDesk(
            views=(*crowd, replace(view, sites=long)), tags=10_000, changes=tuple(map(change, range(3000)))
        )
    )
    for page in PAGES:
        path = page.path.format(repo="shop", name="web", area="current", code="newest")
        answer = it.get(path)
        assert answer.status == 200
        assert len(answer.text.encode()) < LARGEST, path
