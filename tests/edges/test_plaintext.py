"""Values as text: what was found in a file comes back whole, whatever fields it comes to have."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.site import FileSites, Site
from automator.edges.store import PlainText
from automator.reasons import CODES, Reason

# No list of fields: Hypothesis reads the type hints, so that a new field is tested from its first day.
_WITHOUT_PARAMETERS = [code for code, row in CODES.items() if "{" not in row.sentence + row.next_step]
_REASONS = st.builds(
    Reason,
    st.sampled_from(_WITHOUT_PARAMETERS),
    st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
st.register_type_strategy(Reason, _REASONS)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.from_type(FileSites))
def test_what_was_found_in_a_file_comes_back_whole(found: FileSites) -> None:
    kept = PlainText(FileSites)
    text = kept.write(found)
    assert kept.read(text) == found
    assert text.isascii()
    assert "\n" not in text


@given(st.text() | _JSON.map(json.dumps) | st.just("[" * 100_000))
def test_any_other_text_is_refused_and_breaks_nothing(text: str) -> None:
    try:
        found = PlainText(FileSites).read(text)
    except ValueError:
        return
    assert isinstance(found, FileSites)


@given(st.from_type(Site), st.data())
def test_a_text_that_lacks_a_field_is_refused(site: Site, data: st.DataObject) -> None:
    kept = PlainText(Site)
    row = json.loads(kept.write(site))
    del row[data.draw(st.integers(0, len(row) - 1))]
    with pytest.raises(ValueError):
        kept.read(json.dumps(row))


class Pair(NamedTuple):
    left: int
    right: frozenset[str]


@dataclass(frozen=True, slots=True)
class Odd:
    pairs: tuple[Pair, ...]
    one: tuple[bool, str] | None
    kind: Literal["a", "b"]
    when: datetime | None = None


def test_every_type_that_the_core_may_use_has_its_way() -> None:
    kept = PlainText(Odd)
    odd = Odd((Pair(1, frozenset("xy")),), (True, "\ud800é"), "b", datetime(2026, 11, 21, tzinfo=UTC))
    assert kept.read(kept.write(odd)) == odd
    with pytest.raises(ValueError):
        kept.read(kept.write(odd).replace('"b"', '"c"'))


@dataclass(frozen=True, slots=True)
class Mapped:
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chosen:
    what: str | int


@pytest.mark.parametrize("kind", [Mapped, Chosen])
def test_a_field_that_would_be_lost_is_refused_when_the_class_is_met(kind: type) -> None:
    with pytest.raises(TypeError):
        PlainText(kind)
