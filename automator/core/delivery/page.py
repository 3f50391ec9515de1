"""The page: a report on delivery as one HTML file that asks nobody for anything.

No script, no link to load, no picture from elsewhere: the page's own policy forbids them all, and names
the one style it has by its hash. Each plot has a table beside it that says the same. All text is escaped.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, timedelta
from hashlib import sha256

from automator.core.delivery.figures import lead_time
from automator.core.delivery.plots import Bar, Dot, Piece, Row, bars, dots, rows
from automator.core.delivery.stations import SEEN, Journey, Leg
from automator.core.delivery.summary import Group, Summary
from automator.core.delivery.words import FIGURES, counted, duration, level, moment, per_day, share, written
from automator.core.reference import short_text

MOST_DOTS = 2_000
"""Releases in one plot, the newest ones."""
SOURCE = "https://dora.dev/research/2023/dora-report/"

_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d0d7de;--card:#f6f8fa;
--good:#1a7f5a;--bad:#c0392b;--wait:#b7791f;--blue:#2563a8;--violet:#7a4fb3;--grey:#8a939d}
@media(prefers-color-scheme:dark){:root{--bg:#0f1419;--fg:#e6e9ec;--soft:#a0a9b3;--line:#323a43;
--card:#181f27;
--good:#3fb68b;--bad:#f0776b;--wait:#e0a84a;--blue:#6aa8ec;--violet:#b795ea;--grey:#77818c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.2rem;margin:2.25rem 0 .5rem}
p{margin:.25rem 0;max-width:45rem}.soft{color:var(--soft)}.note{border-left:4px solid var(--wait);
padding-left:.75rem}
.cards{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));padding:0;
margin:1.25rem 0;list-style:none}
.cards li{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.9rem 1rem}
.cards h3{font-size:.95rem;font-weight:600;margin:0;color:var(--soft)}
.value{font-size:1.7rem;font-weight:650;margin:.1rem 0;white-space:nowrap}
.level{display:inline-block;border:1.5px solid;border-radius:1rem;padding:0 .7rem;font-size:.85rem;
font-weight:600}
.elite{color:var(--good)}.high{color:var(--blue)}.medium{color:var(--wait)}.low{color:var(--bad)}
.none{color:var(--soft)}
.basis{font-size:.85rem;color:var(--soft);margin:.4rem 0 0}
.pair{display:grid;gap:1rem 1.5rem;grid-template-columns:minmax(0,3fr) minmax(0,2fr);align-items:start}
@media(max-width:52rem){.pair{grid-template-columns:minmax(0,1fr)}}
.stack{display:grid;gap:1rem;grid-template-columns:minmax(0,1fr)}.stack figure{max-width:45rem}
.scroll{overflow:auto;max-height:26rem;border:1px solid var(--line);border-radius:.5rem}
.scroll:focus-visible{outline:2px solid var(--blue)}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.5rem .75rem;color:var(--soft)}
th,td{text-align:left;padding:.35rem .75rem;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;position:sticky;top:0;background:var(--card);white-space:nowrap}
tbody th{font-weight:500;overflow-wrap:anywhere;min-width:8rem}td.n{text-align:right;
white-space:nowrap}th.n{text-align:right}
figure{margin:0;min-width:0}.plot{overflow-x:auto}svg{display:block;width:100%;min-width:32rem;height:auto}
svg text{fill:var(--soft);font-size:12px}.grid{stroke:var(--line);stroke-width:1}
.good{fill:var(--good)}.bad{fill:var(--bad)}.cross{stroke:var(--bad);stroke-width:2.5;fill:none}
.whisker{stroke:var(--grey);stroke-width:2}
.build{fill:var(--blue)}.guard{fill:var(--wait)}.review{fill:var(--violet)}.go{fill:var(--good)}
.rest{fill:var(--grey)}
ul.key{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding:0;margin:.5rem 0;
font-size:.85rem;color:var(--soft)}
ul.key svg{display:inline-block;width:.8rem;min-width:0;height:.8rem;vertical-align:-.05rem;
margin-right:.35rem}
footer{margin:2.5rem 0 1rem;border-top:1px solid var(--line);padding-top:1rem;font-size:.875rem;
color:var(--soft)}
a{color:var(--blue)}
@media print{.scroll{max-height:none}}
"""


