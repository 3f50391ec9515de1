"""Formats: what `check` found, for people at a terminal, for programs, and for the CI systems that show it.

File names, tags and lines come from strangers. Each format keeps them what they are: no control
characters reach a terminal or a log, no line can begin like a command of a CI system, XML and JSON are
written by their libraries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree

import click
from rich.cells import cell_len

from automator import __version__
from automator.cli.options import counted
from automator.cli.render import COLOURS
from automator.core.shown import shown_reason
from automator.reasons import CODES, one_line

if TYPE_CHECKING:
    from automator.cycle.findings import Finding
    from automator.cycle.gate import Verdict

MANY = 10
"""Findings of one kind after which the last summary also counts them by code."""


def summary(verdict: Verdict) -> str:
    """`3 workloads, 5 sites: 1 error, 2 warnings`."""
    found = counted(verdict.workloads, "workload"), counted(verdict.sites, "site")
    judged = counted(verdict.errors, "error"), counted(verdict.warnings, "warning")
    return f"{', '.join(found)}: {', '.join(judged)}"


# -- terminal ------------------------------------------------------------------------------------------


def terminal(verdict: Verdict, *, strict: bool) -> str:
    """For people: each finding with its place, the line, a caret under the value, and what to do."""
    parts = [_shown(finding) for finding in verdict.findings]
    told = [*parts, *([_by_code(verdict)] if len(parts) > MANY else []), summary(verdict)]
    if strict and verdict.warnings and not verdict.errors:
        told[-1] += "; --strict: warnings fail"
    return "\n".join(told) + "\n"


def _shown(finding: Finding) -> str:
    """The level comes first on each line: nothing of a stranger begins one."""
    level = click.style(f"{finding.level}:", fg=COLOURS[finding.level], bold=True)
    column = "" if finding.column is None else f":{finding.column}"
    lines = [f"{level} {_flat(finding.place)}{column}: {finding.sentence}  [{finding.reason.code}]"]
    if finding.text is not None and finding.text.strip():
        lines += _excerpt(finding, finding.text)
    lines.append(f"  next: {finding.reason.next_step}")
    return "\n".join(lines) + "\n"


def _excerpt(finding: Finding, text: str) -> Iterator[str]:
    margin = f"  {finding.line} | "
    start, end = (finding.column or 1) - 1, (finding.end or 1) - 1
    visible = _visible(text)
    yield f"{margin}{visible}"
    if finding.column is not None:
        before, marked = cell_len(visible[:start]), max(cell_len(visible[start:end]), 1)
        blank = " " * (len(margin) - 2)
        caret = click.style("^" * marked, fg=COLOURS[finding.level])
        yield f"{blank}| {' ' * before}{caret}"


def _visible(text: str) -> str:
    """A line of a file, character for character, with what a terminal would obey as dots."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "·" for c in text)


def _flat(text: str) -> str:
    return one_line(text, 400)


def _by_code(verdict: Verdict) -> str:
    counts: dict[tuple[str, str], int] = {}
    for finding in verdict.findings:
        key = (finding.level, finding.reason.code)
        counts[key] = counts.get(key, 0) + 1
    rows = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return "".join(f"  {number} of {code} ({level})\n" for (level, code), number in rows)


# -- json ----------------------------------------------------------------------------------------------


def plain_json(verdict: Verdict, *, strict: bool) -> str:
    """For programs: the findings with their codes and parameters."""
    findings = [
        {
            "level": finding.level,
            "place": finding.place,
            "file": finding.file,
            "line": finding.line,
            "column": finding.column,
            "reason": shown_reason(finding.reason),
        }
        for finding in verdict.findings
    ]
    passed = not (verdict.errors or (strict and verdict.warnings))
    told = {"passed": passed, "workloads": verdict.workloads, "sites": verdict.sites, "findings": findings}
    return _dumped(told)


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n"


