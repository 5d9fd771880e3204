"""Charts drawn by matplotlib as inline SVG: colours from the page's style sheet, values on hover, no script.

    line_chart("hole PSNR, dB", "missing pixels, %", [Line("pconv", "trained-0", [(5, 31.2), (15, 28.4)])])

matplotlib draws in placeholder colours, which are replaced by variables of the style sheet (`--trained-0`, `--quiet`,
`--rule`), so that a chart works on light and dark pages.
"""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}"
_INCHES = (4.4, 3.6)
_QUIET, _RULE = "#010101", "#020202"
_DASHES = ((0, ()), (0, (1, 2)), (0, (4, 2)), (0, (7, 2, 1, 2)))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        label: in the legend and on hover.
        style: variable of the style sheet with its colour.
        points: (x, y), from left to right.
        dashes: 0 for a solid line, 1 to 3 for others.
    """

    label: str
    style: str
    points: Sequence[tuple[float, float]]
    dashes: int = 0


@dataclass(frozen=True)
class Histogram:
    """The distribution of a number in several sets, as shares of each set.

    Attributes:
        title: name of the number, with its unit.
        shares: (bars,), of each set by its name, in %.
        edges: (bars + 1,), of the bars.
        has_larger: whether some values are above the last edge; they count in the last bar.
    """

    title: str
    shares: Mapping[str, Floats]
    edges: Floats
    has_larger: bool

    @classmethod
    def of(cls, title: str, values: Mapping[str, Floats], low: float, high: float, bars: int = 24) -> "Histogram":
        """Count values, of which there may be millions.

        Args:
            title: name of the number, with its unit.
            values: of each set, by its name; empty sets are left out.
            low: start of the axis.
            high: end of the axis.
            bars: number of bars.
        """
        edges = np.linspace(low, high, bars + 1)
        shares = {
            name: 100 * np.histogram(np.clip(of_set, low, high), bars, (low, high))[0] / len(of_set)
            for name, of_set in values.items()
            if len(of_set)
        }
        return cls(title, shares, edges, any((of_set > high).any() for of_set in values.values()))


def line_chart(title: str, x_label: str, lines: Sequence[Line], zero: bool = False) -> Markup:
    """Draw lines; the legend lists them by their last value, the highest first.

    Args:
        title: of the y axis, with its unit.
        x_label: of the x axis, with its unit.
        lines: lines without points are left out.
        zero: whether to draw a line at 0.

    Returns:
        an `svg` element, "" without lines.
    """
    lines = sorted((line for line in lines if line.points), key=lambda line: -line.points[-1][1])
    if not lines:
        return Markup()
    figure, axes = _figure()
    if zero:
        axes.axhline(0, color=_QUIET, linewidth=1)
    colours = {line.style: _placeholder(number) for number, line in enumerate(lines)}
    for number, line in enumerate(lines):
        axes.plot(
            *zip(*line.points, strict=True),
            color=colours[line.style],
            linestyle=_DASHES[line.dashes],
            marker="o",
            markersize=3.5 if len(line.points) <= 16 else 2.5,
            linewidth=1.7,
            label=line.label,
            gid=f"line-{number}",
        )
    axes.set_xlabel(x_label)
    axes.grid(color=_RULE, linewidth=0.7)
    figure.legend(loc="outside lower left", ncols=3, frameon=False, labelcolor=_QUIET, fontsize=9, handlelength=1.6)
    return _as_svg(figure, title, f"{title}, over {x_label}", colours, lines)


def histogram(one: Histogram) -> Markup:
    """Draw a histogram as an `svg` element."""
    figure, axes = _figure((4.2, 2.3))
    colours = {f"line-{number}": _placeholder(number) for number in range(5)}
    for number, (name, shares) in enumerate(one.shares.items()):
        colour = [*colours.values()][number % len(colours)]
        axes.stairs(shares, one.edges, color=colour, linewidth=1.6, label=name)
    axes.set_xlim(one.edges[0], one.edges[-1])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.spines["left"].set_visible(False)
    if one.shares:
        axes.legend(frameon=False, labelcolor=_QUIET, fontsize=9)
    note = f"{one.title}; values above {one.edges[-1]:g} count in the last bar" if one.has_larger else one.title
    return _as_svg(figure, one.title, note, colours)


# Text stays text, in the font of the page.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "axes.edgecolor": _RULE,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _QUIET),
}


def _figure(inches: tuple[float, float] = _INCHES) -> tuple[Any, Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained", facecolor="none")
        axes = figure.subplots()
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _placeholder(number: int) -> str:
    return f"#0000{number + 1:02x}"  # matplotlib would not write black


def _as_svg(figure: Any, title: str, label: str, colours: Mapping[str, str], lines: Sequence[Line] = ()) -> Markup:
    import matplotlib as mpl

    nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):  # so that ids of several charts on a page differ
        figure.savefig(file := io.StringIO(), format="svg", metadata=nobody)
    text = file.getvalue().replace(_QUIET, "var(--quiet)").replace(_RULE, "var(--rule)")
    for style, colour in colours.items():
        text = text.replace(colour, f"var(--{style})")
    # Use the font of the page; a style element would affect the whole page.
    text = re.sub(r"font-family: [^;\"]*; |<style.*?</style>", "", text)
    svg = ET.fromstring(text)  # noqa: S314 - made above
    for number, line in enumerate(lines):
        _add_titles(svg, number, line)
    used = set(re.findall(r"#([\w-]+)", text))
    for one in svg.iter():
        if one.get("id") not in used:
            one.attrib.pop("id", None)
    svg.attrib = {"viewBox": svg.attrib["viewBox"], "role": "img", "aria-label": label}
    for prefix, name in (("", _SVG), ("xlink", _LINK)):
        ET.register_namespace(prefix, name[1 : name.index("}")])
    return Markup(ET.tostring(svg, encoding="unicode"))  # noqa: S704 - written by ElementTree


def _add_titles(svg: ET.Element, number: int, line: Line) -> None:
    """Add the values of a line's points as titles, which browsers show on hover."""
    group = next(one for one in svg.iter(f"{_SVG}g") if one.get("id") == f"line-{number}")
    group.set("data-method", line.label)
    for point, (x, y) in zip(group.iter(f"{_SVG}use"), line.points, strict=False):
        ET.SubElement(point, f"{_SVG}title").text = f"{line.label}: {y:.4g} at {x:g}"