def page(summary: Summary, *, slowest: int = 10) -> str:
    """The report as a whole HTML document."""
    hashed = b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"
    period = f"{moment(summary.period.since)} to {moment(summary.period.until)}"
    body = (
        f"<header><h1>Delivery report</h1><p class=soft>{period}</p>",
        *(f"<p class=note>{written(note)}</p>" for note in summary.notes),
        "</header><main>",
        _cards(summary),
        plotted(summary, slowest=slowest),
        "</main><footer><p>Counted from the history of the config repo. docs/metrics.md of automator "
        f'says how, figure by figure. Levels are read from the <a href="{SOURCE}" rel="noreferrer">'
        "Accelerate State of DevOps Report 2023</a>.</p></footer>",
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Delivery report, {period}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def plotted(summary: Summary, *, slowest: int = 10, most: int = MOST_DOTS, groups: int | None = None) -> str:
    """All below the four figures, as HTML without style: plots, each with its table. Of releases and of
    groups that many are told at most."""
    return "".join(
        (
            _weeks(summary),
            _lead(summary, most),
            _stations(summary),
            _groups(summary, groups),
            _slowest(summary.journeys[:slowest]),
        )
    )


def _cards(summary: Summary) -> str:
    cards = []
    for name, value, rank, basis in FIGURES:
        found = rank(summary.overall)
        cards.append(
            f"<li><h3>{written(name)}</h3><p class=value>{written(value(summary.overall))}</p>"
            f'<span class="level {found or "none"}">{written(level(found, value(summary.overall)))}</span>'
            f"<p class=basis>{written(basis(summary.overall))}</p></li>"
        )
    return f"<ul class=cards>{''.join(cards)}</ul>"


def _weeks(summary: Summary) -> str:
    found = [Bar(g.name, g.figures.deployments, g.figures.failed) for g in summary.weeks]
    whole, failed = sum(b.whole for b in found), sum(b.failed for b in found)
    plot = bars(
        found,
        title="Deployments week by week",
        description=f"{whole} deployments in {counted(len(found), 'week')}, {failed} of them failed.",
        id_="weeks",
    )
    table = _table(
        "Deployments week by week",
        ("week", "deployments", "failed", "lead time", "to restore"),
        [
            (g.name, str(g.figures.deployments), str(g.figures.failed), duration(g.figures.lead.median),
             duration(g.figures.restore.median))
            for g in reversed(summary.weeks)
        ],
    )  # fmt: skip
    key = _key((("good", "went well, as far as is known"), ("bad", "failed")))
    return _section("Deployments", plot, table, key)


def _lead(summary: Summary, most: int) -> str:
    known = []
    for one in summary.journeys:
        took = lead_time(one.fate)
        if took is not None and took >= timedelta(0):
            known.append(Dot(one.fate.change.landed, took, _name(one), one.fate.failure is not None))
    if not known:
        return _section(
            "Lead time",
            "",
            "<p class=soft>No data: no release tells when its source or its image was made.</p>",
            "",
        )
    known.sort(reverse=True)
    shown = known[:most]
    plot = dots(
        shown,
        summary.period.since,
        summary.period.until,
        title="Lead time of each release",
        description=f"{len(shown)} releases, the median is {duration(summary.overall.lead.median)}.",
        id_="lead",
    )
    table = _table(
        "Lead time of each release, the newest first",
        ("release", "landed", "lead time", "failed"),
        [
            (
                dot.name,
                f"{dot.at.astimezone(UTC):%Y-%m-%d}",
                duration(dot.took),
                "failed" if dot.failed else "",
            )
            for dot in shown
        ],
    )
    return _section(
        "Lead time", plot, table, _key((("good", "a release"), ("bad", "one that failed (a cross)")))
    )


def _stations(summary: Summary) -> str:
    if not summary.stations:
        return _section("Where the time went", "", "<p class=soft>No data.</p>", "")
    plot = rows(
        [
            Row(
                f"{name}: {duration(took.median)}",
                (Piece(_look_of(name), took.median or timedelta(0), name),),
                took.p90 or took.greatest,
            )
            for name, took in summary.stations
        ],
        title="Time from station to station",
        description="The median of each leg, the slowest first; the thin line reaches to where 90 % are.",
        id_="stations",
    )
    table = _table(
        "Time from station to station",
        ("from → to", "median", "90 %", "most", "n"),
        [
            (name, duration(took.median), duration(took.p90), duration(took.greatest), str(took.n))
            for name, took in summary.stations
        ],
    )
    skewed = (
        ""
        if not summary.skewed
        else f"<p class=soft>{summary.skewed} legs left out: two clocks disagree there.</p>"
    )
    return _section("Where the time went", plot, table, skewed)


def _groups(summary: Summary, most: int | None) -> str:
    if not summary.groups or summary.by == "week":
        return ""
    columns = (summary.by, "deployments", "how often", "lead time", "failed", "to restore")
    shown = summary.groups[:most]
    table = _table(f"By {summary.by}", columns, [_group_cells(group) for group in shown])
    left = len(summary.groups) - len(shown)
    more = f"<p class=soft>And {left} more.</p>" if left else ""
    return f"<section><h2>By {written(summary.by)}</h2>{table}{more}</section>"


def _group_cells(group: Group) -> tuple[str, ...]:
    f = group.figures
    return (
        group.name,
        str(f.deployments),
        per_day(f),
        duration(f.lead.median),
        share(f),
        duration(f.restore.median),
    )


def _slowest(journeys: Sequence[Journey]) -> str:
    if not journeys:
        return ""
    plot = rows(
        [
            Row(_name(one), tuple(Piece(_look(leg), leg.took, leg.name) for leg in _in_order(one)))
            for one in journeys
        ],
        title="The slowest releases, station by station",
        description="; ".join(f"{_name(one)} took {duration(one.whole)}" for one in journeys[:3]) + ".",
        id_="slowest",
    )
    table = _table(
        "The slowest releases; the longest leg of each first",
        ("release", "landed", "in all", "station by station"),
        [
            (_name(one), f"{one.fate.change.landed.astimezone(UTC):%Y-%m-%d %H:%M}", duration(one.whole),
             "; ".join(f"{leg.name} {duration(leg.took)}" for leg in one.legs))
            for one in journeys
        ],
        words=(3,),
    )  # fmt: skip
    key = (("build", "built and published"), ("guard", "waiting for a guard"), ("review", "review"),
           ("go", "deployed and verified"), ("rest", "the rest of the way"))  # fmt: skip
    return _section("The slowest releases", plot, table, _key(key), beside=False)


def _in_order(one: Journey) -> list[Leg]:
    place = {name: i for i, (name, _) in enumerate(one.times)}
    return sorted(one.legs, key=lambda leg: place[leg.begin])


def _look(leg: Leg) -> str:
    return "guard" if leg.guard else _look_of(leg.name)


def _look_of(name: str) -> str:
    """The class of colour for a leg."""
    begin, _, end = name.partition(" → ")
    if "(" in end:
        return "guard"
    if end in ("built", SEEN):
        return "build"
    if begin == "proposed":
        return "review"
    return "go" if end in ("deployed", "verified") else "rest"


def _name(one: Journey) -> str:
    change = one.fate.change
    return f"{change.repo}/{change.workload} {short_text(change.member.after)}"


# -- pieces ------------------------------------------------------------------------------------------


def _section(heading: str, plot: str, table: str, key: str, *, beside: bool = True) -> str:
    inner = f"{table}{key}" if not plot else (
        f"<div class={'pair' if beside else 'stack'}><figure><div class=plot tabindex=0 role=region "
        f'aria-label="{written(heading)}, drawn">{plot}</div>{key}</figure>'
        f"{table}</div>"
    )  # fmt: skip
    return f"<section><h2>{written(heading)}</h2>{inner}</section>"


def _key(looks: Iterable[tuple[str, str]]) -> str:
    items = (
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{look}" width="10" height="10"/></svg>'
        f"{written(words)}</li>"
        for look, words in looks
    )
    return f"<ul class=key>{''.join(items)}</ul>"


def _table(
    caption: str, columns: Sequence[str], cells: Iterable[Sequence[str]], *, words: tuple[int, ...] = ()
) -> str:
    """A table whose first column names its rows; the other columns are numbers, but those of `words`."""
    number = [i > 0 and i not in words for i in range(len(columns))]
    head = "".join(
        f'<th scope="col"{" class=n" if number[i] else ""}>{written(c)}</th>' for i, c in enumerate(columns)
    )
    lines = []
    for row in cells:
        rest = "".join(
            f"<td{' class=n' if number[i] else ''}>{written(cell)}</td>" for i, cell in enumerate(row) if i
        )
        lines.append(f'<tr><th scope="row">{written(row[0])}</th>{rest}</tr>')
    return (
        f'<div class=scroll tabindex="0" role="region" aria-label="{written(caption)}"><table>'
        f"<caption>{written(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
        "</table></div>"
    )
