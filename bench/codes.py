"""The reference half of docs/troubleshooting.md: every reason code, written from the table of the program.

`make docs` runs it. What stands above the marker in the page is written by people and stays as it is; with
`--check` nothing is written, and the exit code is 1 where page and table differ.
"""

from __future__ import annotations

import argparse
import re
import string
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from automator.reasons import CODES, Code

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
MARKER = "<!-- what follows is written by `make docs` from automator/reasons.py -->"

AREAS = {
    "action": "What somebody asked for by a command, such as `rollback` or `hold`, and did not get.",
    "claim": "Which policy is about which place in the manifests.",
    "cluster": "A Kubernetes API that was asked what runs there.",
    "config": "The config file and its variables.",
    "constraint": "A version range that is none.",
    "credentials": "Logins of registries: files, Docker configs, helpers, clouds.",
    "current": "Outcomes *current*: there is nothing newer to release.",
    "daemon": "The daemon as a process: listeners, cycles that are late, stuck or cut off.",
    "drift": "What runs, beside what Git says.",
    "edit": "A command wanted to change a policy file and could not without touching more.",
    "engine": "A Docker or Podman engine that was asked what runs there.",
    "facts": "Bounds on what is looked up about one image.",
    "feedback": "What is told to the pull requests and issues of a release's source.",
    "file": "Files of the config repo, or named on the command line.",
    "follow": "Tags that are followed by their digest.",
    "forge": "GitHub, GitLab, Gitea, Forgejo or Bitbucket, and what they answered.",
    "git": "The Git server, the clone and the branch.",
    "group": "Workloads that move together.",
    "guard": "Outcomes *waiting* and *held*: a newer version, with a policy's word or a person's before it.",
    "history": "What people and earlier releases did, read from the commits.",
    "hooks": "Events of registries and forges that came in.",
    "import": "Settings of other tools, read by `import`.",
    "init": "First policies, proposed by `init`.",
    "lint": "What `check` warns of: it works, and will surprise somebody.",
    "marker": "Comments in manifests that name a policy.",
    "notify": "Messages to receivers.",
    "pattern": "A glob or regular expression that is none.",
    "policy": "Policy files that cannot be used as they are.",
    "proposal": "Pull requests of releases.",
    "push": "The last step: a commit that did not reach the branch.",
    "reference": "Names of images that are none.",
    "registry": "Registries and the way there.",
    "release": "The commit's own words.",
    "released": "Outcomes *released*.",
    "reload": "A changed config, read by a daemon that runs.",
    "rule": "Guard rails over all policies.",
    "set": "The rewriter for pipelines, `automator set`.",
    "signature": "Signatures of images.",
    "site": "One place in a file where an image stands, and why it is not written.",
    "state": "The state folder and its database.",
    "tag": "Why one tag of a list is not the one: the verdicts of `explain WORKLOAD`.",
    "usage": "The command line.",
    "verify": "Checks after a release.",
    "waiting": "Outcomes *waiting* that end by themselves.",
    "web": "The API and the dashboard.",
    "window": "Windows in time that are none.",
    "yaml": "YAML that cannot be read.",
}
"""What the codes of an area are about, one sentence each."""


def shown(template: str) -> str:
    """A template with its fields as words in capitals, as the pages write what stands for something."""
    parsed = string.Formatter().parse(template)
    return "".join(text + ("" if name is None else name.upper()) for text, name, _, _ in parsed)


def plain(text: str) -> str:
    """Text that Markdown shows as it is; what stands in backticks stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<\[\]])", r"\\\1", part) for part in parts)


def quoted(text: str) -> str:
    """Text as code, whatever backticks it has."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def entry(row: Code) -> str:
    """One code: what is said, what it means, what to do."""
    step = shown(row.next_step)
    lines = [f"#### `{row.code}`", quoted(shown(row.sentence)), plain(row.meaning)]
    if step != "nothing to do":
        lines.append(f"**Next:** {plain(step)}.")
    return "\n\n".join(lines)


def area_of(row: Code) -> str:
    return row.code.partition("/")[0]


def sections() -> Iterator[str]:
    """Area by area in the order of the alphabet, each with its codes in that of the table."""
    for area, rows in groupby(sorted(CODES.values(), key=area_of), key=area_of):
        yield f"### {area}\n\n{AREAS[area]}"
        yield from map(entry, rows)


def reference() -> str:
    """All that stands below the marker."""
    areas = sorted({area_of(row) for row in CODES.values()})
    links = " · ".join(f"[{area}](#{area})" for area in areas)
    intro = (
        f"{len(CODES)} codes in {len(areas)} areas; words in CAPITALS are filled in by what happened. "
        "`automator explain CODE` prints one of them in a terminal."
    )
    return "\n\n".join(["## Every code", intro, links, *sections()]) + "\n"


def page(text: str) -> str:
    """The page with its reference half written anew; raises ValueError where it has no marker."""
    head, marker, _ = text.partition(MARKER)
    if not marker:
        raise ValueError(f"{PAGE.name} has no line {MARKER}")
    return f"{head}{MARKER}\n\n{reference()}"


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(prog="python -m bench.codes", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where page and table differ")
    options = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text)
    if text == wanted:
        return 0
    if options.check:
        print(f"{PAGE.name} is not what the table says: run `make docs`", file=sys.stderr)
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
