"""Monitoring: metrics, their page, the alert rules and the dashboard agree, and promtool takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from parts.numbers import busy
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/monitoring"
PAGE = ROOT / "docs/monitoring.md"
NAME = re.compile(r"\b(?:automator|process|python)_[a-z_]+\b(?!\.)")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
SEVERITIES = {"critical", "warning", "info"}


def told() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric by its name, with its type and its labels."""
    found = {}
    for family in text_string_to_metric_families(busy().render().decode()):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, tuple(sorted(labels)))
    return found


def series() -> set[str]:
    """Every name under which a sample is found."""
    families = text_string_to_metric_families(busy().render().decode())
    return {sample.name for family in families for sample in family.samples}


def rules() -> list[dict[str, Any]]:
    loaded = YAML(typ="safe").load((FOLDER / "alerts.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """The dashboard's questions, as they are once Grafana has filled its variables in."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [re.sub(r"\$(job|instance|repo)\b", ".*", e.replace("$__rate_interval", "5m")) for e in asked]


def promtool(*arguments: str | Path, cwd: Path = FOLDER) -> None:
    program = shutil.which("promtool")
    assert program is not None
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


# -- the page --------------------------------------------------------------------------------------------


def test_the_page_has_every_metric_with_its_type_and_labels_and_no_other() -> None:
    rows = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            rows[cells[0].strip("`")] = (cells[1], tuple(sorted(re.findall(r"`(\w+)`", cells[2]))))
            assert cells[3], cells[0]
    assert rows == told()


def test_the_page_has_every_alert_and_no_other() -> None:
    headings = re.findall(r"^### (Automator\w+)$", PAGE.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]


# -- the rules -------------------------------------------------------------------------------------------


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    asked = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    asked |= {name for expression in expressions() for name in NAME.findall(expression)}
    assert asked - series() == set()


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    shown = {name for expression in expressions() for name in NAME.findall(expression)}
    names = {name: (name, *(name + s for s in SUFFIXES.get(kind, ()))) for name, (kind, _) in told().items()}
    assert [n for n, all_ in names.items() if n.startswith("automator_") and shown.isdisjoint(all_)] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["description"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/monitoring.md#{rule['alert'].lower()}"


def test_every_alert_is_shown_to_fire_and_not_to_fire() -> None:
    cases = YAML(typ="safe").load((FOLDER / "alerts.test.yaml").read_text())["tests"]
    shown = [each for case in cases for each in case["alert_rule_test"]]
    names = [rule["alert"] for rule in rules()]
    assert sorted({each["alertname"] for each in shown if each["exp_alerts"]}) == sorted(names)
    assert sorted({each["alertname"] for each in shown if not each["exp_alerts"]}) == sorted(names)


@pytest.mark.needs("prometheus")
@pytest.mark.slow
def test_promtool_takes_the_rules_and_their_tests() -> None:
    promtool("check", "rules", "alerts.yaml")
    promtool("test", "rules", "alerts.test.yaml")


# -- the dashboard ---------------------------------------------------------------------------------------


@pytest.mark.needs("prometheus")
def test_promtool_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    recorded = [{"record": f"shown:{number}", "expr": e} for number, e in enumerate(expressions())]
    file = tmp_path / "asked.json"
    file.write_text(json.dumps({"groups": [{"name": "shown", "rules": recorded}]}))
    promtool("check", "rules", file, cwd=tmp_path)


def test_the_dashboard_can_be_imported_anywhere() -> None:
    board = dashboard()
    assert (board["id"], board["uid"]) == (None, None)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert {"job", "instance", "repo"} <= variables.keys()
    sources = [panel["datasource"] for panel in panels()]
    sources += [target["datasource"] for panel in panels() for target in panel["targets"]]
    sources += [v["datasource"] for v in variables.values() if v["type"] == "query"]
    assert {source["uid"] for source in sources} == {"${datasource}"}


def test_panels_have_their_own_place_and_title() -> None:
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in panels()]
    assert all(titles)
    assert len(titles) == len(set(titles))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
