"""The report's page in a real browser: it fits, light and dark, narrow and wide, and nothing is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from parts.story import HOST, september
from parts.world import World

pytestmark = [pytest.mark.slow, pytest.mark.needs("chromium")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(tmp_path_factory.mktemp("page"), HOST)
    september(world.repo)
    file = world.root / "report.html"
    world.run("report", "--since", "2026-09-01", "--until", "2026-09-30", "--html", str(file)).fine()
    return file


FILES = "--allow-file-access-from-files"


def browser(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open the page in a browser without a window, and with a profile of its own."""
    program = shutil.which("chromium")
    assert program is not None
    return subprocess.run(
        [
            *(
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--enable-logging=stderr",
            ),
            *(f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=2000", *options),
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_drawn_and_nothing_of_it_is_refused(page: Path, width: int, scheme: str) -> None:
    shot = page.with_name(f"{scheme}-{width}.png")
    dark = ("--force-dark-mode",) if scheme == "dark" else ()
    done = browser(page, f"--screenshot={shot}", f"--window-size={width},2000", *dark)
    assert "Content Security Policy" not in done.stderr, "its own policy lets all of its style through"
    assert shot.stat().st_size > 20_000, "there is something to see"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_is_no_wider_than_a_phone(page: Path, width: int) -> None:
    """Plots and tables that are wider scroll by themselves."""
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(
        f'<iframe id=f src="{page.name}" width={width} height=800></iframe><p id=o></p><script>'
        "f.onload=()=>{const d=f.contentDocument.documentElement;"
        "o.textContent=`${d.scrollWidth} of ${d.clientWidth}`}</script>"
    )
    found = re.search(r'<p id="o">(\d+) of (\d+)</p>', browser(frame, FILES, "--dump-dom").stdout)
    assert found is not None
    assert int(found[1]) <= int(found[2])


def test_the_browser_reads_it_as_it_was_written(page: Path) -> None:
    dom = browser(page, "--dump-dom").stdout
    assert len(re.findall(r"<svg[^>]*role=\"img\"", dom)) == 4
    assert dom.count("<table") == page.read_text("utf-8").count("<table")
