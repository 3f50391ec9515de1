"""`automator set` and `automator images` as pipelines use them: plain files, no config, no network."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from parts import launching
from parts.gitserver import git
from parts.world import PROGRAM, Completed, deployment

from automator.cli.entry import automator
from automator.core.site import locate
from automator.edges.folder import Replacement, replace_files
from automator.errors import ManifestError

WEB = "ghcr.io/acme/web"
NEW = "sha256:" + "f" * 64


class Files:
    """A folder of plain files, and the program run in it, as somebody who may not do everything."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def read(self, name: str) -> str:
        return (self.root / name).read_bytes().decode()

    def listing(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))

    def run(
        self, *arguments: str, stdin: str | bytes = b"", env: Mapping[str, str] | None = None
    ) -> Completed:
        surroundings = {"PATH": "/nowhere", "LC_ALL": "C.UTF-8", **(env or {})}
        feed = stdin.encode() if isinstance(stdin, str) else stdin
        return Completed.of(launching.execute(arguments, cwd=self.root, env=surroundings, feed=feed))

    def set(self, *arguments: str, to: str = "1.4.3", stdin: str | bytes = b"") -> Completed:
        return self.run("set", *arguments, "--image", WEB, "--to", to, stdin=stdin)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.write({"apps/web.yaml": deployment(f"{WEB}:1.4.2")})
    return made


def refused(done: Completed) -> str:
    """The sentence of a refusal with exit code 2, after making sure that it is one, with a next step."""
    assert done.code == 2, done.err
    sentence, step = done.err.splitlines()
    assert sentence.startswith("automator: ")
    assert step.startswith("  next: ")
    assert done.told_code
    assert done.out == ""
    return sentence.removeprefix("automator: ")


# -- set ------------------------------------------------------------------------------------------------


def test_one_file_goes_to_standard_output_and_stays_itself(files: Files) -> None:
    done = files.set("apps/web.yaml").fine()
    assert (done.out, done.err) == (deployment(f"{WEB}:1.4.3"), "")
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.2")


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}])
def test_a_filter_keeps_every_byte(files: Files, locale: Mapping[str, str]) -> None:
    text = f"\ufeff# é 🦊\r\nimage: {WEB}:1.4.2 # ü\r\nx: [a\u2028b]\nlast: line"
    arguments = ("set", "-", "--image", WEB, "--to", "1.4.3")
    done = files.run(*arguments, stdin=text, env=locale).fine()
    assert done.out == text.replace("1.4.2", "1.4.3")


def test_a_filter_is_told_what_file_it_reads(files: Files) -> None:
    text = f"images:\n  - name: web\n    newName: {WEB}\n    newTag: v1\n"
    assert files.set("-", "--name", "kustomization.yaml", to="v2", stdin=text).fine().out == text.replace(
        "v1", "v2"
    )


def test_a_filter_that_cannot_edit_passes_its_text_on_and_fails(files: Files) -> None:
    text = f"image: {WEB}:1.4.2@{NEW}\n"
    done = files.set("-", stdin=text)
    assert (done.code, done.out) == (1, text)
    assert done.err.startswith("automator: stdin.yaml: image (line 1) is pinned to a digest")
    assert "  next: give `1.4.3@sha256:…`" in done.err


@pytest.mark.parametrize(
    ("stdin", "code", "words"),
    [
        ("<&-", 1, "nothing was set"),
        ("< /dev/zero", 2, "standard input cannot be used: it is larger than 8000000 bytes"),
    ],
)
def test_an_odd_standard_input_is_no_bug(files: Files, stdin: str, code: int, words: str) -> None:
    command = f"'{PROGRAM}' set - --image web --to 1 {stdin}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=files.root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_write_changes_the_file_in_place(files: Files) -> None:
    path = files.root / "apps/web.yaml"
    path.chmod(0o640)
    before = path.stat()
    done = files.set("apps/web.yaml", "--write").fine()
    assert (done.out, done.err) == ("apps/web.yaml: 1 site at 1.4.3\n", "")
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.3")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert files.listing() == ["apps", "apps/web.yaml"]

    again = files.set("apps/web.yaml", "--write").fine()
    assert again.out == f"nothing to do: {WEB} is at 1.4.3\n"
    assert path.stat().st_ino == after.st_ino
    old = files.set("apps/web.yaml", "--write", "--old", "1.4.2").fine()
    assert old.out == again.out


