"""Which of several equal images a policy means: only its own change, or none, whoever else shares a text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from parts.claiming import assign
from parts.hostile import LAYOUTS, WEB, Row

from automator.core.policy import InvalidWorkload, Place, Where
from automator.core.reference import parse_repository
from automator.core.rewrite import Edit, rewrite
from automator.core.site import locate
from automator.reasons import reason

POD = (
    "kind: Pod\nmetadata: {name: web, namespace: shop}\nspec:\n  containers:\n"
    "  - name: app\n    image: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
    "  - {name: side, image: 'ghcr.io/acme/web:1.4.2'}\n"
    "  initContainers: [{image: ghcr.io/acme/web:1.4.2, name: init}]\n"
)
LIST = (
    "kind: List\nitems:\n"
    "- {kind: Job, metadata: {name: a, namespace: x}, image: 'ghcr.io/acme/web:1.4.2'}\n"
    "- {kind: Job, metadata: {name: b, namespace: x}, image: 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n"
    "- {kind: Job, metadata: {name: b, namespace: y}, image: 'ghcr.io/acme/web:1.4.2'}\n"
    "- {kind: Pod, metadata: {name: b, namespace: x}, image: 'ghcr.io/acme/web:1.4.2'}\n"
    "- {kind: Job, metadata: {name: b}, image: 'ghcr.io/acme/web:1.4.2'}\n"
)
SHARED = (
    "kind: Pod\nspec:\n  containers:\n"
    "  - {name: app, image: &i 'ghcr.io/acme/web:«1.4.2→1.4.3»'}\n  - {name: side, image: *i}\n"
)


class Owned(NamedTuple):
    text: str
    where: Mapping[str, Any] = MappingProxyType({})
    image: str | None = WEB
    held: str = ""


ROWS = {
    "one container of three": Owned(POD, {"container": "app"}),
    "one item of a List by kind, namespace and name": Owned(
        LIST, {"kind": "Job", "namespace": "x", "name": "b"}
    ),
    "a namespace that is written nowhere": Owned(LIST.replace("«1.4.2→1.4.3»", "1.4.2"), {"namespace": "z"}),
    "one document of several": Owned(
        "kind: A\nimage: ghcr.io/acme/web:1.4.2\n---\nkind: B\nimage: ghcr.io/acme/web:«1.4.2→1.4.3»\n"
        "---\nimage: ghcr.io/acme/web:1.4.2\n",
        {"kind": "B"},
    ),
    "a comment that names the owner": Owned(
        "a: {image: ghcr.io/acme/web:1.4.2} # automator: other\n"
        "b: {image: ghcr.io/acme/web:«1.4.2→1.4.3»} # automator: web\n",
        image=None,
    ),
    "a marker of Flux": Owned(
        'a: {image: ghcr.io/acme/web:1.4.2} # {"$imagepolicy": "f:api"}\n'
        'b: {image: ghcr.io/acme/web:«1.4.2→1.4.3»} # {"$imagepolicy": "f:web"}\n',
        {"marker": "f:web"},
    ),
    "a field of one of two equal images": Owned(
        "images:\n- {name: a, newName: ghcr.io/acme/web, newTag: 1.4.2}\n"
        "- {name: b, newName: ghcr.io/acme/web, newTag: «1.4.2→1.4.3»}\n",
        {"field": "images[name=b].newTag"},
    ),
    "a field within a text": Owned(
        "a: |\n  image: {tag: 1.4.2}\nb: |\n  image: {tag: «1.4.2→1.4.3»}\n",
        {"field": "b|image.tag"},
        image=WEB,
    ),
    "every user of an anchor": Owned(SHARED),
    "one of two users of an anchor": Owned(
        SHARED.replace("«1.4.2→1.4.3»", "1.4.2"), {"container": "app"}, held="site/alias-shared"
    ),
    "the alias alone": Owned(
        SHARED.replace("«1.4.2→1.4.3»", "1.4.2"), {"container": "side"}, held="site/alias-shared"
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout or "as written")
@pytest.mark.parametrize("owned", ROWS.values(), ids=ROWS)
def test_only_what_a_policy_owns_changes(owned: Owned, layout: str) -> None:
    row = Row(owned.text)
    before, after = LAYOUTS[layout](row.before), LAYOUTS[layout](row.after)
    text, codes = released(before, owned)
    assert codes == ({owned.held} if owned.held else set())
    assert text == after


def released(text: str, owned: Owned) -> tuple[str, set[str]]:
    """The text after a release of the workload `web`, and why it got none."""
    where = Where(**owned.where)
    # Claims are the same for valid and invalid entries; the latter need no rule.
    place, why = Place("policies/shop.yaml", 1), reason("yaml/too-large", size=1, limit=2)
    workloads = [
        InvalidWorkload(
            name="web", repository=None if owned.image is None else parse_repository(owned.image),
            where=where, reason=why, place=place,
        ),
        InvalidWorkload(name="other", repository=None, where=Where(), reason=why, place=place),
    ]  # fmt: skip
    fields = () if where.field is None else (where.field,)
    found = [site.at("apps/web.yaml") for site in locate(text, "web.yaml", fields).sites]
    claims = assign(found, workloads)
    own = claims.sites["web"]
    codes = {site.held.code for site in own if site.held is not None}
    if "web" in claims.problems:
        codes.add(claims.problems["web"].code)
    return (text if codes else rewrite(text, [Edit(site, "1.4.3", None) for site in own], "web.yaml")), codes
