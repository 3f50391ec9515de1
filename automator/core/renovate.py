"""Renovate's config as far as it says which images of a repository it updates.

Managers with the file patterns they have by themselves or are given, and what turns them off. Presets
(`extends`) are not followed: they lie elsewhere. Where a config has others than Renovate's own, only what
it says itself counts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from automator.core.nodes import at, items, resolved, text, texts
from automator.core.pattern import Expression
from automator.core.site import Site
from automator.core.yamltext import Mapping, Node, parse
from automator.errors import ManifestError, PolicyError

FILES = (
    "renovate.json",
    "renovate.json5",
    ".github/renovate.json",
    ".github/renovate.json5",
    ".gitlab/renovate.json",
    ".gitlab/renovate.json5",
    ".renovaterc",
    ".renovaterc.json",
    ".renovaterc.json5",
)
_OWN_PATTERNS = {
    "docker-compose": r"/(^|/)(?:docker-)?compose[^/]*\.ya?ml$/",
    "flux": r"/(?:^|/)gotk-components\.ya?ml$/",
    "helm-values": r"/(^|/)values\.ya?ml$/",
    "helmv3": r"/(^|/)Chart\.ya?ml$/",
    "kustomize": r"/(^|/)kustomization\.ya?ml$/",
}
"""Managers of images that look at files without being told."""
_LINES = ("kubernetes",)
"""Managers that read a file line by line, and so only whole references."""
_TOKEN = re.compile(
    r"""
      "(?:[^"\\]|\\.)*+(?:"|\\?\Z) | '(?:[^'\\]|\\.)*+(?:'|\\?\Z)   # what is not closed ends the text
      | //[^\n]* | /\*.*?(?:\*/|\Z) | \t
    """,
    re.DOTALL | re.VERBOSE,
)

_ESCAPED = re.compile(r"\\.|[\"\t]", re.DOTALL)
_OFF = frozenset(("docker:disable", ":disableDocker", ":disableRenovate"))
"""Presets that turn off all that this module speaks of."""
_IS_KNOWN = re.compile(
    r"(?:config|docker|schedule|group|default|workarounds|mergeConfidence|security|helpers|npm"
    r"|preview|replacements|monorepo|packages|regexManagers|customManagers|compatibility|abandonments|global)?:.*",
    re.DOTALL,
)
"""Presets that come with Renovate. Others may turn off what nothing is told of here."""

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Renovate:
    """What one config file of Renovate covers."""

    file: str
    managers: tuple[tuple[str, tuple[Test, ...]], ...]
    """Manager -> tests of paths."""
    left_out: tuple[Test, ...]
    """`ignorePaths`."""
    only: tuple[Test, ...]
    """`includePaths`; none for all."""
    ignored: frozenset[str]
    """`ignoreDeps`."""
    rules: tuple[Mapping, ...]
    """`packageRules` that turn something on or off."""
    commented: tuple[Test, ...] = ()
    """Tests of paths where custom managers update what a comment names: `# renovate: datasource=docker …`."""

    def covers(self, site: Site, *, has_comment: bool = False) -> str | None:
        """The manager that updates a site's image, or None. `has_comment`: a comment for Renovate that
        speaks of a Docker image stands at the site."""
        path = site.file
        if any(test(path) for test in self.left_out) or (self.only and not any(t(path) for t in self.only)):
            return None
        if self.ignored & _names(site):
            return None
        if has_comment and any(test(path) for test in self.commented) and self._is_on("custom.regex", site):
            return "custom.regex"
        for manager, tests in self.managers:
            if manager in _LINES and site.parts and site.parts[0].piece != "reference":
                continue
            if any(test(path) for test in tests) and self._is_on(manager, site):
                return manager
        return None

    def _is_on(self, manager: str, site: Site) -> bool:
        on = True
        for rule in self.rules:
            turned = text(rule, "enabled") == "true"
            if _is_about(rule, manager, site, otherwise=not turned):
                on = turned
        return on


def renovate(file: str, content: str) -> Renovate | None:
    """Read a config of Renovate; None where it cannot be read, or updates nothing."""
    try:
        documents = parse(_TOKEN.sub(_plain, content))
    except ManifestError:
        return None
    root = resolved(documents[0].root) if documents else None
    if not isinstance(root, Mapping) or text(root, "enabled") == "false":
        return None
    presets = texts(root, "extends")
    if _OFF.intersection(presets):
        return None
    rules = tuple(
        rule
        for item in items(root, "packageRules")
        if isinstance(rule := resolved(item), Mapping) and text(rule, "enabled") is not None
    )
    return Renovate(
        file,
        tuple(_managers(root, by_themselves=all(map(_IS_KNOWN.fullmatch, presets)))),
        tuple(map(_ignored_test, texts(root, "ignorePaths"))),
        tuple(_globs(root, "includePaths")),
        frozenset(texts(root, "ignoreDeps")),
        rules,
        tuple(_commented(root)),
    )


def _plain(token: re.Match[str]) -> str:
    """JSON5 as YAML takes it: without comments and tabs, every text in double quotes."""
    written = token[0]
    if written[0] not in "\"'":
        return " "
    ended = len(written) > 1 and written[-1] == written[0]
    if not ended:
        return written
    return f'"{_ESCAPED.sub(_escaped, written[1:-1])}"'


def _escaped(found: re.Match[str]) -> str:
    return {"\\'": "'", '"': '\\"', "\t": "\\t"}.get(found[0], found[0])


def _managers(root: Mapping, *, by_themselves: bool) -> Iterator[tuple[str, tuple[Test, ...]]]:
    """The managers that are at work. Those that nothing is told of here are so `by_themselves`."""
    enabled = texts(root, "enabledManagers")
    names = dict.fromkeys([*_OWN_PATTERNS, *(k for k in map(text, (k for k, _ in root.pairs)) if k)])
    for name in names:
        own = at(root, name)
        if (enabled and name not in enabled) or text(own, "enabled") == "false":
            continue
        usual = [_OWN_PATTERNS[name]] if name in _OWN_PATTERNS and (by_themselves or enabled) else []
        patterns = [*usual, *_patterns(own)]
        if tests := tuple(_tests(patterns)):
            yield name, tests
    if enabled and not {"custom.regex", "regex"} & set(enabled):
        return
    for item in (*items(root, "customManagers"), *items(root, "regexManagers")):
        if text(item, "datasourceTemplate") == "docker" and (tests := tuple(_tests(_patterns(item)))):
            yield "custom.regex", tests


def _commented(root: Mapping) -> Iterator[Test]:
    """Where custom managers of expressions look that read the data source from the file."""
    enabled = texts(root, "enabledManagers")
    if enabled and not {"custom.regex", "regex"} & set(enabled):
        return
    for item in (*items(root, "customManagers"), *items(root, "regexManagers")):
        captures = any("(?<datasource>" in wanted for wanted in texts(item, "matchStrings"))
        if captures and text(item, "datasourceTemplate") is None:
            yield from _tests(_patterns(item))


def _patterns(node: Node | None) -> list[str]:
    old = [f"/{pattern}/" for pattern in texts(node, "fileMatch")]
    return [*texts(node, "managerFilePatterns"), *old]


def _tests(patterns: list[str]) -> Iterator[Test]:
    for pattern in patterns:
        test = name_test(pattern)
        if test is not None:
            yield test


@lru_cache(maxsize=4096)
def name_test(pattern: str) -> Test | None:
    """A test of names or paths: `/expression/`, found anywhere, or a glob of the whole; None for what is
    neither."""
    ends = re.fullmatch(r"(!?)/(.*)/(i?)", pattern, re.DOTALL)
    negated = pattern.startswith("!")
    if ends is not None:
        expression = f"(?s{ends[3]}:.*(?:{ends[2]}).*)"
    else:
        pieces = re.split(r"(\*\*/|\*\*|\*)", pattern.removeprefix("!"))
        wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
        expression = "".join(wild.get(piece) or re.escape(piece) for piece in pieces)
    try:
        key = Expression.parse(expression).key
    except PolicyError:
        return None
    return lambda name: (key(name) is not None) is not negated


def _globs(root: Mapping, key: str) -> Iterator[Test]:
    for pattern in texts(root, key):
        yield _path_test(pattern)


def _ignored_test(pattern: str) -> Test:
    """A test of `ignorePaths`: a part of the path, or a glob."""
    test = name_test(pattern)
    return lambda path: pattern in path or (test is not None and test(path))


def _path_test(pattern: str) -> Test:
    test = name_test(pattern)
    return lambda path: pattern in path if test is None else test(path) or path.startswith(f"{pattern}/")


def _names(site: Site) -> frozenset[str]:
    """The names under which Renovate may know a site's image."""
    return frozenset({site.written, str(site.repository)})


def _is_about(rule: Mapping, manager: str, site: Site, *, otherwise: bool) -> bool:
    """Whether a package rule is about every update of a site; `otherwise` where it says what is not known
    here, so that in doubt Renovate counts as switched off."""
    for key in (found for found in map(text, (k for k, _ in rule.pairs)) if found):
        wanted = texts(rule, key)
        match key:
            case "matchManagers":
                fits = manager in wanted
            case "matchDatasources":
                fits = "docker" in wanted
            case "matchPackageNames" | "matchDepNames" | "matchPackagePatterns" | "matchDepPatterns":
                old = key.endswith("Patterns")
                fits = any(map(_named_by(site), (f"/{w}/" for w in wanted) if old else wanted))
            case "matchPackagePrefixes":
                fits = any(name.startswith(w) for name in _names(site) for w in wanted)
            case "matchFileNames" | "matchPaths":
                fits = any(_path_test(w)(site.file) for w in wanted)
            case "matchUpdateTypes" | "matchCurrentVersion" | "matchCurrentValue" | "matchNewValue":
                fits = False
            case _:
                fits = otherwise or not key.startswith(("match", "exclude"))
        if not fits:
            return False
    return True


def _named_by(site: Site) -> Test:
    def is_named(pattern: str) -> bool:
        test = name_test(pattern)
        return pattern == "*" or (test is not None and any(map(test, _names(site))))

    return is_named


def folder_of(path: str) -> str:
    """The folder of a file as Dependabot and Renovate write it, `/apps/web`."""
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(path)))
