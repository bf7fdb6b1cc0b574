"""One SVG bar chart per scenario: labels on the left, a bar and its number on the right."""

from __future__ import annotations

import html
import pathlib

WIDTH, LABEL, ROW = 720, 250, 26


def write(path: pathlib.Path, title: str, unit: str, groups: dict[str, dict[str, float]]) -> None:
    """`groups`: heading -> label -> value. Bars of one heading share a scale."""
    y, parts = 44, []
    for heading, bars in groups.items():
        parts.append(f'<text class="h" x="12" y="{y}">{html.escape(heading)}</text>')
        y += 10
        most = max(bars.values())
        for label, value in bars.items():
            width = (WIDTH - LABEL - 110) * value / most
            ours = " us" if label.startswith("catzilla") else ""
            parts.append(
                f'<text class="l" x="{LABEL - 8}" y="{y + 17}">{html.escape(label)}</text>'
            )
            parts.append(
                f'<rect class="b{ours}" x="{LABEL}" y="{y + 4}" width="{width:.1f}" height="18"/>'
            )
            shown = f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
            parts.append(f'<text x="{LABEL + width + 6:.1f}" y="{y + 17}">{shown}</text>')
            y += ROW
        y += 24
    style = (
        "text{font:13px system-ui,sans-serif;fill:#222}.t{font-weight:600;font-size:15px}"
        ".h{font-weight:600}.l{text-anchor:end}.b{fill:#9aa7b4}.us{fill:#2f7d4f}"
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" '
        f'aria-label="{html.escape(title)}"><style>{style}</style>'
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>'
        f'<text class="t" x="12" y="22">{html.escape(title)} ({html.escape(unit)})</text>'
        + "".join(parts)
        + "</svg>\n"
    )
