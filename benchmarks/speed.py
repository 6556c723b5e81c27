"""Speed of counting model and machine: medians, each beside a baseline of this run.

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
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from rich.table import Table

from eyeriss_sim import load_hardware, simulate
from eyeriss_sim.counts import count
from eyeriss_sim.dataflows.rs_cycles import followed
from eyeriss_sim.dataflows.rs_geometry import cut_shape
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine.layer_run import run_layer
from eyeriss_sim.machine.timing import time_layer
from eyeriss_sim.mapping_files import read_mappings
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.search import search, search_shape
from eyeriss_sim.terminal import make_console

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
STEP_INTERPRETED = """
from benchmarks.speed import SMALL, step
print(step(SMALL))
"""
MACHINE_MEMORY = """
from benchmarks.speed import conv5, peak_MB, step, time_network
step(*conv5())
time_network("vgg16")
print(peak_MB())
"""
IMPORT_MEMORY = """
from benchmarks.speed import peak_MB
print(peak_MB())
"""


TIMED = ("joules", "cycles", "edp")
LARGE = ConvLayer(name="large", M=256, C=256, H=562, W=562, R=3, S=3)


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
    followed.cache_clear()


def search_network(name, skip="hopeless"):
    """Search all layers of a network for energy; returns the mappings evaluated."""
    return search_layers(load_zoo(name).layers, "energy", skip)


def search_layers(layers, objective, skip="hopeless"):
    """Search layers, each shape once, from nothing; returns the mappings evaluated."""
    forget()
    shapes = {layer.shape: layer for layer in layers}
    return sum(search(layer, CHIP, objective, skip=skip).evaluated
               for layer in shapes.values())


def cpu_seconds(run, repeats=REPEATS):
    """Median CPU time of a call, which other processes lengthen less."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)


def measure_timed_searches():
    """Searches that know time, each over the distinct shapes, nothing remembered."""
    for what, layers, asked_ms in (
            ("resnet50", load_zoo("resnet50").layers, 50),
            ("vgg16, batch 3,", load_zoo("vgg16", 3).layers, 50),
            ("a 3x3 256-256 layer of 560 x 560", [LARGE], 20)):
        for objective in TIMED:
            search_layers(layers, objective)
            took = cpu_seconds(partial(search_layers, layers, objective))
            yield Figure(f"search of {what} for {objective}, CPU",
                         f"{1e3 * took:.1f} ms", f"< {asked_ms} ms")


