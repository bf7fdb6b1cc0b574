"""The Python package reads from one end to the other, and no test waits so and so long for what may take longer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree import TOP, files_ending, shown

SOURCE = TOP / "python_sdk" / "src"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_of(path): path
    for path in files_ending(".py")
    if path.is_relative_to(SOURCE / "catzilla")
}


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(name, ast.Name) and name.id == "TYPE_CHECKING" for name in ast.walk(node.test)
    )


def imported(node: ast.AST) -> Iterator[str]:
    """What a node imports, wherever it does; not what only a type checker reads."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in MODULES else node.module
    children = node.orelse if for_types_only(node) else ast.iter_child_nodes(node)  # type: ignore[attr-defined]
    for child in children:
        yield from imported(child)


def ways(modules: dict[str, str]) -> dict[str, list[str]]:
    """From each module to those it imports, of these."""
    return {
        name: sorted({other for other in imported(ast.parse(text)) if other in modules})
        for name, text in modules.items()
    }


def circle(graph: dict[str, list[str]]) -> list[str]:
    """One, or nothing."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for other in graph[name]:
                if found := visit(other, [*way, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in graph if (found := visit(name, []))), [])


def test_no_imports_in_a_circle() -> None:
    graph = ways({name: path.read_text() for name, path in MODULES.items()})
    assert "catzilla._worker._exchange" in graph["catzilla._worker._lane"]
    assert not circle(graph), "a circle: " + " -> ".join(circle(graph))


@pytest.mark.parametrize(
    ("lane", "closed"),
    [
        ("from catzilla._worker import _serve", True),
        ("def later() -> None:\n    from catzilla._worker._serve import Worker", True),
        ("try:\n    import catzilla._worker._serve\nexcept ImportError:\n    pass", True),
        ("if TYPE_CHECKING:\n    from catzilla._worker._serve import Worker", False),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import catzilla._worker._serve", True),
        ("import asyncio", False),
    ],
)
def test_a_circle_is_found(lane: str, closed: bool) -> None:
    graph = ways(
        {
            "catzilla._worker._serve": "from catzilla._worker._lane import Lane",
            "catzilla._worker._lane": lane,
        }
    )
    assert bool(circle(graph)) is closed


# Functions that look again and again, with a deadline, and one that gives time as the test's input.
WAITS = {
    "tests/integration/waiting.py": {"eventually", "pause"},
    "python_sdk/tests/sdk_harness.py": {"until", "pause"},
    "python_sdk/tests/worker_harness.py": {"wait_for"},
}


def sleeps(tree: ast.AST, function: str = "") -> Iterator[tuple[int, str]]:
    """Lines that sleep, with the function they stand in; sleep(0) only lets others run."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from sleeps(node, node.name if named else function)  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            nothing = [ast.dump(argument) for argument in node.args] == [ast.dump(ast.Constant(0))]
            if called == "sleep" and not nothing:
                yield node.lineno, function


def test_tests_wait_for_what_they_wait_for() -> None:
    wrong = [
        f"{shown(path)}:{line}: wait for the state (eventually, until, wait_for), or pause()"
        for path in files_ending(".py")
        if path.is_relative_to(TOP / "tests") or path.is_relative_to(TOP / "python_sdk" / "tests")
        for line, function in sleeps(ast.parse(path.read_text()))
        if function not in WAITS.get(shown(path), set())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("def test():\n    time.sleep(1)", [(2, "test")]),
        ("async def script():\n    await asyncio.sleep(0.1)", [(2, "script")]),
        ("async def script():\n    await asyncio.sleep(0)", []),
        ("from time import sleep\nsleep(2)", [(2, "")]),
        ("def outer():\n    def eventually():\n        time.sleep(1)", [(3, "eventually")]),
        ("APP = 'time.sleep(1)'", []),
    ],
)
def test_a_sleep_is_found(line: str, found: list[tuple[int, str]]) -> None:
    assert list(sleeps(ast.parse(line))) == found