def test_the_diff_is_one_that_git_applies(files: Files, tmp_path: Path) -> None:
    odd = f"a: x\rc: y\r\nb: '\u2028 \x85'\r\nimage: {WEB}:1.4.2\r\nlast: {WEB}"
    files.write({'apps/a\n+++ "b"\\ é.yaml': f"image: {WEB}:1.4.2\n"})
    files.write({"apps/odd.yaml": odd, "apps/end.json": f'{{"image": "{WEB}:1.4.2"}}'})
    git(tmp_path, "init", "--quiet")
    done = files.set("apps", "--diff").fine()
    assert "--- a/apps/web.yaml\n+++ b/apps/web.yaml\n" in done.out
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.2")
    subprocess.run(["git", "apply", "-"], input=done.out.encode(), cwd=tmp_path, check=True)
    assert files.read("apps/odd.yaml") == odd.replace("1.4.2", "1.4.3")
    assert files.read('apps/a\n+++ "b"\\ é.yaml') == f"image: {WEB}:1.4.3\n"
    assert files.read("apps/end.json") == f'{{"image": "{WEB}:1.4.3"}}'
    assert files.set("./apps/../apps/web.yaml", "--diff").fine().out == ""


def test_a_folder_is_looked_through(files: Files) -> None:
    other: dict[str, str | bytes] = {
        "apps/api.yaml": deployment("ghcr.io/acme/api:1.0.0"),
        "apps/.hidden/web.yaml": deployment(f"{WEB}:1.4.2"),
        ".github/web.yaml": deployment(f"{WEB}:1.4.2"),
        "apps/notes.md": f"image: {WEB}:1.4.2\n",
        "apps/broken.yaml": "image: [\n",
        "apps/binary.yaml": b"image: \x00\xff\n",
    }
    files.write({**other, "deep/er/web.json": f'{{"image": "{WEB}:1.4.2"}}'})
    (files.root / "link.yaml").symlink_to("apps/web.yaml")
    done = files.set(".", "apps/web.yaml", "--write", "--diff").fine()
    assert done.out.count("+++ ") == 2
    assert done.err == ""
    assert f"{WEB}:1.4.3" in files.read("apps/web.yaml")
    assert f"{WEB}:1.4.3" in files.read("deep/er/web.json")
    for name, content in other.items():
        assert (files.root / name).read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert (files.root / "link.yaml").is_symlink()


def test_a_field_in_a_folder_counts_where_it_is(files: Files) -> None:
    files.write({"a/values.yaml": "web:\n  tag: v1\n", "a/other.yaml": "image: web:v1\n"})
    done = files.run("set", "a", "--field", "web.tag", "--to", "v2", "--write").fine()
    assert done.out == "a/values.yaml: 1 site at v2\n"
    assert files.read("a/values.yaml") == "web:\n  tag: v2\n"

    values = "image:\n  repository: {}\n  tag: v1\n"
    files.write({"b/web.yaml": values.format(WEB), "b/api.yaml": values.format("ghcr.io/acme/api")})
    done = files.set("b", "--field", "image.tag", "--write", to="v2").fine()
    assert done.out == "b/web.yaml: 1 site at v2\n"


def test_files_are_read_together(files: Files) -> None:
    """A chart's repository stands in another file, and so does what a variable is the version of."""
    chart = (
        "kind: HelmRelease\nmetadata: {name: web}\nspec:\n  chart:\n    spec:\n      chart: web\n"
        "      version: 1.4.2\n      sourceRef: {kind: HelmRepository, name: acme}\n"
    )
    source = "kind: HelmRepository\nmetadata: {name: acme}\nspec: {type: oci, url: 'oci://ghcr.io/acme'}\n"
    files.write({"flux/web.yaml": chart, "flux/sources/acme.yaml": source})
    files.write({"compose/compose.yaml": f"services:\n  web:\n    image: {WEB}:${{TAG}}\n"})
    files.write({"compose/.env": "TAG=1.4.2\n"})
    done = files.set(".", "--write").fine()
    assert [line.split(":")[0] for line in done.out.splitlines()] == [
        "apps/web.yaml",
        "compose/.env",
        "flux/web.yaml",
    ]
    assert files.read("compose/.env") == "TAG=1.4.3\n"
    assert files.read("flux/web.yaml") == chart.replace("1.4.2", "1.4.3")
    places = [site["file"] for site in files.run("images", ".", "-o", "json").fine().json["sites"]]
    assert {"apps/web.yaml", "compose/.env", "flux/web.yaml"} <= set(places)


