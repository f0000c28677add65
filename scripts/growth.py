"""Draws docs/pictures/growth.svg from docs/growth.csv: hops and questions of a lookup by nodes.

    python scripts/growth.py

Needs nothing but Python. The lines are those of least squares over the logarithm.
"""

import csv
import math
from pathlib import Path

from dms3.sim.measures import Line, line

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, LEFT, LOW = 640, 300, 60, 250
FAR = 1_000_000  # nodes: where the lines end
CURVES = (("hops", 4.0, "#1a6fb5"), ("asked", 30.0, "#b5531a"))  # column, top of its scale, colour


def across(nodes: float) -> float:
    """Where so many nodes are, from left to right."""
    part = (math.log2(nodes) - 6) / (math.log2(FAR) - 6)
    return LEFT + part * (WIDTH - LEFT - 90)


def curve(column: str, top: float, colour: str, points: list[tuple[int, float]]) -> list[str]:
    """The points of one column and their line, measured solid, beyond that dashed."""
    found: Line = line([(math.log2(nodes), value) for nodes, value in points])

    def up(value: float) -> float:
        return LOW - value / top * (LOW - 30)

    def stroke(one: float, two: float, dashes: str) -> str:
        ends = ((across(x), up(found.at(math.log2(x)))) for x in (one, two))
        (x1, y1), (x2, y2) = ends
        where = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        return f'<line {where} stroke="{colour}" stroke-dasharray="{dashes}"/>'

    end = found.at(math.log2(FAR))
    label = f"{column} {end:.1f}"
    return [
        *(
            f'<circle cx="{across(nodes):.1f}" cy="{up(value):.1f}" r="4" fill="{colour}"/>'
            for nodes, value in points
        ),
        stroke(points[0][0], points[-1][0], "none"),
        stroke(points[-1][0], FAR, "4 4"),
        f'<text x="{across(FAR) + 6:.1f}" y="{up(end) + 4:.1f}" fill="{colour}">{label}</text>',
    ]


def main() -> None:
    """Write the picture."""
    with (ROOT / "docs" / "growth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    drawn = []
    for column, top, colour in CURVES:
        points = [(int(row["nodes"]), float(row[column])) for row in rows]
        drawn += curve(column, top, colour, points)
    ticks = [
        f'<text x="{across(nodes):.1f}" y="{LOW + 20}" text-anchor="middle">{nodes:,}</text>'
        for nodes in (64, 1_024, 10_000, FAR)
    ]
    picture = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="13">'
        ),
        "<title>Hops and questions of one lookup by the number of nodes</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<line x1="{LEFT}" y1="{LOW}" x2="{WIDTH - 20}" y2="{LOW}" stroke="#444444"/>',
        *ticks,
        (
            f'<text x="{WIDTH / 2}" y="{LOW + 42}" text-anchor="middle">nodes (logarithm); '
            "measured to 10,000, beyond that the line</text>"
        ),
        *drawn,
        "</svg>",
    ]
    target = ROOT / "docs" / "pictures" / "growth.svg"
    target.write_text("\n".join(picture) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
