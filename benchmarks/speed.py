"""Speed of the counting model: medians of repeats, each beside a baseline of this run.

    python -m benchmarks.speed

The baseline of the search is the same search that skips less, and that of the compiled
kernels the same Python source run by the interpreter (on a layer small enough for it).
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import chain

import numpy as np

from rich.console import Console
from rich.table import Table

from eyeriss_sim import load_hardware, simulate
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.mapping import cut_shape, shape_key
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.search import search, search_shape

REPEATS = 7
CHIP = load_hardware("eyeriss_chip")
SMALL = ConvLayer(name="small", M=8, C=4, H=8, W=8, R=3, S=3)
INTERPRETED = """
import time
from benchmarks.speed import CHIP, SMALL, search
start = time.perf_counter()
found = search(SMALL, CHIP, skip="nothing")
print(found.evaluated / (time.perf_counter() - start))
"""


@dataclass(frozen=True)
class Figure:
    """One figure: what, its value and unit, what is asked of it, and the baseline."""

    what: str
    value: str
    asked: str = ""
    baseline: str = ""


def seconds(run, repeats=REPEATS):
    """Median wall time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def forget():
    """Empty the caches of shapes, so that every search is a new one."""
    search_shape.cache_clear()
    cut_shape.cache_clear()


def search_network(name, objective="energy", skip="hopeless"):
    """Search all layers of a network from nothing; returns the mappings evaluated."""
    forget()
    layers = {shape_key(layer): layer for layer in load_zoo(name).layers}
    return sum(search(layer, CHIP, objective, skip=skip).evaluated
               for layer in layers.values())


def rate(layers, **options):
    """Mappings evaluated a second over some layers."""
    def run():
        forget()
        return sum(search(layer, CHIP, **options).evaluated for layer in layers)
    evaluated = run()
    return evaluated, evaluated / seconds(run, 3)


def child(code, jit=True):
    """Run Python code in a new process; returns its output."""
    environment = dict(os.environ, NUMBA_DISABLE_JIT="0" if jit else "1")
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True,
                          capture_output=True, text=True).stdout


def whole_process():
    """Median seconds and peak MB of ``eyeriss-sim simulate alexnet``."""
    command = [sys.executable, "-m", "eyeriss_sim.cli", "simulate", "alexnet"]
    with tempfile.TemporaryFile() as sink:
        def run():
            subprocess.run(command, check=True, stdout=sink, stderr=sink)
        run()
        median = seconds(run, 5)
    peak_MB = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return median, peak_MB


def measure():
    """All figures, in the order of the table; yields each as it is known."""
    # First, while this process has no other child that could be the largest.
    median, peak_MB = whole_process()
    yield Figure("eyeriss-sim simulate alexnet, whole process", f"{median:.2f} s",
                 "< 3 s")
    yield Figure("its peak memory", f"{peak_MB:.0f} MB", "< 600 MB")

    search(SMALL, CHIP, skip="nothing")
    vgg = [layer for layer in load_zoo("vgg16").layers if layer.name in (
        "CONV2-1", "CONV3-2", "CONV4-1", "CONV5-1")]
    evaluated, every = rate(vgg, skip="nothing")
    _, small = rate([SMALL], skip="nothing")
    interpreted = float(child(INTERPRETED, jit=False))
    yield Figure(f"energy of every legal mapping ({evaluated:,} of 4 VGG-16 layers)",
                 f"{every / 1e6:.1f} M/s", "",
                 f"interpreted {interpreted:,.0f}/s; {small / interpreted:,.0f}x "
                 f"on the same layer")
    evaluated, cycles = rate([ConvLayer(name="conv", M=32, C=32, H=16, W=16, R=3, S=3)],
                             skip="nothing", objective="cycles")
    yield Figure(f"cycles of every legal mapping ({evaluated:,})",
                 f"{cycles / 1e6:.1f} M/s")

    for name, asked in (("vgg16", "< 300 ms"), ("resnet50", "< 500 ms")):
        evaluated = search_network(name)
        warm = seconds(lambda: search_network(name))
        yield Figure(f"search of {name} ({evaluated:,} mappings evaluated)",
                     f"{1e3 * warm:.1f} ms", asked)
        # Dominated mappings, such as a smaller m, are not among these.
        evaluated = search_network(name, skip="dominated")
        whole = seconds(lambda: search_network(name, skip="dominated"), 3)
        yield Figure(f"energy of all that is not dominated ({evaluated:,})",
                     f"{evaluated / whole / 1e6:.0f} M/s", ">= 20 M/s",
                     f"{1e3 * whole:.0f} ms; skipping the hopeless too, "
                     f"{whole / warm:.0f}x faster")
    warm = seconds(lambda: search_network("resnet50", "cycles"), 3)
    yield Figure("search of resnet50 for cycles", f"{1e3 * warm:.0f} ms")
    skipped = seconds(lambda: search_network("resnet18", skip="nothing"), 1)
    pruned = seconds(lambda: search_network("resnet18"))
    yield Figure("search of resnet18 that skips nothing", f"{skipped:.2f} s", "",
                 f"the search {1e3 * pruned:.1f} ms, {skipped / pruned:,.0f}x")

    for name in ("vgg16", "resnet50"):
        network = load_zoo(name)
        simulate(network)
        again = seconds(lambda: simulate(network), 25)
        yield Figure(f"simulate {name}, shapes searched before",
                     f"{1e3 * again:.2f} ms", "< 5 ms")