def test_nothing_is_written_where_something_is_held(files: Files) -> None:
    files.write({"apps/pinned.yaml": f"image: {WEB}:1.4.2@{NEW}\n"})
    done = files.set("apps", "--write")
    assert done.code == 1
    assert "automator: nothing was written\n" in done.err
    assert "apps/pinned.yaml: image (line 1) is pinned to a digest" in done.err
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.2")


def test_a_broken_file_that_speaks_of_the_image_is_no_detail(files: Files) -> None:
    files.write({"apps/broken.yaml": f"image: [{WEB}:1.4.2\n"})
    done = files.set("apps", "--write")
    assert (done.code, done.out) == (1, "")
    assert "apps/broken.yaml: does not parse as YAML" in done.err
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.2")


@pytest.mark.parametrize("arguments", [("--old", "1.4.1"), ("--image", "ghcr.io/acme/wep")])
def test_an_image_that_is_not_there_fails_with_a_sentence(files: Files, arguments: tuple[str, ...]) -> None:
    done = files.run("set", "apps", "--image", WEB, "--to", "1.4.3", "--write", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("automator: nothing was set: no file that was read holds ghcr.io/acme/we")


def test_programs_read_what_became_of_each_file(files: Files) -> None:
    files.write({"apps/pinned.yaml": f"- image: {WEB}:1.4.2@{NEW}\n"})
    done = files.set("apps", "--diff", "--output", "json")
    assert done.code == 1
    assert done.json["written"] is False
    pinned, web = done.json["files"]
    assert (pinned["file"], pinned["changed"], pinned["diff"]) == ("apps/pinned.yaml", False, "")
    assert [why["code"] for why in pinned["held"]] == ["set/pinned"]
    assert (web["file"], web["changed"], web["held"]) == ("apps/web.yaml", True, [])
    assert "+++ b/apps/web.yaml" in web["diff"]
    assert web["sites"][0]["tag"] == "1.4.2"
    assert web["sites"][0]["field"] == "spec.template.spec.containers[app].image"
    assert files.set("apps/web.yaml", "--write", "--output", "json").fine().json["written"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apps", "--to", "1.4.3"], "several files cannot go to standard output"),
        (["apps/web.yaml", "apps/web.yaml", "--to", "1.4.3"], "several files cannot go to standard output"),
        (["-", "--to", "1.4.3", "--write"], "stands alone"),
        (["-", "apps", "--to", "1.4.3", "--diff"], "stands alone"),
        (["apps/web.yaml", "--to", "1.4.3:"], "no image can be set to"),
        (["apps/web.yaml", "--to", ""], "no image can be set to"),
        (["apps/web.yaml", "--to", "1.4.3", "--field", "a["], "`a[` is no field path"),
        (["apps/web.yaml", "--to", "1.4.3", "--image", f"{WEB}:1"], f"write `{WEB}`"),
        (["apps/none.yaml", "--to", "1.4.3"], "No such file or directory"),
        (["link.yaml", "--to", "1.4.3", "--write"], "it is a symbolic link"),
        (["/dev/null", "--to", "1.4.3"], "it is no regular file"),
        (["binary.yaml", "--to", "1.4.3"], "it is no text"),
        (["latin.yaml", "--to", "1.4.3"], "it is no text"),
        (["large.yaml", "--to", "1.4.3"], "it is larger than 8000000 bytes"),
    ],
)
def test_wrong_usage_is_one_sentence(files: Files, arguments: list[str], words: str) -> None:
    files.write({"binary.yaml": b"\0", "latin.yaml": b"# \xe9\n", "large.yaml": b"#" * 8_000_001})
    (files.root / "link.yaml").symlink_to("apps/web.yaml")
    assert words in refused(files.run("set", "--image", WEB, *arguments))
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.2")


def test_an_image_or_a_field_is_needed(files: Files) -> None:
    assert "no field says the place" in refused(files.run("set", "apps/web.yaml", "--to", "1.4.3"))


