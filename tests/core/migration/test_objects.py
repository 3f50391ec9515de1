"""Objects as importers read them."""

from __future__ import annotations

from automator.core.migration.objects import at, read_objects, text_at, texts_at, true_at


def test_merge_keys_and_aliases_are_followed_and_a_key_of_its_own_wins() -> None:
    text = (
        "x: &a {kind: A, name: one, list: [1, two]}\ny: &b {name: two}\n"
        "kind: Pod\nspec: {<<: [*b, *a], kind: B}\n"
    )
    (found,) = read_objects({"a.yaml": text}).found
    assert [text_at(found.body, "spec", key) for key in ("kind", "name", "other")] == ["B", "two", None]
    assert texts_at(found.body, "spec", "list") == ("1", "two")


def test_merged_lists_of_merged_lists_end() -> None:
    lines = ["kind: Pod", "a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 40)]
    (found,) = read_objects({"a.yaml": "\n".join(lines)}).found
    assert at(found.body, "a39", "missing") is None
    assert text_at(found.body, "a39", "x") == "1"


def test_objects_have_their_place() -> None:
    item = "  - kind: Pod\n    metadata: {name: web, namespace: shop}\n  - 7\n"
    text = f"# a comment\n---\nkind: List\nitems:\n{item}"
    (found,) = read_objects({"b.yaml": "kind: {}\n", "a.yaml": text, "c.txt": "kind: Pod"}).found
    assert str(found.source) == "a.yaml:5 Pod shop/web"
    assert not true_at(found.body, "metadata")


def test_only_files_with_one_of_the_words_are_read() -> None:
    got = read_objects({"a.yaml": "kind: [", "b.yaml": "kind: [ # flux"}, ("flux",))
    assert [note.source.file for note in got.unreadable] == ["b.yaml"]
