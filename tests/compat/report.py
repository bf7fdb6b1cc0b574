"""The report of a stage: what passed where, which lane answered, what is missed and why."""

from __future__ import annotations

from collections import Counter

from verdict import Listed, Run, differences

SHOWN_MAX = 60
LANES = ("fast", "stack", "slow")
REASONS_SHOWN = 12
# Whoever asks what no route takes, or has an endpoint that raises, is not answered by the fast lane. The goal is 90 %.
GROUPS = ("plain", "form", "generator", "override", "class", "middleware")
SHARES = (
    ("all", ("valid", "invalid", "raised"), GROUPS),
    ("valid", ("valid",), GROUPS),
    ("valid, no generator, override, class, middleware", ("valid",), ("plain", "form")),
    ("valid, no form either", ("valid",), ("plain",)),
)


def percent(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "0"


def outcomes_table(runs: list[Run]) -> list[str]:
    lines = [
        "| setting | passed | failed | xfailed | skipped | answers compared | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        counts = [run.count("passed"), run.count("failed", "xpassed"), run.count("xfailed")]
        cells = [*counts, run.count("skipped"), len(run.answers), round(run.seconds)]
        lines.append(f"| {run.name} | {' | '.join(str(cell) for cell in cells)} |")
    return lines


def lanes_table(runs: list[Run]) -> list[str]:
    """All requests to path operations; of them the valid ones; of those the ones that a goal is about."""
    lines = [
        "| setting | requests to path operations | fast | stack | slow |",
        "| --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        for what, endings, groups in SHARES:
            api = {
                lane: sum(
                    n
                    for (kind, _, by, end, group), n in run.shares.items()
                    if kind == "api" and by == lane and end in endings and group in groups
                )
                for lane in LANES
            }
            total = sum(api.values())
            cells = [f"{what}: {total}", *(percent(api[lane], total) for lane in LANES)]
            lines.append(f"| {run.name} | {' | '.join(cells)} |")
    lines += [""]
    for run in runs:
        ends: Counter[str] = Counter()
        for (kind, _, _, end, group), n in run.shares.items():
            if kind != "api":
                ends["to other routes, or to none"] += n
            else:
                ends[f"{end}, {group}"] += n
        ends.update({f"not by us: {what}": count for what, count in run.kept.items()})
        told = ", ".join(f"{count} {what}" for what, count in sorted(ends.items()))
        lines.append(f"- {run.name}: {told}")
    return lines


def lanes_not_taken(runs: list[Run]) -> list[str]:
    lines: list[str] = []
    for run in runs:
        left = sum(
            n
            for (kind, registered, by, _, _), n in run.shares.items()
            if kind == "api" and registered != by
        )
        if left:
            lines.append(f"- {run.name}: {left} of these left their route's lane for a slower one")
        if run.lanes == "on" and run.left:
            lines.append(f"- {run.name}: valid requests left it at")
            for where, count in run.left.most_common(REASONS_SHOWN):
                lines.append(f"    - {count} requests: {where}")
        if run.lanes == "on" and run.reasons:
            lines.append(f"- {run.name}: routes are in the slow lane because")
            for reason, count in run.reasons.most_common(REASONS_SHOWN):
                lines.append(f"    - {count} requests: {reason}")
    return lines


def misses(runs: list[Run], listed: list[Listed]) -> list[str]:
    lines: list[str] = []
    by_reason: dict[str, list[Listed]] = {}
    for entry in listed:
        by_reason.setdefault(entry.reason, []).append(entry)
    for reason, entries in by_reason.items():
        lines.append(f"- {reason}")
        for run in runs[1:]:
            missed = {test for test, outcome in run.outcomes.items() if outcome == "failed"}
            other = differences(runs[0], run).keys() - missed
            failing = sum(any(e.covers("fails", run, test) for e in entries) for test in missed)
            differing = sum(any(e.covers("answers", run, test) for e in entries) for test in other)
            if failing or differing:
                lines.append(
                    f"    - {run.name}: {failing} fail, {differing} pass with another answer"
                )
    return lines


def report(runs: list[Run], listed: list[Listed], wrong: list[str], what: str) -> str:
    """`runs`: the genuine one first."""
    lines = ["# FastAPI's own tests against Catzilla", "", what, "", *outcomes_table(runs), ""]
    lines += [*lanes_table(runs[1:]), "", *lanes_not_taken(runs[1:]), ""]
    lines += ["What is not as on FastAPI itself, and why (tests/compat/expected.txt):", ""]
    lines += [*misses(runs, listed), ""]
    lines += [f"{len(wrong)} unexpected:" if wrong else "Nothing unexpected.", ""]
    lines += [f"- {one:.600}" for one in wrong[:SHOWN_MAX]]
    lines += [f"- and {len(wrong) - SHOWN_MAX} more"] if len(wrong) > SHOWN_MAX else []
    return "\n".join(lines).rstrip() + "\n"
