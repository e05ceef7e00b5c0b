"""SVG with what diagrams need, readable on white and on black."""

from __future__ import annotations

from html import escape

STYLE = """\
  <style>
    text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; }
    .title { font-weight: bold; }
    .small { font-size: 11px; fill: #59636e; }
    .label { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
    .paper { fill: #ffffff; }
    .box { fill: #eef4fb; stroke: #0969da; stroke-width: 1.2; }
    .first { stroke-width: 2.6; }
    .line { fill: none; stroke: #59636e; stroke-width: 1.2; }
    .life { stroke: #b6bfc8; stroke-dasharray: 3 4; }
    .head { fill: #59636e; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .small { fill: #9198a1; }
      .label { stroke: #0d1117; }
      .paper { fill: #0d1117; }
      .box { fill: #12243a; stroke: #4493f8; }
      .line { stroke: #9198a1; }
      .life { stroke: #3d444d; }
      .head { fill: #9198a1; }
    }
  </style>
"""


class Drawing:
    """Shapes, in order. Numbers are pixels."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> None:
        """A line of text, whose foot is at `y`."""
        marked = f' class="{kind}"' if kind else ""
        self._shapes.append(f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{marked}>{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, words: str, first: bool = False) -> None:
        """A box around its middle."""
        left, top = x - width / 2, y - height / 2
        self._shapes.append(
            f'<rect class="box{" first" if first else ""}" x="{_n(left)}" y="{_n(top)}" '
            f'width="{_n(width)}" height="{_n(height)}" rx="7"/>'
        )
        self.text(x, y + 4, words, "title")

    def path(self, steps: str, kind: str = "line", arrow: bool = True) -> None:
        """A line along the steps of an SVG path."""
        end = ' marker-end="url(#head)"' if arrow else ""
        self._shapes.append(f'<path class="{kind}" d="{steps}"{end}/>')

    def svg(self, width: float, height: float) -> str:
        """The whole file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
            f'viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{escape(self.title)}">\n'
            f"  <title>{escape(self.title)}</title>\n"
            "  <!-- Made by tools/make_diagrams.py. -->\n"
            f"{STYLE}"
            '  <defs><marker id="head" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
            '<path class="head" d="M0 0 L9 4 L0 8 Z"/></marker></defs>\n'
            f'  <rect class="paper" width="{_n(width)}" height="{_n(height)}"/>\n'
            + "".join(f"  {shape}\n" for shape in self._shapes)
            + "</svg>\n"
        )


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def point(x: float, y: float) -> str:
    """A point of a path."""
    return f"{_n(x)} {_n(y)}"
