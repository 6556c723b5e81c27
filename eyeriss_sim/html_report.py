"""A result as one page that needs no other file: totals, figures, the whole table."""

import xml.etree.ElementTree as ElementTree
from html import escape
from string import Template
from typing import TYPE_CHECKING

from eyeriss_sim import plots
from eyeriss_sim.figure_style import INK
from eyeriss_sim.labels import decimals, pick_unit, printable
from eyeriss_sim.report import (
    COUNTS,
    ENERGY,
    MEMORY,
    TIMES,
    cycle_shares,
    energy_shares,
    joules_text,
    mapping_sources,
    totals,
    widths,
)

if TYPE_CHECKING:
    from eyeriss_sim.result import SimulationResult

FIGURES = {
    "Joules by part": plots.joules_by_part,
    "Normalised energy by level": plots.energy_by_level,
    "Normalised energy by kind of data": plots.energy_by_kind,
    "Cycles by cause": plots.cycles_by_cause,
    "Utilisation of the array": plots.utilization,
}

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --page: #ffffff;
  --card: #f4f5f7; --line: #d8dce1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa4af;
  --page: #15181c; --card: #1e2227; --line: #363c44; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 2rem clamp(1rem, 3vw, 3rem) 4rem;
  background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; }
p { margin: .3rem 0; max-width: 100ch; overflow-wrap: anywhere; }
.soft, dt { color: var(--soft); }
.cards { display: grid; gap: .75rem; margin: 1.5rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(12rem, 45%), 1fr)); }
.cards div { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; }
.cards b { display: block; font-size: 1.35rem; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.cards span { color: var(--soft); font-size: .85rem; }
.figures { display: grid; gap: 2rem 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, ${narrowest}px), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; }
.scroll { overflow: auto; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit; }
.table { max-height: 85vh; border: 1px solid var(--line); border-radius: .5rem; }
.layers { border-collapse: separate; border-spacing: 0; font-size: .82rem;
  font-variant-numeric: tabular-nums; }