def rate(layers, **options):
    """Mappings evaluated a second over some layers, each shape once."""
    shapes = {layer.shape: layer for layer in layers}.values()

    def run():
        forget()
        return sum(search(layer, CHIP, **options).evaluated for layer in shapes)
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
    evaluated, every = rate(load_zoo("resnet20_cifar").layers, skip="nothing")
    _, small = rate([SMALL], skip="nothing")
    interpreted = float(child(INTERPRETED, jit=False))
    yield Figure(f"energy of every legal mapping ({evaluated:,} of ResNet-20)",
                 f"{every / 1e6:.1f} M/s", "",
                 f"interpreted {interpreted:,.0f}/s; {small / interpreted:,.0f}x "
                 f"on the same layer")
    evaluated, cycles = rate([ConvLayer(name="conv", M=32, C=32, H=8, W=8, R=3, S=3)],
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
    skipped = seconds(lambda: search_network("resnet20_cifar", skip="nothing"), 1)
    pruned = seconds(lambda: search_network("resnet20_cifar"))
    yield Figure("search of resnet20_cifar that skips nothing", f"{skipped:.2f} s", "",
                 f"the search {1e3 * pruned:.1f} ms, {skipped / pruned:,.0f}x")

    for name in ("vgg16", "resnet50"):
        network = load_zoo(name)
        simulate(network)
        again = seconds(lambda: simulate(network), 25)
        yield Figure(f"simulate {name}, shapes searched before",
                     f"{1e3 * again:.2f} ms", "< 5 ms")


def conv5():
    """AlexNet's CONV5, one image, and its published mapping."""
    layer = load_zoo("alexnet", 1).layer("CONV5")
    return layer, replace(read_mappings("published")["CONV5"], n=1)


def step(layer, mapping=None):
    """PE-cycles a second of a layer in functional mode, on random words."""
    mapping = mapping or search(layer, CHIP).mappings[0]
    rng = np.random.default_rng(0)
    ifmap, filt = (rng.integers(-2**15, 2**15, shape).astype(np.int16) for shape in (
        (layer.N, layer.groups * layer.C, layer.H, layer.W),
        (layer.M, layer.C, layer.R, layer.S)))
    start = time.perf_counter()
    run = run_layer(layer, CHIP, mapping, ifmap, filt)
    took = time.perf_counter() - start
    # Only PEs that a full pass uses are stepped; these layers have no other passes.
    return int(run.pass_cycles.sum()) * count(layer, CHIP, mapping).active_pes / took


def time_network(name):
    """Timing mode of every layer of a network, under the mapping that is found."""
    for layer in load_zoo(name).layers:
        time_layer(layer, CHIP, search(layer, CHIP).mappings[0])


def peak_MB():
    """Peak memory of this process; getrusage's would count its parent's as well."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def measure_machine():
    """Figures of the machine, on one core."""
    step(SMALL)
    layer, mapping = conv5()
    functional = statistics.median(step(layer, mapping) for _ in range(3))
    compiled = statistics.median(step(SMALL) for _ in range(REPEATS))
    interpreted = float(child(STEP_INTERPRETED, jit=False))
    yield Figure("machine, functional mode, AlexNet CONV5",
                 f"{functional / 1e6:.1f} M PE-cycles/s", ">= 30 M",
                 f"interpreted {interpreted:,.0f}/s; {compiled / interpreted:,.0f}x "
                 f"on the same small layer")
    for name, asked in (("alexnet", "< 10 s"), ("vgg16", "< 60 s")):
        took = seconds(lambda: time_network(name), 3)
        simulate(name)
        model = seconds(lambda: simulate(name))
        yield Figure(f"machine, timing mode, all of {name}", f"{took:.1f} s", asked,
                     f"counting model {1e3 * model:.1f} ms")
    both_MB, bare_MB = (float(child(code)) for code in (MACHINE_MEMORY, IMPORT_MEMORY))
    yield Figure("peak memory of both modes (CONV5, vgg16)", f"{both_MB:.0f} MB",
                 "< 1000 MB", f"imports alone {bare_MB:.0f} MB")


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
        masked = [weight for weight in model.parameters() if weight.dim() > 1]
        for what, weights, least in (("one mask", masked[-2:-1], asked),
                                     ("all masks", masked, "")):
            times = []
            for place in range(15):
                for weight in weights:
                    weight.data.view(-1)[place] = 0
                times.append(seconds(lambda: oracle(model), 1))
            yield Figure(f"oracle call on {build.__name__} after {what} changed",
                         f"{1e3 * statistics.median(times):.2f} ms", least)
    works = list(oracle.works(oracle(model)).values())
    calls = [works[place % len(works)] for place in range(1000)]
    asked_s = seconds(lambda: [oracle.marginal(work) for work in calls])
    yield Figure("1000 marginal calls", f"{1e3 * asked_s:.1f} ms", "< 50 ms")


def main():
    """Print the table as it fills."""
    console = make_console()
    console.print(f"{platform.machine()}, Python {platform.python_version()}, "
                  f"one core; medians")
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "measured", "asked", "baseline"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for figure in chain(measure(), measure_timed_searches(), measure_machine(),
                        measure_zeros()):
        console.print(f"  {figure.what}: {figure.value}", style="dim")
        table.add_row(figure.what, figure.value, figure.asked, figure.baseline)
    console.print(table)


if __name__ == "__main__":
    main()
