"""The counts as a table, and what of them is more than an event may cost."""

from __future__ import annotations

from collections import Counter

from clients import IDEMPOTENT, Counts
from events import EVENTS, ORDER, QUIET


def excess(counts: Counts, happened: Counter[str], clients: int) -> list[str]:
    """One sentence for each kind of failure that must not be, or is too frequent."""
    allowed = {event.name: event for event in EVENTS}
    wrong = []
    for (phase, method, reason), count in sorted(counts.failed.items()):
        event = allowed.get(phase)
        may = frozenset() if event is None else event.others
        if event is not None and method in IDEMPOTENT:
            may = event.idempotent
        if reason not in may:
            wrong.append(f"{count} × {method}: {reason}, during: {phase}")
        elif reason == "502" and count > clients * happened[phase]:
            wrong.append(f"{count} × {method}: 502, more than clients, during: {phase}")
    return wrong


def markdown(counts: Counts, happened: Counter[str]) -> str:
    lines = [
        "| during | times | requests | idempotent failed | others failed | reasons | why |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    why = {event.name: event.why for event in EVENTS}
    for phase in ORDER:
        failed = {key: count for key, count in counts.failed.items() if key[0] == phase}
        idempotent = sum(count for key, count in failed.items() if key[1] in IDEMPOTENT)
        reasons: Counter[str] = Counter()
        for (_, _, reason), count in failed.items():
            reasons[reason] += count
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        times = "" if phase == QUIET else str(happened[phase])
        others = sum(failed.values()) - idempotent
        lines.append(
            f"| {phase} | {times} | {counts.requests[phase]} | {idempotent} | {others} | {told} "
            f"| {why.get(phase, '') if failed else ''} |"
        )
    return "\n".join(lines) + "\n"
