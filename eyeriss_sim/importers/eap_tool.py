"""The text format of the energy-aware-pruning website's tool → Workload.

One line per layer, 25 whole numbers with commas between them: the layer's number; size,
zeros and bit width of ifmap, filters and ofmap; stride; padding. (Yang et al., CVPR
2017, "Designing Energy-Efficient CNNs Using Energy-Aware Pruning".)
"""

from pathlib import Path

from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.widths import Bits
from eyeriss_sim.workload import Workload
from eyeriss_sim.zeros import Densities

SIZES = ("height", "width", "channels", "maps", "zero entries", "bit width")
FIELDS = ("index", *(f"{kind} {size}" for kind in ("ifmap", "filter", "ofmap")
                     for size in SIZES),
          "stride y", "stride x", "padding top", "padding bottom", "padding left",
          "padding right")
MAY_BE_ZERO = {"index", *(field for field in FIELDS
                          if "zero" in field or "padding" in field)}
MOST_BITS = 64


def workload_from_eap_tool(path, name=None):
    """Layers, densities and bit widths of a file for the energy-aware-pruning tool.

    An ifmap's height, width and zeros are without its padding; a filter with fewer
    channels than the ifmap stands for groups. Blank lines and lines that begin with #
    are skipped.

    Parameters
    ----------
    path : str or Path
    name : str, optional
        Name of the network; by default the file's.

    Returns
    -------
    Workload
        Layers are called LAYER and their number; padding counts as zeros of the ifmap.

    Raises
    ------
    ValueError
        File, line, field and value of a cell that is no such number; sizes that
        contradict each other.
    OSError
        A file that can't be read.
    """
    layers: list[ConvLayer] = []
    densities, bits = {}, {}
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}, line {number}"
        cells = _cells(line, where)
        try:
            layer = _layer(cells, where)
        except ValueError as problem:
            if str(problem).startswith(where):
                raise
            raise ValueError(f"{where}: {problem}") from None
        if layer.name in densities:
            raise ValueError(f"{where}, index: {cells['index']} stands here twice")
        if layers and layer.N != layers[0].N:
            raise ValueError(
                f"{where}, ifmap maps: {layer.N}, but {layers[0].name} has "
                f"{layers[0].N}; all layers must have one batch")
        layers.append(layer)
        densities[layer.name] = Densities(
            ifmap=_filled(cells, "ifmap") / layer.ifmap_words,
            filter=_filled(cells, "filter") / layer.filter_words,
            ofmap=_filled(cells, "ofmap") / layer.ofmap_words)
        bits[layer.name] = Bits(*(
            cells[f"{kind} bit width"] for kind in ("ifmap", "filter", "ofmap")))
    if not layers:
        raise ValueError(f"{path}: no layer in it; a layer is {len(FIELDS)} numbers "
                         "on one line")
    network = Network(name or Path(path).stem, layers, batch=layers[0].N,
                      source=f"read from {Path(path).name}")
    return Workload(network, densities, bits)


def _cells(line, where):
    texts = [text.strip() for text in line.split(",")]
    if texts[-1] == "" and len(texts) == len(FIELDS) + 1:       # a comma at the end
        texts.pop()
    if len(texts) != len(FIELDS):
        raise ValueError(f"{where}: {len(texts)} numbers, but a layer has "
                         f"{len(FIELDS)}: index, 6 each for ifmap, filter and ofmap, "
                         "2 strides, 4 paddings")
    return {field: _whole(text, field, where)
            for field, text in zip(FIELDS, texts, strict=True)}


def _whole(text, field, where):
    least = 0 if field in MAY_BE_ZERO else 1
    most = MOST_BITS if field.endswith("bit width") else None
    try:
        value = float(text)         # files written by a numeric tool have 11.0
        value = int(text) if text.lstrip("+-").isdecimal() else int(value)
        if value != float(text):
            raise ValueError
    except (ValueError, OverflowError):
        value = None
    if value is None or value < least or (most and value > most):
        limits = f"at least {least}" if most is None else f"{least}..{most}"
        raise ValueError(f"{where}, {field}: must be a whole number, {limits}; got "
                         f"{text!r}")
    return value


def _words(cells, kind):
    words = 1
    for size in ("height", "width", "channels", "maps"):
        words *= cells[f"{kind} {size}"]
    return words


def _filled(cells, kind):
    return _words(cells, kind) - cells[f"{kind} zero entries"]


def _layer(cells, where):
    def fail(field, needed):
        raise ValueError(f"{where}, {field}: {cells[field]}, but {needed}")

    top, bottom, left, right = (
        cells[f"padding {side}"] for side in ("top", "bottom", "left", "right"))
    groups, rest = divmod(cells["ifmap channels"], cells["filter channels"])
    if rest or not groups:
        fail("filter channels",
             f"they must divide the {cells['ifmap channels']} of the ifmap")
    if cells["filter maps"] % groups:
        fail("filter maps", f"they must be a multiple of the {groups} groups that "
             f"{cells['filter channels']} of {cells['ifmap channels']} channels make")
    layer = ConvLayer(
        name=f"LAYER{cells['index']}", N=cells["ifmap maps"], M=cells["filter maps"],
        C=cells["filter channels"], H=cells["ifmap height"] + top + bottom,
        W=cells["ifmap width"] + left + right, R=cells["filter height"],
        S=cells["filter width"], U=cells["stride y"], V=cells["stride x"],
        groups=groups, padding=(top, bottom, left, right))
    for size, value in (("height", layer.E), ("width", layer.F),
                        ("channels", layer.M), ("maps", layer.N)):
        if cells[f"ofmap {size}"] != value:
            fail(f"ofmap {size}", f"ifmap, filter, stride and padding give {value}")
    for kind in ("ifmap", "filter", "ofmap"):
        if _filled(cells, kind) < 0:
            fail(f"{kind} zero entries", f"there are {_words(cells, kind)} values")
    return layer
