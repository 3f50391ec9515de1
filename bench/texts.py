"""Editing in memory: one text at a time, beside one reading of it by the C scanner.

An edit cannot be proven without reading the text twice, before and after; so the limit of a verified
edit is told in readings. Texts of a megabyte have a limit in seconds.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from automator.core.rewrite import Edit, rewrite
from automator.core.site import Site, locate
from automator.core.yamltext import c_events
from bench.measure import Pair, alternate, median, timed

READINGS = 3.0
"""The most that a verified edit may cost, in readings of the text by the C scanner."""
LARGE_SECONDS = 1.0
"""The most that finding and editing may take in a text of a megabyte."""
MEGABYTE = 1_000_000
SHORTEST = 0.02
"""Seconds that a measured run takes at least: shorter work is repeated in it."""

IMAGE = "registry.example.com/team/app"


@dataclass(frozen=True)
class Text:
    """A text to edit: what it is like, its file name, itself."""

    name: str
    file: str
    text: str

    @property
    def size(self) -> str:
        return f"{self.text.count(chr(10)):,} lines, {len(self.text) / 1000:,.1f} kB"


@dataclass(frozen=True)
class Row:
    """One measured text. `pair` is of the edit and one reading, in seconds of one of each."""

    text: Text
    pair: Pair
    target: float | None
    """The largest ratio that is good enough."""
    seconds: float | None
    """The longest that is good enough."""
    refused: str = ""
    """Why nothing was edited."""

    @property
    def missed(self) -> bool:
        slow = self.target is not None and self.pair.ratio > self.target
        return slow or (self.seconds is not None and median(self.pair.ours).wall > self.seconds)


# -- texts ------------------------------------------------------------------------------------------

DEPLOYMENT = """\
# Owned by team-a; edit through a pull request.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  namespace: team-a
  labels: {app: app, tier: backend}
spec:
  replicas: 2
  selector:
    matchLabels:
      app: app
  template:
    metadata:
      labels:
        app: app
    spec:
      containers:
        - name: app
          image: IMAGE:1.0.0
          ports:
            - name: http
              containerPort: 8080
          env:
            - name: LOG_LEVEL
              value: "info"
            - name: DATABASE
              valueFrom:
                secretKeyRef:
                  name: app
                  key: url
          resources:
            requests: {cpu: 100m, memory: 128Mi}
            limits: {memory: 256Mi}
          readinessProbe:
            httpGet:
              path: /healthz
              port: http
      terminationGracePeriodSeconds: 30
""".replace("IMAGE", IMAGE)

SECTION = """\
component{n}:
  enabled: true
  # How often it runs; "never" turns it off.
  schedule: "{n} 3 * * *"
  service:
    type: ClusterIP
    port: {port}
  annotations: {{}}
  resources:
    limits: {{cpu: 200m, memory: 256Mi}}
"""

PROPERTY = """\
                field{n}:
                  description: What field {n} is for, in some words that take a line of their own.
                  type: string
                  default: value-{n}
                  maxLength: 63
"""


def values(lines: int) -> str:
    """A Helm values file: the image first, then sections without any."""
    head = f"image:\n  repository: {IMAGE}\n  tag: 1.0.0\n  pullPolicy: IfNotPresent\n"
    per = SECTION.count("\n")
    return head + "".join(SECTION.format(n=n, port=8000 + n) for n in range((lines - 4) // per))


def definitions(lines: int) -> str:
    """A bundle of custom resource definitions with the operator's Deployment at its end."""
    per = 100 * PROPERTY.count("\n") + 14
    documents = []
    for number in range(max(1, round(lines / per))):
        head = (
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n"
            f"  name: things{number}.example.com\nspec:\n  group: example.com\n  scope: Namespaced\n"
            "  versions:\n    - name: v1\n      served: true\n      schema:\n        openAPIV3Schema:\n"
            "          type: object\n          properties:\n            spec:\n"
            "              type: object\n              properties:\n"
        )
        documents.append(head + "".join(PROPERTY.format(n=n) for n in range(100)))
    return "---\n".join((*documents, DEPLOYMENT))


