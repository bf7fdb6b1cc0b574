"""The Python package reads from one end to the other: no module imports what imports it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree import TOP, files_ending

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
