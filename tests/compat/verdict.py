"""What a run of FastAPI's tests says: which of them pass, and whether every answer is FastAPI's own.

`expected.txt` lists what is not as on FastAPI itself, each with its reason. What is not listed, and what is listed and is
not so, are errors.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSING = frozenset({"passed", "xfailed", "skipped"})
# Drawn, timed or numbered anew in each run, whoever serves: (what, its place taken by).
UNSTABLE = (
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<a token with its time>"),
    (re.compile(r"<Mock id='\d+'>"), "<a mock's address>"),
    # What apps that answer with their request's fields say of these two, which begin or end at a sidecar.
    (re.compile(r',"connection":"keep-alive"'), ""),
    (re.compile(r',"x-request-id":"[0-9a-f]{16}"'), ""),
)
# A test fails; it passes with another answer; its answers are others from run to run.
KINDS = ("fails", "answers", "varies")
UNSTABLE_FIELDS = frozenset({"etag", "last-modified", "x-process-time", "x-response-time"})


@dataclass(frozen=True, slots=True)
class Listed:
    """`test` without [parameters] means all of them; a mode may be one with its lanes: "live-on"."""

    kind: str
    modes: frozenset[str]
    test: str
    reason: str

    def is_about(self, kind: str, run: Run) -> bool:
        return kind == self.kind and not self.modes.isdisjoint(
            (run.mode, f"{run.mode}-{run.lanes}")
        )

    def covers(self, kind: str, run: Run, test: str) -> bool:
        return self.is_about(kind, run) and (test == self.test or test.startswith(self.test + "["))


def read_list(text: str) -> list[Listed]:
    """Lines that begin with `#` are the reason of those below them: `fails frames,live tests/...::test_name`."""
    listed: list[Listed] = []
    reason: list[str] = []
    fresh = True
    for line in text.splitlines():
        if line.startswith("#"):
            reason = [*([] if fresh else reason), line[1:].strip()]
            fresh = False
            continue
        fresh = True
        if line.strip():
            kind, modes, test = line.split(maxsplit=2)
            if kind not in KINDS:
                raise ValueError(f"{line!r}: fails, answers or varies?")
            listed.append(Listed(kind, frozenset(modes.split(",")), test, " ".join(reason)))
    return listed


@dataclass(slots=True)
class Run:
    """One setting: its mode, its lanes, and what is in its folder."""

    mode: str
    lanes: str
    outcomes: dict[str, str] = field(default_factory=dict)
    answers: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    # (kind of the route, its lane, the lane that answered, how it ended, what is particular) -> requests.
    shares: Counter[tuple[str, str, str, str, str]] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.mode if self.mode == "genuine" else f"{self.mode}, lanes {self.lanes}"

    def read(self, folder: Path) -> None:
        self.outcomes = json.loads((folder / "outcomes.json").read_text())
        for path in folder.glob("answers-*.jsonl"):
            for line in path.read_text().splitlines():
                record = json.loads(line)
                record["test"] = record["test"].partition("@workdir_lock")[0]
                self.answers[record["test"], record["number"]] = record
        for path in folder.glob("counts-*.json"):
            counts = json.loads(path.read_text())
            for *key, count in counts["answers"]:
                kind, registered, lane, end, group = key
                self.shares[kind, registered, lane, end, group] += count
            self.left.update(counts["left"])
            self.reasons.update(counts["reasons"])
            self.kept.update(counts["kept"])

    def count(self, *outcomes: str) -> int:
        return sum(1 for outcome in self.outcomes.values() if outcome in outcomes)


def stable(record: dict[str, Any], *, in_order: bool = True) -> dict[str, Any]:
    """An answer without what differs from run to run. Not `in_order`: only fields of one name keep theirs."""
    body = record["body"]
    for pattern, instead in UNSTABLE:
        body = pattern.sub(instead, body)
    changed = body != record["body"]
    unstable = UNSTABLE_FIELDS | {"content-length"} if changed else UNSTABLE_FIELDS
    fields = [
        [name, "<unstable>" if name in unstable else value] for name, value in record["fields"]
    ]
    if not in_order:
        fields.sort(key=lambda field: field[0])
    return {
        "request": record["request"],
        "status": record["status"],
        "fields": fields,
        "body": body,
        "size": "<unstable>" if changed else record["size"],
    }


def differences(genuine: Run, run: Run) -> dict[str, str]:
    """Test -> the first answer that differs. A test that ended early has fewer answers."""
    found: dict[str, str] = {}
    # What the sidecar answers by itself (404, 405) has its fields in an order of its own.
    in_order = run.mode != "live"
    for key in sorted(genuine.answers.keys() | run.answers.keys()):
        test, number = key
        if test in found:
            continue
        one, other = genuine.answers.get(key), run.answers.get(key)
        if one is None or other is None:
            found[test] = (
                f"request {number} was not made in {'genuine' if one is None else run.name}"
            )
            continue
        said, ours = stable(one, in_order=in_order), stable(other, in_order=in_order)
        if "<unstable>" in (said["size"], ours["size"]):  # Of one of them, perhaps.
            for answer in (said, ours):
                answer["size"] = "<unstable>"
                answer["fields"] = [f for f in answer["fields"] if f[0] != "content-length"]
        if said != ours:
            parts = [part for part in said if said[part] != ours[part]]
            told = "; ".join(f"{part} {said[part]!r:.300} -> {ours[part]!r:.300}" for part in parts)
            found[test] = f"{one['request']}: {told}"
    return found


def _varies(listed: list[Listed], run: Run, test: str) -> bool:
    return any(entry.covers("varies", run, test) for entry in listed)


def judge(genuine: Run, run: Run, listed: list[Listed]) -> list[str]:
    """What is wrong, in sentences; nothing: all is as listed."""
    wrong = [f"{test}: not collected" for test in genuine.outcomes.keys() - run.outcomes.keys()]
    missed = {
        test: f"{genuine.outcomes.get(test, 'unknown')} on FastAPI, {outcome}"
        for test, outcome in run.outcomes.items()
        if outcome != genuine.outcomes.get(test)
    }
    for kind, found in (("fails", missed), ("answers", differences(genuine, run))):
        used: set[Listed] = set()
        for test, what in sorted(found.items()):
            if kind == "answers" and (test in missed or _varies(listed, run, test)):
                continue
            covering = [entry for entry in listed if entry.covers(kind, run, test)]
            used.update(covering)
            if not covering:
                wrong.append(f"{test}: {what}")
        for entry in listed:
            if entry.is_about(kind, run) and entry not in used:
                known = any(entry.covers(kind, run, test) for test in run.outcomes)
                verb = "fails" if kind == "fails" else "answers otherwise"
                wrong.append(
                    f"{entry.test}: is listed as one that {verb}, and does not"
                    if known
                    else f"{entry.test}: is listed, and there is no such test"
                )
    return [f"{run.name}: {one}" for one in sorted(wrong)]
