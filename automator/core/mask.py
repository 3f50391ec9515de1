"""Templates: reading files that are no YAML because of `{{ … }}`.

A template is covered by filler of the same length, so that the rest reads as YAML and every place stays
where it is; values show the template as it is written. Where the rest is no YAML either, the whole file
counts as one text, in which only literal references are found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from automator.core.yamltext import COVER, Document, Scalar, parse
from automator.errors import ManifestError

_EXPRESSION = re.compile(
    r"(?:(?<![:\s-])[ \t]+(?=\{\{-))?\{\{(?:(?!\{\{).)*?\}\}|\{%(?:(?!\{%).)*?%\}", re.DOTALL
)
_CONTROL = re.compile(
    r"[ \t]*(?:\{\{-?|\{%-?)\s*"
    r"(?:if|else|end|range|with|define|block|template|for|set|elif|endif|endfor|/\*|\$\w+\s*:?=)"
)
_BEGINS = re.compile(r"[ \t]*(?:\{\{-?|\{%-?)\s*(?:if|else|with|range|elif|for|template|block|define)\b")
_ALONE = re.compile(rf"^[ \t]*{COVER}[ \t{COVER}]*(?=\r?$)", re.MULTILINE)
_AS_VALUE = re.compile(rf"(?<=:)[ \t]*{COVER}[ \t{COVER}]*(?=\r?$)", re.MULTILINE)
_JSON = re.compile(r"\ufeff?\s*(?!\{\{)[\[{]\s*[\"\[{\]}]")
_SURROGATES = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
"""Pairs that JSON writes for one character, and YAML does not know."""
_COMMENT = re.compile(r"^[ \t]*#[^\n]*", re.MULTILINE)


def read(text: str) -> tuple[Document, ...]:
    """The documents of a text, templated or not.

    Raises ManifestError (`yaml/unparsable`, `yaml/too-deep`, `yaml/too-large`).
    """
    try:
        return parse(text)
    except ManifestError as error:
        if error.reason.code != "yaml/unparsable" or COVER in text:
            raise
        as_yaml = _SURROGATES.sub(r"\\u0020\\u0020", text.replace("\t", " "))
        if _JSON.match(text) and as_yaml != text:
            with suppress(ManifestError):
                return parse(as_yaml)
        if not is_templated(text):
            raise
        for covered in _covered(text):
            try:
                return parse(covered, original=text)
            except ManifestError:
                continue
        return (Document(0, Scalar(text, 0, len(text), 1, "text", None, None), 1),)


def is_templated(text: str) -> bool:
    """Whether templates stand in a text, comments aside."""
    return ("{{" in text or "{%" in text) and _EXPRESSION.search(_COMMENT.sub("", text)) is not None


def _covered(text: str) -> Iterator[str]:
    covered = _EXPRESSION.sub(_cover, text)
    # A line that holds nothing else is an empty line: what stands there is not known.
    covered = _ALONE.sub(lambda found: " " * len(found[0]), covered)
    yield covered
    # `labels: {{ … }}` above further keys stands for a beginning, not for a value.
    yield _AS_VALUE.sub(lambda found: " " * len(found[0]), covered)


def _cover(found: re.Match[str]) -> str:
    begin = found.string.rfind("\n", 0, found.start()) + 1
    # A condition inside of a value (`web:{{ if .x }}1.4{{ end }}`) leaves no literal value.
    before = _EXPRESSION.sub("", found.string[begin : found.start()]) if _BEGINS.match(found[0]) else ""
    within = ":" in before
    filler = " " if _CONTROL.match(found[0]) and not within else COVER
    return re.sub(r"[^\r\n]", filler, found[0])