# -- SARIF ---------------------------------------------------------------------------------------------

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(verdict: Verdict, *, strict: bool) -> str:
    """SARIF 2.1.0 (OASIS): what code scanning of GitHub, GitLab and editors read."""
    codes = list(dict.fromkeys(finding.reason.code for finding in verdict.findings))
    levels = {finding.reason.code: finding.level for finding in reversed(verdict.findings)}
    driver = {
        "name": "automator",
        "version": __version__,
        "rules": [_sarif_rule(code, levels[code]) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, codes.index(finding.reason.code)) for finding in verdict.findings],
    }
    return _dumped({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def _sarif_rule(code: str, level: str) -> dict[str, Any]:
    row = CODES[code]
    first = row.meaning.partition(". ")[0].removesuffix(".") + "."
    return {
        "id": code,
        "shortDescription": {"text": first},
        "fullDescription": {"text": row.meaning},
        "help": {"text": f"{row.meaning} `automator explain {code}` says the same."},
        "defaultConfiguration": {"level": level},
    }


def _sarif_result(finding: Finding, rule: int) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.file, errors="surrogateescape")}}
    if finding.line is not None:
        region: dict[str, Any] = {"startLine": finding.line}
        if finding.column is not None and finding.end is not None:
            region |= {"startColumn": finding.column, "endColumn": max(finding.end, finding.column + 1)}
        location["region"] = region
    return {
        "ruleId": finding.reason.code,
        "ruleIndex": rule,
        "level": finding.level,
        "message": {"text": f"{finding.sentence}. Next: {finding.reason.next_step}."},
        "locations": [{"physicalLocation": location}],
    }


# -- GitHub --------------------------------------------------------------------------------------------


def github(verdict: Verdict, *, strict: bool) -> str:
    """Workflow commands of GitHub Actions (Gitea and Forgejo know them too): notes at the changed lines."""
    return "".join(f"{_command(finding)}\n" for finding in verdict.findings) + summary(verdict) + "\n"


def _command(finding: Finding) -> str:
    properties = {"file": _flat(finding.file)}
    if finding.line is not None:
        properties["line"] = str(finding.line)
    if finding.column is not None and finding.end is not None:
        properties |= {"col": str(finding.column), "endColumn": str(finding.end)}
    properties["title"] = finding.reason.code
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = f"{finding.sentence}\nnext: {finding.reason.next_step}"
    return f"::{finding.level} {told}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# -- JUnit ---------------------------------------------------------------------------------------------


def junit(verdict: Verdict, *, strict: bool) -> str:
    """JUnit XML, which most CI systems show: one case for each finding, one for each policy file without.

    Warnings are skipped cases, so that they are seen and fail nothing; failures under `--strict`.
    """
    cases = [_case(finding, strict=strict) for finding in verdict.findings]
    spoken_of = {finding.file for finding in verdict.findings}
    cases.extend(_passed(_flat(file)) for file in verdict.files if file not in spoken_of)
    cases.extend([] if cases else [_passed("check")])
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": "0",
    }
    suite = ElementTree.Element("testsuite", {"name": "automator check", **counts})
    suite.extend(cases)
    del counts["skipped"]
    root = ElementTree.Element("testsuites", {"name": "automator check", **counts})
    root.append(suite)
    ElementTree.indent(root)
    written = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'


def _passed(name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", {"classname": name, "name": "check", "time": "0"})


def _case(finding: Finding, *, strict: bool) -> ElementTree.Element:
    where = {"classname": _flat(finding.file), "file": _flat(finding.file)}
    named = finding.reason.code if finding.line is None else f"line {finding.line}: {finding.reason.code}"
    if finding.line is not None:
        where["line"] = str(finding.line)
    case = ElementTree.Element("testcase", {"name": named, **where, "time": "0"})
    if finding.error or strict:
        said = ElementTree.SubElement(case, "failure", {"message": finding.sentence, "type": finding.level})
        text = "" if finding.text is None else f"{_visible(finding.text)}\n"
        said.text = f"{_flat(finding.place)}: {finding.sentence}\n{text}next: {finding.reason.next_step}"
    else:
        ElementTree.SubElement(case, "skipped", {"message": f"warning: {finding.sentence}"})
    return case


FORMATS: dict[str, Callable[..., str]] = {
    "terminal": terminal,
    "json": plain_json,
    "sarif": sarif,
    "github": github,
    "junit": junit,
}
"""`--format` -> what writes it, given a verdict and `strict`."""
