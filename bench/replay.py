"""Replays recorded image bumps through `automator.set_image` and counts what became of them.

    python -m bench.replay [--tier pure] [--kind compose] [--verbose]

Each case is one file of one real commit: the text before, the text after, and for each image that
moved where it stood. Two runs: `old` says which version is replaced, `new` names the image and the
new version alone. The cases are not part of this repository: AUTOMATOR_CORPUS names their folder,
else it is `corpus` in AUTOMATOR_SHARED, else `../shared/corpus`.

What can become of a case:

    exact    the recorded bytes; where the commit changed other strings along, every image and nothing else
    quoted   exact, but for quotes that keep a new version such as 1.10 from being read as a number
    held     not a byte changed, and at least one reason why
    partly   some of several images moved exactly, the others held
    missed   an image was not found, and no reason said so; others may have moved exactly
    beyond   all that was asked, and the same version in a place that the commit left alone
    wrong    anything else: a byte that should have stayed, or one of several places of an image left behind
    error    an exception
    unasked  the place cannot be written as a field path, and the file names no image

Exit code 0, 1 when a case went wrong, 2 when there are no cases.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from automator.core.fields import parse_field
from automator.core.yamltext import quote_plain
from automator.reasons import Reason

FILES = ("public.jsonl.gz", "stress-public.jsonl.gz")
RUNS = ("old", "new")
CLASSES = ("exact", "quoted", "beyond", "held", "partly", "missed", "wrong", "error", "unasked")
BY_FIELD = ("unresolved", "selective")
"""Tiers whose images cannot be told by their name alone: a person would give the field."""

Case = Mapping[str, Any]


class MissingCorpus(Exception):
    """The recorded cases are not where they should be."""


def corpus() -> Path:
    """The folder of the recorded cases. Raises MissingCorpus when it is not there."""
    shared = Path(os.environ.get("AUTOMATOR_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    folder = Path(os.environ.get("AUTOMATOR_CORPUS") or shared / "corpus")
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        raise MissingCorpus(f"no {missing[0]} in {folder}: set AUTOMATOR_CORPUS to the folder that holds it")
    return folder


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of one file, line ends of their texts as they are."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for line in lines:
            yield json.loads(line)


# -- what is asked ------------------------------------------------------------------------------------


class Ask(NamedTuple):
    """One call of `set_image`, and which update it is for."""

    update: int
    image: str
    to: str
    old: str | None
    field: str | None


def version(tag: str, digest: str) -> str:
    """`tag`, `tag@digest`, or as a target `@digest`."""
    return f"{tag}@{digest}" if digest else tag


def asks(case: Case, run: str) -> list[Ask] | None:
    """The calls that a person would make for a case, in order, or None where nobody could."""
    found = []
    for number in in_order(case["updates"]):
        update = case["updates"][number]
        to = version(update["new_tag"] or "", update["new_digest"] or "")
        old = version(update["old_tag"] or "", update["old_digest"] or "").removeprefix("@") or None
        if run == "new":
            old = None
        image = update["image"] or ""
        chosen = case["tier"] in BY_FIELD or not image or update.get("same_ref_left")
        fields = _fields(update) if chosen else ()
        if fields is None and not image:
            return None
        found += [Ask(number, image, to, old, field) for field in fields or (None,)]
    return found


def in_order(updates: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indexes of the updates so that none is applied to what another has made: where a new version is
    another's old one (`a -> b`, `b -> c`), that other comes first."""
    left, order = list(range(len(updates))), []
    while left:
        free = [n for n in left if not any(_feeds(updates[n], updates[m]) for m in left if m != n)]
        order += free or left  # a ring cannot be ordered
        left = [n for n in left if n not in order]
    return order


