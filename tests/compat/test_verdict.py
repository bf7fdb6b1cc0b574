"""The gate closes: on what fails unlisted, on what is listed and passes, on an answer that is another one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from report import report
from verdict import Listed, Run, judge, read_list, stable

RECORD = {
    "test": "tests/t.py::test_a",
    "number": 0,
    "request": "GET /",
    "status": 200,
    "fields": [["content-length", "2"], ["content-type", "application/json"]],
    "size": 2,
    "body": "{}",
}


def a_run(mode: str, **outcomes: str) -> Run:
    run = Run(mode, "on")
    run.outcomes = {f"tests/t.py::{name}": outcome for name, outcome in outcomes.items()}
    run.answers = {("tests/t.py::test_a", 0): copy.deepcopy(RECORD)}
    return run


GENUINE = a_run("genuine", test_a="passed", test_b="passed", test_x="xfailed")


def listed(kind: str, test: str, modes: str = "frames") -> Listed:
    return Listed(kind, frozenset(modes.split(",")), f"tests/t.py::{test}", "because")


def test_all_as_on_fastapi_is_fine() -> None:
    assert judge(GENUINE, a_run("frames", **_same()), []) == []


def _same() -> dict[str, str]:
    return {"test_a": "passed", "test_b": "passed", "test_x": "xfailed"}


@pytest.mark.parametrize(
    ("change", "entries", "said"),
    [
        ({"test_b": "failed"}, [], "test_b: passed on FastAPI, failed"),
        ({"test_b": "skipped"}, [], "test_b: passed on FastAPI, skipped"),
        ({"test_x": "failed"}, [], "test_x: xfailed on FastAPI, failed"),
        ({"test_b": "failed"}, [listed("fails", "test_b")], ""),
        ({"test_b": "failed"}, [listed("fails", "test_b", "live")], "test_b: passed on FastAPI"),
        ({"test_b": "failed"}, [listed("fails", "test_b", "frames-on")], ""),
        ({"test_b": "failed"}, [listed("fails", "test_b", "frames-off")], "test_b: passed on"),
        ({}, [listed("fails", "test_b", "frames-off")], ""),
        ({}, [listed("fails", "test_b")], "test_b: is listed as one that fails, and does not"),
        ({}, [listed("answers", "test_a")], "test_a: is listed as one that answers otherwise"),
        ({}, [listed("fails", "test_z")], "test_z: is listed, and there is no such test"),
        ({}, [listed("fails", "test_z", "live")], ""),
    ],
)
def test_what_passes_must_be_as_listed(
    change: dict[str, str], entries: list[Listed], said: str
) -> None:
    wrong = judge(GENUINE, a_run("frames", **{**_same(), **change}), entries)
    assert len(wrong) == bool(said), wrong
    assert not said or said in wrong[0]


def test_a_test_that_was_not_run_is_missed() -> None:
    run = a_run("live", **_same())
    del run.outcomes["tests/t.py::test_b"]
    assert judge(GENUINE, run, []) == ["live, lanes on: tests/t.py::test_b: not collected"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("status", 201),
        ("fields", [["content-type", "application/json"], ["content-length", "2"]]),
        ("fields", [["content-length", "2"], ["content-type", "application/json; charset=utf-8"]]),
        ("body", "[]"),
        ("size", 3),
    ],
)
def test_an_answer_that_differs_is_told_although_the_test_passes(part: str, value: Any) -> None:
    run = a_run("frames", **_same())
    run.answers["tests/t.py::test_a", 0][part] = value
    wrong = judge(GENUINE, run, [])
    assert len(wrong) == 1
    assert f"tests/t.py::test_a: GET /: {part}" in wrong[0]
    assert judge(GENUINE, run, [listed("answers", "test_a")]) == []
    assert judge(GENUINE, run, [listed("varies", "test_a")]) == []


def test_of_an_answer_that_varies_nothing_is_asked() -> None:
    assert judge(GENUINE, a_run("frames", **_same()), [listed("varies", "test_a")]) == []


def test_behind_the_sidecar_only_fields_of_one_name_have_an_order() -> None:
    run = a_run("live", **_same())
    fields = run.answers["tests/t.py::test_a", 0]["fields"]
    fields.reverse()
    assert judge(GENUINE, run, []) == []
    fields.append(["content-type", "text/plain"])
    assert len(judge(GENUINE, run, [])) == 1


def test_an_answer_too_many_is_told() -> None:
    run = a_run("frames", **_same())
    run.answers["tests/t.py::test_a", 1] = copy.deepcopy(RECORD)
    assert "request 1 was not made in genuine" in judge(GENUINE, run, [])[0]


def test_what_is_made_anew_in_each_run_is_no_difference() -> None:
    one: dict[str, Any] = copy.deepcopy(RECORD)
    other: dict[str, Any] = copy.deepcopy(RECORD)
    one["body"], other["body"] = '"eyJa.eyJb.cc"', '"eyJa.eyJb1.d"'
    one["size"], other["size"] = 14, 13
    one["fields"], other["fields"] = [["etag", "1"]], [["etag", "2"]]
    assert stable(one) == stable(other)


def test_a_list_is_read_with_its_reasons() -> None:
    text = "# all of it\n\n# one\n# reason\nfails frames,live a::b\n\n# another\nanswers live c::d[e f]\n"
    assert read_list(text) == [
        Listed("fails", frozenset({"frames", "live"}), "a::b", "one reason"),
        Listed("answers", frozenset({"live"}), "c::d[e f]", "another"),
    ]
    with pytest.raises(ValueError, match="fails, answers or varies"):
        read_list("fials live a::b\n")


def test_a_report_names_the_shares_and_what_is_wrong() -> None:
    run = a_run("frames", **_same())
    run.shares["api", "fast", "fast", "valid", "plain"] = 3
    run.shares["api", "fast", "slow", "invalid", "plain"] = 1
    run.shares["none", "slow", "slow", "valid", ""] = 2
    run.left["GET /x: streamed"] = 2
    run.reasons["its answer is a stream"] = 7
    text = report([GENUINE, run], [], ["frames: something"], "3 tests.")
    assert "| frames, lanes on | all: 4 | 3 (75.0 %) | 0 (0.0 %) | 1 (25.0 %) |" in text
    assert "| frames, lanes on | valid: 3 | 3 (100.0 %) | 0 (0.0 %) | 0 (0.0 %) |" in text
    assert "1 invalid, plain, 2 to other routes, or to none, 3 valid, plain" in text
    assert "2 requests: GET /x: streamed" in text
    assert "1 of these left their route's lane" in text
    assert "7 requests: its answer is a stream" in text
    assert "1 unexpected:\n\n- frames: something" in text