.layers th, .layers td { padding: .3rem .65rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
.layers thead th { position: sticky; top: 0; z-index: 1; background: var(--card);
  vertical-align: bottom; font-weight: 600; }
.layers thead th small { display: block; font-weight: 400; color: var(--soft); }
.layers th:first-child { position: sticky; left: 0; z-index: 1; text-align: left;
  background: var(--card); white-space: normal;
  overflow-wrap: anywhere; min-width: min(${name_width}ch, 40vw); }
.layers thead th:first-child { z-index: 2; }
.layers tfoot th, .layers tfoot td { font-weight: 600; border-bottom: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem;
  margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print { .scroll, .table { overflow: visible; max-height: none; } }
</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="soft">$subtitle</p>
</header>
<div class="cards">
$cards
</div>
<p><b>Joules</b>: $joules</p>
<p><b>Normalised energy</b>: $energy</p>
<p><b>Cycles</b>: $cycles</p>
<h2>What the figures stand on</h2>
<dl>
$provenance
</dl>
<h2>Figures</h2>
<div class="figures">
$figures
</div>
<h2>Layers</h2>
<div class="scroll table" tabindex="0">
$table
</div>
<h2>Not counted</h2>
$not_counted
</body>
</html>
""")


def render_html(result: "SimulationResult") -> str:
    """The page of a result.

    Parameters
    ----------
    result : SimulationResult

    Returns
    -------
    str

    Examples
    --------
    >>> from eyeriss_sim import simulate
    >>> page = render_html(simulate("alexnet", batch=4))
    >>> page.count("<svg"), "http" in page
    (5, False)
    """
    said = result.provenance
    said_widths = widths(result)
    figures = [_figure(title, draw(result)) for title, draw in FIGURES.items()]
    return PAGE.substitute(
        title=safe(f"{said['network']} on {said['hardware']}"),
        subtitle=safe(f"batch {said['batch']}, zeros: {said['zeros']}, "
                      f"{len(result.by_layer)} layers; figures are for the whole "
                      f"batch" + (f"; widths: {said_widths}" if said_widths else "")),
        cards="\n".join(f"<div><b>{safe(value)}</b><span>{safe(name)}</span></div>"
                        for name, value in headline(result).items()),
        joules=safe(joules_text(result)),
        energy=_percentages(energy_shares(result)),
        cycles=_percentages(cycle_shares(result)),
        provenance="\n".join(f"<dt>{safe(key)}</dt><dd>{safe(value)}</dd>"
                             for key, value in _provenance(result).items()),
        figures="\n".join(html for html, _ in figures),
        narrowest=max(round(width) for _, width in figures),
        name_width=min(max(map(len, result.table["layer"])) + 4, 36),
        table=_table(result),
        not_counted=_not_counted(result))


def safe(value: object) -> str:
    """Any value as text that is only text.

    Examples
    --------
    >>> safe("<b> & \\0")
    '&lt;b&gt; &amp; \\\\x00'
    """
    return escape(printable(str(value)))


def headline(result: "SimulationResult") -> dict[str, str]:
    """The totals that come first, as text with units."""
    sums, batch = totals(result), result.provenance["batch"]
    return {
        "MACs": _quantity(sums["macs"], COUNTS, "M"),
        "latency": _quantity(sums["total_ms"], TIMES, "ms"),
        "images per second": _number(batch / sums["total_ms"] * 1e3),
        "chip energy": _quantity(sums["chip_uJ"], ENERGY, "mJ"),
        "DRAM energy": _quantity(sums["dram_uJ"], ENERGY, "mJ"),
        "energy per image": _quantity(sums["total_uJ_per_image"], ENERGY, "mJ"),
        "chip power": _number(sums["power_mW"]) + " mW",
        "utilisation": f"{sums['utilization']:.1%}",
        "DRAM traffic": _quantity(sums["dram_MB"], MEMORY, "MB"),
        "energy, normalised": _quantity(sums["energy_MAC"], COUNTS, "M") + " MAC",
    }


def _quantity(value, units, home):
    unit = pick_unit(value, units, home, limit=1e4)
    return f"{_number(value / units[unit])} {unit}".strip()


def _number(value):
    return f"{value:,.{decimals(value, 4)}f}"


def _percentages(shares):
    return safe(", ".join(
        f"{name} {share:.1%}" for name, share in shares.items() if share))


def _provenance(result):
    rows = {key.replace("_", " "): value for key, value in result.provenance.items()}
    rows["mapping"] = mapping_sources(result)
    if result.network.source:
        rows["shapes"] = result.network.source
    if result.network.notes:
        rows["notes"] = "; ".join(result.network.notes)
    return rows


def _figure(title, figure):
    """A figure with its caption, and the least width in pixels that it needs."""
    # The caption says it, in a font that it shares with the page.
    figure.suptitle("")
    svg = ElementTree.fromstring(plots.svg_text(figure))
    width = float(svg.attrib["width"].removesuffix("pt")) * 4 / 3
    for element in svg.iter():
        # In a page, SVG needs no name spaces, and names must not repeat.
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            if key != "id" or element.tag in ("clipPath", "path"):
                element.set(key.rpartition("}")[2],
                            value.replace(INK, "currentColor"))
    for key in ("width", "height", "version"):
        svg.attrib.pop(key, None)
    least = 0.78 * width
    svg.set("style", f"min-width: {least:.0f}px; max-width: {1.25 * width:.0f}px")
    svg.set("role", "img")
    svg.set("aria-label", title)
    drawing = ElementTree.tostring(svg, "unicode")
    return (f'<figure><figcaption>{safe(title)}</figcaption>'
            f'<div class="scroll">{drawing}</div></figure>'), least


def _table(result):
    """All columns that differ between layers, and what they add up to."""
    table, sums = result.table, totals(result)
    columns = [key for key in table if key not in result.provenance]
    places = {key: decimals(table[key].max(), 6, most=3) for key in columns
              if table[key].dtype.kind == "f"}

    def cell(key, value):
        if key in places:
            return f"{value:,.{places[key]}f}"
        return f"{value:,}" if isinstance(value, int) else safe(value)

    lines = ['<table class="layers">', "<thead><tr>"]
    lines += [f"<th>{_heading(key)}</th>" for key in columns]
    lines += ["</tr></thead>", "<tbody>"]
    for row in table[columns].to_dict("records"):
        cells = [cell(key, value) for key, value in row.items()]
        lines.append(f"<tr><th>{cells[0]}</th>"
                     + "".join(f"<td>{text}</td>" for text in cells[1:]) + "</tr>")
    lines += ["</tbody>", "<tfoot><tr><th>total</th>"]
    lines += [f"<td>{cell(key, sums[key]) if key in sums else ''}</td>"
              for key in columns[1:]]
    return "\n".join([*lines, "</tr></tfoot>", "</table>"])


def _heading(key):
    """A column's name over its unit: ``dram_MB`` is DRAM, MB."""
    name, _, unit = key.rpartition("_")
    if key.endswith("_uJ_per_image"):
        name, unit = key.removesuffix("_uJ_per_image"), "uJ an image"
    if unit in ("uJ an image", "MAC", "MB", "ms", "uJ", "mW", "cycles") and name:
        return f"{safe(name.replace('_', ' '))}<small>{safe(unit)}</small>"
    return safe(key.replace("_", " "))


def _not_counted(result):
    if not result.network.not_counted:
        return "<p>Nothing: the array runs every operator.</p>"
    lines = ["<p>The array does not run these operators; their energy and time are in "
             "no figure.</p>", "<dl>"]
    for op in result.network.not_counted:
        values = "" if op.outputs is None else f", {op.outputs:,} values"
        lines.append(f"<dt>{safe(op.op)}</dt><dd>{op.calls:,} calls{values}</dd>")
    return "\n".join([*lines, "</dl>"])