def _feeds(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    new, old = (one["new_tag"], one["new_digest"]), (other["old_tag"], other["old_digest"])
    return one["image"] == other["image"] and new == old


def _fields(update: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The recorded places of an update as field paths, or None where one cannot be written so."""
    fields: dict[str, None] = {}
    for edit in update["edits"]:
        field = field_of(edit["yaml_path"] or "")
        if field is None:
            return None
        fields[field] = None
    return tuple(fields)


_INDEX = re.compile(r"\[(\d+)=(?:[^\[\]]|\[\w*\])*\]")


def field_of(path: str) -> str | None:
    """A recorded path (`#0.spec.containers[1=web].image`) in our grammar: list items by their index,
    any document. None for what has no such form (an item of unknown index, an empty path)."""
    field = _INDEX.sub(r"[\1]", re.sub(r"^#\d+\.", "", path))
    return field if "[]" not in field and parse_field(field) is not None else None


# -- what is expected ---------------------------------------------------------------------------------

TOKEN = re.compile(r"[A-Za-z0-9_.\-/:@+]+")


class Token(NamedTuple):
    """One token that the commit changed."""

    line: int
    """From 0."""
    column: int
    old: str
    new: str
    update: int | None
    """None for strings that are no image and changed along."""
    place: str
    """The mapping that the token stands in: pieces of one image have it in common."""


def tokens(case: Case) -> list[Token] | None:
    """Every changed token of a case, or None if they do not explain its bytes."""
    marks = [
        (edit["line"] - 1, edit["col"], number, edit["yaml_path"] or "")
        for number, update in enumerate(case["updates"])
        for edit in update["edits"]
    ]
    marks += [(c["line"] - 1, c["col"], None, "") for c in case.get("companions", ())]
    before, after = case["before"].split("\n"), case["after"].split("\n")
    if len(before) != len(after):
        return None
    found, shift, line = [], 0, -1
    for at, column, number, path in sorted(set(marks), key=lambda mark: mark[:2]):
        shift = shift if at == line else 0
        line = at
        old, new = TOKEN.match(before[at], column), TOKEN.match(after[at], column + shift)
        if old is None or new is None:
            return None
        shift += len(new[0]) - len(old[0])
        wanted = new[0] if number is None else _same_name(case["updates"][number], old[0], new[0])
        found.append(Token(at, column, old[0], wanted, number, f"{path.rpartition('.')[0]}:{number}"))
    moved = any(update.get("new_image") for update in case["updates"])
    return found if moved or apply(case["before"], found) == case["after"] else None


def _same_name(update: Mapping[str, Any], old: str, new: str) -> str:
    """The new token, or where the commit moved the image too, the old one at the new version."""
    if not update.get("new_image"):
        return new
    had, gets = (version(update[f"{age}_tag"], update[f"{age}_digest"]) for age in ("old", "new"))
    return old.removesuffix(had) + gets if old.endswith(had) else old


def apply(text: str, changes: Iterable[Token]) -> str:
    """The text with these tokens changed."""
    lines = text.split("\n")
    for change in sorted(changes, key=lambda c: (c.line, c.column), reverse=True):
        line, end = lines[change.line], change.column + len(change.old)
        lines[change.line] = line[: change.column] + change.new + line[end:]
    return "\n".join(lines)


def made_in(before: str, got: str, changes: Sequence[Token]) -> frozenset[Token] | None:
    """Which of the changes make `got` out of `before`, or None if no choice of them does."""
    old, new = before.split("\n"), got.split("\n")
    if len(old) != len(new):
        return None
    by_line: dict[int, list[Token]] = defaultdict(list)
    for change in changes:
        by_line[change.line].append(change)
    made: set[Token] = set()
    for number, (one, other) in enumerate(zip(old, new, strict=True)):
        if one == other:
            continue
        here = by_line.get(number, [])
        choices = ([c for bit, c in enumerate(here) if mask >> bit & 1] for mask in range(1, 1 << len(here)))
        choice = next((c for c in choices if apply(one, [x._replace(line=0) for x in c]) == other), None)
        if choice is None:
            return None
        made.update(choice)
    return frozenset(made)


# -- what came of it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What became of one case in one run."""

    case: Case
    outcome: str
    """One of CLASSES."""
    reasons: tuple[Reason, ...] = ()
    note: str = ""

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(why.code for why in self.reasons))


def replay(case: Case, run: str) -> Verdict:
    """Ask for everything that the commit changed, and compare."""
    # Not at the top: whoever asks for the cases alone needs no rewriter.
    from automator import set_image

    wanted = asks(case, run)
    if wanted is None:
        return Verdict(case, "unasked")
    text, reasons, moved, silent = case["before"], [], set(), set()
    for ask in wanted:
        try:
            setting = set_image(
                text, image=ask.image, to=ask.to, path=case["path"], old=ask.old, field=ask.field
            )
        except Exception as error:
            return Verdict(case, "error", note=f"{type(error).__name__}: {error}")
        if setting.changed != (setting.text != text) or (setting.changed and setting.held):
            return Verdict(case, "wrong", setting.held, "what it says of the text is not so")
        text = setting.text
        reasons += setting.held
        if setting.changed:
            moved.add(ask.update)
        elif not setting.held:
            silent.add(ask.update)
    return _judged(case, text, tuple(reasons), silent - moved)


def _judged(case: Case, text: str, reasons: tuple[Reason, ...], silent: set[int]) -> Verdict:
    changes = tokens(case) or []
    ours = [change for change in changes if change.update is not None]
    if text == case["after"] or (changes and text == apply(case["before"], ours)):
        return Verdict(case, "exact", reasons)
    if text == case["before"]:
        return Verdict(case, "held" if reasons else "missed", reasons)
    quoted = [change._replace(new=f'"{change.new}"') for change in ours if quote_plain(change.new)]
    made = made_in(case["before"], text, (*ours, *quoted))
    if made is None and _is_beyond(case, text, ours):
        return Verdict(case, "beyond", reasons, "the same version moved in a place that the commit left")
    if made is None:
        return Verdict(case, "wrong", reasons, "bytes that should have stayed")
    made = frozenset(c if c in ours else c._replace(new=c.new.strip('"')) for c in made)
    if made.issuperset(change for change in ours if change.old != change.new):
        return Verdict(case, "quoted", reasons)
    # Moving an image is all or nothing: what is left must belong to images that were not moved at all.
    left = [change for change in ours if change not in made and change.old != change.new]
    half = {change.update for change in left} & {change.update for change in made}
    if half:
        return Verdict(case, "wrong", reasons, f"{len(made)} of {len(ours)} places changed")
    return Verdict(
        case, "partly" if reasons else "missed", reasons, f"{len(silent)} not found" if silent else ""
    )


def _is_beyond(case: Case, text: str, ours: Sequence[Token]) -> bool:
    """Whether all that was asked is done, and whole lines beside it only moved from the old version to the
    new one."""
    expected, got = apply(case["before"], ours).split("\n"), text.split("\n")
    moves = [(u["old_tag"], u["new_tag"]) for u in case["updates"] if u["old_tag"] and u["new_tag"]]
    return len(expected) == len(got) and all(
        one == other or any(one.replace(old, new) == other for old, new in moves)
        for one, other in zip(expected, got, strict=True)
    )


# -- the command --------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    try:
        folder = corpus()
    except MissingCorpus as missing:
        print(f"replay: {missing}", file=sys.stderr)
        return 2
    spoiled = 0
    for name in FILES:
        cases = [case for case in read_cases(folder / name) if _chosen(case, options)]
        if not cases:
            continue
        for run in RUNS if options.run is None else (options.run,):
            began = time.monotonic()
            verdicts = [replay(case, run) for case in cases]
            print(f"\n## {name}, {TITLES[run]} ({time.monotonic() - began:.0f} s)\n")
            _print_tables(verdicts)
            if options.verbose:
                _print_each(verdicts, options.only)
            spoiled += sum(verdict.outcome in ("wrong", "error") for verdict in verdicts)
    return 1 if spoiled else 0


TITLES = {"old": "the old version given", "new": "image and new version alone"}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tier", help="only this tier")
    parser.add_argument("--kind", help="only this kind")
    parser.add_argument("--id", help="only the case with this id")
    parser.add_argument("--run", choices=RUNS, help="only this run")
    parser.add_argument("--verbose", action="store_true", help="a line for each case that is not exact")
    parser.add_argument("--only", choices=CLASSES, help="with --verbose: only cases of this class")
    return parser.parse_args(arguments)


def _chosen(case: Case, options: argparse.Namespace) -> bool:
    return all(getattr(options, key) in (None, case[key]) for key in ("tier", "kind", "id"))


def _print_tables(verdicts: Sequence[Verdict]) -> None:
    rows = [("tier", verdict.case["tier"], verdict) for verdict in verdicts]
    rows += [("kind", verdict.case["kind"], verdict) for verdict in verdicts]
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for by, value, verdict in rows:
        counts[by, value][verdict.outcome] += 1
    print(f"| | cases | exact % | {' | '.join(CLASSES)} |\n|---|---|---{'|---' * len(CLASSES)}|")
    for (by, value), count in sorted(counts.items(), key=lambda row: (row[0][0] == "kind", -row[1].total())):
        share = 100 * count["exact"] / count.total()
        # Rounded down: 100 is for all of them.
        cells = (f"{by} {value}", f"{count.total():,}", f"{int(share * 100) / 100:.2f}")
        print(f"| {' | '.join((*cells, *(f'{count[name]:,}' for name in CLASSES)))} |")
    codes = Counter(code for v in verdicts if v.outcome in ("held", "partly") for code in v.codes)
    if codes:
        print("\n| held by | cases |\n|---|---|")
        for code, count in codes.most_common():
            print(f"| `{code}` | {count:,} |")


def _print_each(verdicts: Sequence[Verdict], only: str | None) -> None:
    print()
    for verdict in verdicts:
        if verdict.outcome == "exact" or only not in (None, verdict.outcome):
            continue
        case, why = verdict.case, [f"{r.code}{_line(r)}" for r in verdict.reasons]
        line = min(edit["line"] for update in case["updates"] for edit in update["edits"])
        told = (verdict.outcome, case["id"], case["tier"], case["kind"], case["shape"], case["op"])
        print(*told, f"{case['repo']}/{case['path']}:{line}", *dict.fromkeys(why), verdict.note)


def _line(why: Reason) -> str:
    line = dict(why.params).get("line")
    return f":{line}" if line else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