def measure_zeros():
    """Figures of exact zeros and of the oracle; torch on one thread as our loops."""
    import torch

    from benchmarks import resnets
    from eyeriss_sim.codes import rlc_encode
    from eyeriss_sim.oracle import EnergyOracle
    torch.set_num_threads(1)
    torch.manual_seed(0)

    rng = np.random.default_rng(0)
    values = rng.integers(1, 2**15, 4_000_000).astype(np.int16)
    for density in (0.1, 0.4, 1.0):
        stream = values * (rng.random(values.size) < density)
        rlc_encode(stream[:100])
        rate_MB = stream.nbytes / seconds(lambda: rlc_encode(stream)) / 1e6
        yield Figure(f"run-length encoding at density {density}", f"{rate_MB:.0f} MB/s",
                     ">= 300 MB/s")

    oracle = EnergyOracle("eap_tool")
    model = resnets.resnet18().eval()
    image = torch.randn(1, 3, 224, 224)
    oracle(model, image)
    whole = seconds(lambda: oracle(model, image), 5)
    with torch.no_grad():
        forward = seconds(lambda: model(image), 5)
    yield Figure("exact zeros of resnet18, 224x224, one image",
                 f"{1e3 * (whole - forward):.0f} ms", "< 1 s",
                 f"torch's own forward {1e3 * forward:.0f} ms")

    for build, size, asked in ((resnets.resnet20, 32, "< 2 ms"),
                               (resnets.resnet50, 224, "< 20 ms")):
        model = build().eval()
        oracle(model, torch.randn(1, 3, size, size))
        masked = model.layer3[1].conv2.weight
        times = []
        for place in range(15):
            masked.data.view(-1)[place] = 0
            times.append(seconds(lambda: oracle(model), 1))
        yield Figure(f"oracle call on {build.__name__} after a mask changed",
                     f"{1e3 * statistics.median(times):.2f} ms", asked)
    works = list(oracle.works(oracle(model)).values())
    calls = [works[place % len(works)] for place in range(1000)]
    asked_s = seconds(lambda: [oracle.marginal(work) for work in calls])
    yield Figure("1000 marginal calls", f"{1e3 * asked_s:.1f} ms", "< 50 ms")


def main():
    """Print the table as it fills."""
    console = Console(width=100)
    console.print(f"{platform.machine()}, Python {platform.python_version()}, "
                  f"one core; medians")
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "measured", "asked", "baseline"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for figure in chain(measure(), measure_zeros()):
        console.print(f"  {figure.what}: {figure.value}", style="dim")
        table.add_row(figure.what, figure.value, figure.asked, figure.baseline)
    console.print(table)


if __name__ == "__main__":
    main()
