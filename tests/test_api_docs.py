"""docs/api.md says of the API what the program does."""

import re
from pathlib import Path

from automator.edges.web.api import BASE
from automator.edges.web.operations import OPERATIONS
from automator.reasons import CODES

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
ROWS = re.findall(r"^\| `(GET|POST) (/api/v1\S*)` \| [^|]* \| ([^|]*)\|$", PAGE, re.MULTILINE)


def test_every_operation_has_its_row_with_its_parameters() -> None:
    told = {(method, path): re.findall(r"`([a-z]+)`", names) for method, path, names in ROWS}
    assert told == {(o.method, BASE + o.path): [p.name for p in o.parameters] for o in OPERATIONS}


def test_every_code_of_the_web_is_told_and_no_other() -> None:
    told = set(re.findall(r"`(web/[a-z-]+)`", PAGE))
    assert told == {code for code in CODES if code.startswith("web/")}
