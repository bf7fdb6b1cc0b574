"""The report of a stage: what passed where, which lane answered, what is missed and why."""

from __future__ import annotations

from verdict import Listed, Run, differences

SHOWN_MAX = 60
LANES = ("fast", "stack", "slow")
REASONS_SHOWN = 12


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
    lines = [
        "| setting | requests to API routes | fast | stack | slow | other requests | not by us |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        api = {
            lane: sum(n for (kind, _, by), n in run.shares.items() if kind == "api" and by == lane)
            for lane in LANES
        }
        total = sum(api.values())
        others = sum(n for (kind, _, _), n in run.shares.items() if kind != "api")
        kept = ", ".join(f"{count} {what}" for what, count in sorted(run.kept.items())) or "0"
        cells = [str(total), *(percent(api[lane], total) for lane in LANES), str(others)]
        lines.append(f"| {run.name} | {' | '.join(cells)} | {kept} |")
    return lines


def lanes_not_taken(runs: list[Run]) -> list[str]:
    lines: list[str] = []
    for run in runs:
        left = sum(
            n
            for (kind, registered, by), n in run.shares.items()
            if kind == "api" and registered != by
        )
        if left:
            lines.append(f"- {run.name}: {left} of these left their route's lane for a slower one")
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
