"""Lengths, open ends, corpora, versions, and nothing of the machine it was written on."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from tree import TOP, files, files_ending, shown

LINES_MAX = 500
CODE = (".cc", ".h", ".py", ".sh", ".cmake", ".bzl", ".proto")
FUZZERS = [path for path in files_ending(".cc") if path.stem.endswith("_fuzz")]


def is_text(path: Path) -> bool:
    try:
        path.read_text()
    except UnicodeDecodeError:
        return False
    return True


def test_files_fit_in_a_head() -> None:
    lengths = {shown(path): len(path.read_text().splitlines()) for path in files_ending(*CODE)}
    long = [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > LINES_MAX]
    assert not long, f"more than {LINES_MAX} lines:\n" + "\n".join(long)


def test_open_ends_say_what_they_cost() -> None:
    wrong = []
    for path in files_ending(*CODE):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\b(FIXME|XXX)\b", line) or re.search(
                r"\bTODO\b(?!\((perf|safety|later)\): )", line
            ):
                wrong.append(f"{shown(path)}:{number}: {line.strip()}")
    assert not wrong, "TODO needs (perf|safety|later) and a text:\n" + "\n".join(wrong)


@pytest.mark.parametrize("fuzzer", FUZZERS, ids=shown)
def test_a_fuzzer_has_a_corpus(fuzzer: Path) -> None:
    corpus = TOP / "tests" / "fuzz" / fuzzer.stem.removesuffix("_fuzz")
    assert corpus.is_dir(), f"{shown(fuzzer)} has no seeds in {shown(corpus)}"
    assert any(corpus.iterdir()), f"{shown(corpus)} is empty"


def test_headers_are_guarded_by_pragma_once() -> None:
    wrong = [
        shown(path)
        for path in files_ending(".h")
        if "\n#pragma once\n" not in "\n" + path.read_text()
    ]
    assert not wrong, "\n".join(wrong)


def test_one_version_everywhere() -> None:
    cmake = re.search(r"project\(catzilla VERSION ([\d.]+)", (TOP / "CMakeLists.txt").read_text())
    assert cmake is not None
    chart = yaml.safe_load((TOP / "helm/catzilla/Chart.yaml").read_text())
    bazel = re.search(
        r'^VERSION = "([\d.]+)"', (TOP / "dev.d/bazel/room.bzl").read_text(), re.MULTILINE
    )
    assert bazel is not None
    versions = {
        "CMakeLists.txt": cmake.group(1),
        "dev.d/bazel/room.bzl": bazel.group(1),
        "python_sdk/pyproject.toml": tomllib.loads((TOP / "python_sdk/pyproject.toml").read_text())[
            "project"
        ]["version"],
        "helm/catzilla/Chart.yaml": chart["appVersion"],
    }
    assert len(set(versions.values())) == 1, json.dumps(versions, indent=2)


def test_the_changelog_knows_the_version() -> None:
    cmake = re.search(r"project\(catzilla VERSION ([\d.]+)", (TOP / "CMakeLists.txt").read_text())
    assert cmake is not None
    assert f"## {cmake.group(1)}" in (TOP / "CHANGELOG.md").read_text()


def test_links_inside_the_documents_lead_somewhere() -> None:
    wrong = []
    for path in files_ending(".md"):
        text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                wrong.append(f"{shown(path)}: {target}")
    assert not wrong, "\n".join(wrong)


def test_nothing_of_the_machine() -> None:
    """Folders of one developer's machine, and registries other than through their clients' settings."""
    traces = re.compile(
        r"/work/(main|shared)|/opt/wheels|/root/|files\.pythonhosted\.org|registry\.npmjs\.org"
    )
    wrong = []
    for path in files():
        if path == Path(__file__) or not is_text(path):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if trace := traces.search(line):
                wrong.append(f"{shown(path)}:{number}: {trace.group()}")
    assert not wrong, "\n".join(wrong)