def test_a_file_that_cannot_be_written_stops_all(files: Files) -> None:
    files.write({"zoo/web.yaml": deployment(f"{WEB}:1.4.2") + "# long\n" * 1000})
    before = files.read("zoo/web.yaml")
    done = subprocess.run(
        [PROGRAM, "set", "apps", "zoo", "--image", WEB, "--to", "1.4.3", "--write"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
        cwd=files.root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "automator: zoo/web.yaml cannot be written: File too large" in done.stderr
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.2")
    assert files.read("zoo/web.yaml") == before
    assert files.listing() == ["apps", "apps/web.yaml", "zoo", "zoo/web.yaml"]


def test_a_file_that_somebody_else_changed_is_left_to_them(files: Files) -> None:
    path = files.root / "apps/web.yaml"
    with pytest.raises(ManifestError) as refusal:
        replace_files([Replacement(path, b"as it was read", b"new")])
    assert refusal.value.reason.code == "file/changed"
    assert files.read("apps/web.yaml") == deployment(f"{WEB}:1.4.2")
    assert files.listing() == ["apps", "apps/web.yaml"]


# -- images ---------------------------------------------------------------------------------------------


def test_images_lists_every_place(files: Files) -> None:
    files.write(
        {
            "apps/pinned.yaml": f"a: {{image: 'nginx:1.27@{NEW}'}}\n",
            "charts/web/values.yaml": "image:\n  repository: ghcr.io/acme/api\n  tag: v1\n",
            "charts/web/templates/web.yaml": 'image: "ghcr.io/acme/web:{{ .Values.tag }}"\n',
            ".github/x.yaml": f"image: {WEB}:1\n",
        }
    )
    done = files.run("images").fine()
    rows = [line.split() for line in done.out.splitlines()]
    assert rows == [
        ["PLACE", "IMAGE", "TAG", "DIGEST", "RESOURCE", "FIELD", "HELD"],
        ["apps/pinned.yaml:1", "nginx", "1.27", "sha256:ffffffffffff", "a.image"],
        ["apps/web.yaml:13", WEB, "1.4.2", "Deployment/web/app", "spec.template.spec.containers[app].image"],
        ["charts/web/templates/web.yaml:1", WEB, "image", "site/templated"],
        ["charts/web/values.yaml:3", "ghcr.io/acme/api", "v1", "image.tag"],
    ]
    assert done.err == ""
    only = files.run("images", "--image", "docker.io/library/nginx").fine().out.splitlines()
    assert [line.split()[0] for line in only] == ["PLACE", "apps/pinned.yaml:1"]


def test_what_images_prints_is_what_set_takes(files: Files) -> None:
    (site,) = files.run("images", "apps/web.yaml", "--output", "json").fine().json["sites"]
    assert (site["kind"], site["namespace"], site["name"], site["container"]) == (
        "Deployment",
        "shop",
        "web",
        "app",
    )
    done = files.run("set", site["file"], "--field", site["field"], "--to", "1.4.3").fine()
    assert [found.tag for found in locate(done.out, "web.yaml").sites] == ["1.4.3"]


def test_a_broken_file_is_a_warning(files: Files) -> None:
    files.write({"apps/broken.yaml": "image: [\n", "apps/binary.yaml": b"\xff"})
    done = files.run("images", "apps", "--output", "json").fine()
    assert [site["file"] for site in done.json["sites"]] == ["apps/web.yaml"]
    places = [why["params"]["file"] for why in done.json["warnings"]]
    assert places == ["apps/binary.yaml", "apps/broken.yaml"]
    assert done.err.count("warning: apps/") == 2


def test_no_image_at_all_is_no_error(files: Files) -> None:
    done = files.run("images", "--image", "nginx").fine()
    assert (done.out, done.err) == ("", "no file names nginx\n")


def test_names_of_files_cannot_forge_a_table(files: Files) -> None:
    files.write({"apps/a\nweb.yaml": f"image: {WEB}:1\n"})
    done = files.run("images", "apps").fine()
    assert [line.split()[0] for line in done.out.splitlines()] == ["PLACE", "apps/a", "apps/web.yaml:13"]


# -- help -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["set", "images"])
def test_help_has_an_example_that_is_a_command_line(files: Files, command: str) -> None:
    helped = files.run(command, "--help").fine().out
    examples = [
        line.split("automator ")[1].split(" | ")[0] for line in helped.splitlines() if "   automator" in line
    ]
    assert examples
    for example in examples:
        name, *words = example.split()
        assert name == command
        automator.commands[name].make_context(name, words)
