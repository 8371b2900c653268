"""The closure holds every local module that a recipe reaches, and nothing that is installed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from trainproof.errors import RecipeError
from trainproof.recording.closure import closure_of, packages_of, sources_of, undeclared


def write(folder: Path, **files: str) -> Path:
    """Write files by module name (``a__b`` is a/b.py) and return the entry ``main.py``."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "main.py"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A script with a module, a package with relative imports, and an unused neighbour."""
    return write(
        tmp_path,
        main="import os, torch\nimport local_one\ndef f():\n    from local_pack.deep import inner\n",
        local_one="import local_two as t\n",
        local_two="import numpy\n",
        local_pack__init="",
        local_pack__deep__inner="from . import side\nfrom ..other import thing\nimport sklearn.datasets\n",
        local_pack__deep__side="",
        local_pack__other="",
        unused="",
    )


@pytest.fixture(autouse=True)
def _packages(tmp_path: Path) -> None:
    for folder in ("local_pack", "local_pack/deep"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").write_text("from . import extra\n" if folder == "local_pack" else "")
    (tmp_path / "local_pack" / "extra.py").write_text("")


def test_local_modules_are_found_through_every_import(entry: Path) -> None:
    assert sorted(sources_of(entry)) == [
        "__main__",
        "local_one",
        "local_pack",
        "local_pack.deep",
        "local_pack.deep.inner",
        "local_pack.deep.side",
        "local_pack.extra",
        "local_pack.other",
        "local_two",
    ]


def test_versions_of_what_it_imports_matter(entry: Path) -> None:
    assert packages_of(entry) == ["numpy", "sklearn", "torch"]


@pytest.mark.parametrize("changed", ["main.py", "local_two.py", "local_pack/__init__.py", "local_pack/deep/side.py"])
def test_an_edit_of_any_reached_module_changes_the_digest(entry: Path, changed: str) -> None:
    before = closure_of(entry, "loop")
    path = entry.parent / changed
    path.write_text(path.read_text() + "# edited\n")
    assert closure_of(entry, "loop").digest != before.digest


def test_an_edit_of_an_unused_module_does_not(entry: Path) -> None:
    before = closure_of(entry, "loop")
    (entry.parent / "unused.py").write_text("x = 1\n")
    assert closure_of(entry, "loop") == before


def test_where_the_files_lie_does_not_matter(entry: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    import shutil

    copy = tmp_path_factory.mktemp("copy") / "elsewhere"
    shutil.copytree(entry.parent, copy)
    assert closure_of(copy / "main.py", "loop") == closure_of(entry, "loop")


def test_door_class_and_arguments_are_part_of_it(entry: Path) -> None:
    made = [
        closure_of(entry, "loop"),
        closure_of(entry, "script"),
        closure_of(entry, "recipe", "A"),
        closure_of(entry, "recipe", "B"),
        closure_of(entry, "loop", None, ["a", "b"]),
        closure_of(entry, "loop", None, ["a b"]),
    ]
    assert len({c.digest for c in made}) == len(made)


def test_data_in_code_is_refused(entry: Path) -> None:
    (entry.parent / "local_two.py").write_text(f"weights = {random.Random(0).randbytes(70_000).hex()!r}\n")
    with pytest.raises(RecipeError, match=r"exceed 65536 bytes compressed.*a recipe is code to be read"):
        closure_of(entry, "loop")
    (entry.parent / "local_two.py").write_text("x = 1  # much, but not much to say\n" * 10_000)
    closure_of(entry, "loop")


@pytest.mark.parametrize(("text", "words"), [("def", "is not Python"), ("x = '\0'", "is not Python")])
def test_files_that_are_not_python_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        closure_of(write(tmp_path, main=text), "loop")


def test_a_missing_entry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        closure_of(tmp_path / "none.py", "loop")


def test_a_module_that_was_imported_dynamically_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    entry = write(tmp_path, main="import seen_by_all\n", seen_by_all="", only_at_run_time="")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("seen_by_all")
    assert undeclared(entry) == []
    importlib.import_module("only_at_run_time")
    assert undeclared(entry) == ["only_at_run_time"]
    for name in ("seen_by_all", "only_at_run_time"):
        del sys.modules[name]