def one_line(size: int) -> str:
    """A flow mapping of `size` characters on one line, with one image."""
    item = '{{"name": "item{n}", "value": "some text", "on": true}}'
    filling = ", ".join(item.format(n=n) for n in range(size // 56))
    return f'{{"image": "{IMAGE}:1.0.0", "items": [{filling}]}}\n'


def in_block(size: int) -> str:
    """A ConfigMap whose one key holds a values file of `size` characters."""
    inner = values(size // 20)[:size].rpartition("\n")[0]
    body = "\n".join(f"    {line}" if line else "" for line in inner.split("\n"))
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: values\ndata:\n  values.yaml: |\n{body}\n"


def filling_block(size: int) -> str:
    """A Deployment beside a ConfigMap whose block scalar is words, of `size` characters."""
    words = "    Lorem ipsum dolor sit amet, consectetur adipiscing elit.\n" * (size // 60)
    return f"apiVersion: v1\nkind: ConfigMap\ndata:\n  text: |\n{words}---\n{DEPLOYMENT}"


SMALL = (
    Text("Deployment", "deployment.yaml", DEPLOYMENT),
    Text("Helm values", "values.yaml", values(300)),
    Text("bundle of CRDs", "bundle.yaml", definitions(2000)),
)
LARGE = (
    Text("one values file", "values.yaml", values(MEGABYTE // 21)),
    Text("one line", "items.json", one_line(MEGABYTE)),
    Text("values in a block scalar", "values.yaml", in_block(MEGABYTE)),
    Text("words in a block scalar", "text.yaml", filling_block(MEGABYTE)),
)


# -- measuring --------------------------------------------------------------------------------------


def edits(runs: int) -> Iterator[Row]:
    """Editing and proving a site that is known, beside one reading of the text."""
    for text in SMALL:
        site = _site(text)
        assert site is not None
        edit = Edit(site, "1.0.1", None)
        assert rewrite(text.text, [edit], text.file, located=True) == text.text.replace(
            ":1.0.0", ":1.0.1"
        ).replace("tag: 1.0.0", "tag: 1.0.1")
        pair = _pair(
            runs, lambda text=text, edit=edit: rewrite(text.text, [edit], text.file, located=True), text
        )
        yield Row(text, pair, READINGS, None)


def large(runs: int) -> Iterator[Row]:
    """Finding and editing in a megabyte."""
    for text in LARGE:
        site = _site(text)
        refused = "no site" if site is None else "" if site.held is None else site.held.code

        def work(text: Text = text) -> None:
            found = _site(text)
            if found is not None and found.held is None:
                rewrite(text.text, [Edit(found, "1.0.1", None)], text.file, located=True)

        yield Row(text, _pair(runs, work, text), None, LARGE_SECONDS, refused)


def _site(text: Text) -> Site | None:
    found = locate(text.text, text.file)
    assert found.trouble is None, found.trouble
    sites = [site for site in found.sites if site.written == IMAGE]
    return sites[0] if sites else None


def _pair(runs: int, work: Callable[[], object], text: Text) -> Pair:
    def read() -> None:
        deque(c_events(text.text), maxlen=0)

    times = max(1, round(SHORTEST / timed(read).wall))

    def repeated(what: Callable[[], object]) -> Callable[[int], object]:
        return lambda _: timed(lambda: [what() for _ in range(times)])

    pair = alternate(runs, repeated(work), repeated(read))
    one = [[type(c)(c.wall / times, c.cpu / times) for c in costs] for costs in (pair.ours, pair.limit)]
    return Pair(tuple(one[0]), tuple(one[1]))


# -- printing ---------------------------------------------------------------------------------------

HEAD = "| text | size | ms | ms of one reading | readings | target |\n|---|---|---|---|---|---|"


def line(row: Row) -> str:
    """The row of the printed table."""
    ours, limit = (
        1000 * statistics.median(c.wall for c in costs) for costs in (row.pair.ours, row.pair.limit)
    )
    target = f"{row.target:g} readings" if row.target is not None else f"{1000 * (row.seconds or 0):g} ms"
    name = f"{row.text.name} ({row.refused})" if row.refused else row.text.name
    cells = (name, row.text.size, f"{ours:.3f}", f"{limit:.3f}", f"{row.pair.ratio:.2f}")
    return f"| {' | '.join(cells)} | {target}{' MISSED' if row.missed else ''} |"
