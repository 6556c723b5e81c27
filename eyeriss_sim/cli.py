"""Command line: with the files of other commands all that parses, prints or exits."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from eyeriss_sim.hardware import Hardware, load_hardware, preset_names
from eyeriss_sim.hardware_command import add_hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.lookup.command import add_table
from eyeriss_sim.networks import zoo_names
from eyeriss_sim.search import OBJECTIVES, search
from eyeriss_sim.sweep.commands import add_heatmap, add_pareto, add_sweep
from eyeriss_sim.terminal import (
    OneLineParser,
    add_plugin_option,
    announced_compilation,
    announced_run,
    make_console,
    network_input,
    network_inputs,
    progress,
    run_command,
    whole_number,
    zeros_known,
)
from eyeriss_sim.version import VERSION
from eyeriss_sim.zero_handling import ZERO_HANDLINGS

if TYPE_CHECKING:
    from rich.console import Console

    from eyeriss_sim.layer import Network
    from eyeriss_sim.machine.functional import ModelOfRun
    from eyeriss_sim.machine.layer_run import LayerRun
    from eyeriss_sim.machine.trace import PassTrace
    from eyeriss_sim.mapping import Mapping
    from eyeriss_sim.result import SimulationResult

MOST_RUNNERS_UP = 1000


def add_run_options(cmd: argparse.ArgumentParser) -> None:
    """Add the options of every command that runs a network."""
    cmd.add_argument(
        "network", help="a network of the zoo, or net.csv, net.onnx, net.py:factory, "
                        "net.txt of the energy-aware-pruning tool")
    cmd.add_argument("--hardware", default="eyeriss_chip", metavar="H",
                     help="a preset or a .toml file (default: eyeriss_chip)")
    cmd.add_argument("--batch", type=whole_number, metavar="N", help="images")
    cmd.add_argument("--input", type=network_input, action="append", metavar="N,C,H,W",
                     help="input shape of a torch module; once for each input, by name "
                          "and with a dtype as in tokens=1,77:int64")
    cmd.add_argument("--proposals", type=whole_number, metavar="K",
                     help="rows an image that go on wherever values decide, as in a "
                          "detector (a torch module)")
    cmd.add_argument("--bits", metavar="B|ifmap=B,...",
                     help="widths of the operands: 8, or ifmap=8,filter=4,ofmap=8 "
                          "(default: 16)")
    cmd.add_argument("--mapping", default="search", metavar="MAP",
                     help="search, published, published-table3, inferred-table6 "
                          "(VGG-16), or a .csv file")
    add_plugin_option(cmd)


def add_simulation_options(cmd: argparse.ArgumentParser) -> None:
    """Add the options that simulate and explain have in common."""
    add_run_options(cmd)
    cmd.add_argument("--objective", choices=OBJECTIVES,
                     help="what the search minimises (default: the hardware's own)")
    cmd.add_argument("--price-by-size", action="store_true",
                     help="let a word of a larger memory than the preset's cost more")
    # Not among choices, which would be looked at before plugins are run.
    cmd.add_argument("--zeros", metavar="HANDLING",
                     help=f"what zeros save: {', '.join(ZERO_HANDLINGS)}, or one of a "
                          "plugin (default: the hardware's own)")
    cmd.add_argument("--densities", metavar="FILE.csv",
                     help="columns layer, ifmap, filter, ofmap")
    cmd.add_argument("--images", metavar="FILE.npz|FOLDER",
                     help="run a torch module on them and count real zeros")
    cmd.add_argument("--weights", metavar="FILE.safetensors",
                     help="weights of the torch module, with --images")


def add_simulate(commands: argparse._SubParsersAction) -> None:
    """``simulate NETWORK``: cycles and energy of each layer."""
    cmd = commands.add_parser(
        "simulate", help="what each layer of a network costs",
        epilog=f"zoo: {', '.join(zoo_names())}; presets: {', '.join(preset_names())}")
    add_simulation_options(cmd)
    cmd.add_argument("--out", metavar="FILE", action="append", default=[],
                     help="also write the table: .csv, .json, .parquet or .html")
    cmd.set_defaults(action=run_simulate)


def run_simulate(args: argparse.Namespace) -> None:
    from eyeriss_sim.report import print_report
    from eyeriss_sim.result_files import check_output_path, write_table
    for path in args.out:
        check_output_path(path)
        check_no_input(path, args)
    result = run_simulation(args)
    for path in args.out:
        write_table(result, path)
    console = make_console()
    print_report(result, console)
    say_zeros(args, result, console)


def say_zeros(args: argparse.Namespace, result: "SimulationResult",
              console: "Console") -> None:
    """One line if zeros were asked to save something, and nothing says what is zero."""
    handling = result.hardware.zero_handling
    if args.zeros is None or not (handling.skips or handling.coded):
        return
    known = [layer.densities for layer in result.by_layer]
    fmaps = any((one.ifmap, one.ofmap) != (1, 1) for one in known)
    weights = any(one.filter != 1 for one in known)
    if fmaps or args.images or args.densities:
        return
    console.print(f"--zeros {args.zeros}: {zeros_known(weights)}; give --densities, or "
                  "--images with a torch module", soft_wrap=True)


def check_no_input(path: str, args: argparse.Namespace, option: str = "--out") -> None:
    """Refuse to write over a file that the command reads."""
    for given in (args.network, args.hardware, args.mapping,
                  getattr(args, "densities", None)):
        if given and os.path.exists(path) and os.path.exists(given) and (
                os.path.samefile(path, given)):
            raise ValueError(f"{option} {path} would replace the input {given}; name "
                             "another file")


def add_explain(commands: argparse._SubParsersAction) -> None:
    """``explain NETWORK LAYER``: why a layer costs what it costs."""
    cmd = commands.add_parser(
        "explain", help="why one layer costs what it costs")
    add_simulation_options(cmd)
    cmd.add_argument("layer", help="as simulate names it: CONV3")
    cmd.add_argument("--runners-up", type=whole_number, default=5, metavar="K",
                     help="mappings to show beside the chosen one, at most "
                          f"{MOST_RUNNERS_UP} (default: 5)")
    cmd.set_defaults(action=run_explain)


def run_explain(args: argparse.Namespace) -> None:
    if args.runners_up > MOST_RUNNERS_UP:
        raise ValueError(f"--runners-up {args.runners_up}: at most {MOST_RUNNERS_UP}, "
                         "because a search that keeps more takes minutes")
    from eyeriss_sim.explain import explain
    result = run_simulation(args)
    console = make_console()
    console.print(explain(result, args.layer, args.objective, args.runners_up))
    say_zeros(args, result, console)


def add_machine(commands: argparse._SubParsersAction) -> None:
    """``machine NETWORK LAYER``: the chip itself, stepped cycle by cycle."""
    cmd = commands.add_parser(
        "machine", help="step one layer on the chip, beside the counting model")
    add_run_options(cmd)
    cmd.add_argument("layer", help="as simulate names it: CONV3")
    cmd.add_argument("--mode", choices=("timing", "functional"), default="timing",
                     help="step each kind of pass once, or every pass on random words")
    cmd.add_argument("--passes", type=whole_number, metavar="K",
                     help="step only the first K kinds of pass (timing)")
    cmd.add_argument("--out", metavar="FILE.json",
                     help="also write cycles and accesses here")
    cmd.add_argument("--timeline", metavar="FILE.png",
                     help="draw what PE columns, networks and FIFOs do over time; "
                          "also .svg, .pdf")
    cmd.add_argument("--vcd", metavar="FILE.vcd",
                     help="write a waveform of all PEs and networks, for GTKWave "
                          "(some 20 bytes a PE and cycle)")
    cmd.add_argument("--trace-passes", type=whole_number, metavar="K",
                     help="passes of the layer in --timeline and --vcd, from its "
                          "first on (default: 1)")
    cmd.set_defaults(action=run_machine)


def run_machine(args: argparse.Namespace) -> None:
    from eyeriss_sim.machine.layer_run import check_zeros
    from eyeriss_sim.machine.micro import check_machine
    hardware = load_hardware(args.hardware)
    check_machine(hardware)
    check_zeros(hardware)
    check_machine_outputs(args)
    network, whole, layer, hardware, mapping = machine_input(args, hardware)
    console = make_console()
    console.print(f"{layer.name} of {network.name} on {hardware.name}, N={layer.N}, "
                  f"mapping {mapping}", highlight=False, markup=False)
    if whole.steps > 1:
        console.print(f"one of its {whole.steps} steps, which are alike",
                      highlight=False)
    traces = step_machine(args, layer, hardware, mapping, console,
                          first_layer=layer.name == network.layers[0].name)
    if args.timeline:
        from eyeriss_sim.machine.timeline import draw_timeline
        from eyeriss_sim.plots import save_figure
        save_figure(draw_timeline(traces, layer, hardware, mapping), args.timeline)
    if args.vcd:
        from eyeriss_sim.machine.waveform import write_vcd
        with progress("cycles of the waveform") as show:
            write_vcd(args.vcd, traces, layer, hardware, show)
    written = [path for path in (args.out, args.timeline, args.vcd) if path]
    if written:
        console.print(f"written: {', '.join(written)}", highlight=False, markup=False,
                      soft_wrap=True)


def machine_input(args: argparse.Namespace,
                  hardware: Hardware,
                  ) -> 'tuple[Network, ConvLayer, ConvLayer, Hardware, Mapping]':
    """Network; layer with all its steps, and one as it lies on the chip; hardware at
    the layer's widths; mapping.
    """
    from eyeriss_sim.importers import as_workload
    from eyeriss_sim.mapping import check_mapping
    from eyeriss_sim.mapping_files import chosen_mappings
    from eyeriss_sim.product_maps import laid
    from eyeriss_sim.simulate import bits_of, check_names, clip_to_batch
    from eyeriss_sim.widths import as_bits, at_widths
    with announced_run(args.network):
        workload = as_workload(args.network, args.batch, network_inputs(args.input),
                               args.proposals, weights=False)
    network = workload.network
    whole = network.layer(args.layer)
    layer = whole.one_step
    bits = workload.bits if args.bits is None else as_bits(args.bits)
    hardware = at_widths(hardware, bits_of(layer, bits), layer.name)
    mappings, source = chosen_mappings(args.mapping, hardware)
    if layer.name not in mappings:
        # Perhaps a slip of the pen; a file that names this layer may name others too.
        check_names(network, mappings, source, "mapping")
    with announced_compilation():
        warm_up()
        warm_up_machine(bool(args.timeline or args.vcd))
        mapping = mappings.get(layer.name)
        mapping = clip_to_batch(mapping, layer) if mapping else (
            search(layer, hardware).mappings[0])
        check_mapping(layer, hardware, mapping)
        layer = laid(layer, mapping)
    return network, whole, layer, hardware, mapping


def step_machine(args: argparse.Namespace, layer: ConvLayer, hardware: Hardware,
                 mapping: "Mapping", console: "Console",
                 first_layer: bool) -> 'list[PassTrace]':
    """Step a layer as the options say, print and write what it took; passes traced."""
    from eyeriss_sim.counts import count
    from eyeriss_sim.cycles import count_cycles
    from eyeriss_sim.machine import report
    from eyeriss_sim.machine.timing import time_layer
    from eyeriss_sim.machine.trace import cut_short, record_passes
    from eyeriss_sim.zeros import NO_SAVINGS
    counts = count(layer, hardware, mapping)
    cycles = count_cycles(layer, hardware, mapping, counts, NO_SAVINGS)
    with progress("kinds of pass") as show:
        timing = time_layer(layer, hardware, mapping, args.passes, progress=show)
    console.print(report.pass_table(timing))
    run, model_of_run = None, None
    traces: list[PassTrace] = []
    traced = args.timeline or args.vcd
    if args.mode == "functional":
        run, model_of_run, traces = run_every_pass(
            args, layer, hardware, mapping, counts.passes, first_layer)
        console.print(report.access_table(run.accesses, model_of_run.accesses))
        console.print(report.run_table(run, model_of_run))
        console.print(report.cycle_lines(timing, model_of_run.cycles, hardware, run),
                      highlight=False)
    else:
        if timing.complete:
            console.print(report.access_table(timing.accesses, counts.accesses))
        console.print(report.cycle_lines(timing, cycles, hardware), highlight=False)
        if traced:
            traces = record_passes(layer, hardware, mapping, args.trace_passes or 1)
    if args.out:
        report.write_json(args.out, layer, hardware, mapping, timing, (counts, cycles),
                          run, model_of_run)
    if traced:
        less = cut_short(traces, min(args.trace_passes or 1, counts.passes))
        if less:
            console.print(less, highlight=False)
    return traces


def check_machine_outputs(args: argparse.Namespace) -> None:
    """Refuse what the machine's options don't allow, before any work is done."""
    from eyeriss_sim.result_files import check_output_path
    if args.mode == "functional" and args.passes:
        raise ValueError("--passes goes with --mode timing; functional mode steps "
                         "every pass")
    if args.trace_passes and not (args.timeline or args.vcd):
        raise ValueError("--trace-passes goes with --timeline or --vcd")
    for option, path, formats in (
            ("--out", args.out, (".json",)),
            ("--timeline", args.timeline, (".png", ".svg", ".pdf")),
            ("--vcd", args.vcd, (".vcd",))):
        if path:
            check_output_path(path, formats)
            check_no_input(path, args, option)


def run_every_pass(args: argparse.Namespace, layer: ConvLayer, hardware: Hardware,
                   mapping: "Mapping", passes: int,
                   first_layer: bool) -> 'tuple[LayerRun, ModelOfRun, list[PassTrace]]':
    """Functional mode: LayerRun, the counting model's of it, and passes recorded."""
    from eyeriss_sim.machine.functional import run_on_random_words
    from eyeriss_sim.machine.trace import PassRecorder
    recorder = None
    if args.timeline or args.vcd:
        recorder = PassRecorder(layer, hardware, mapping, args.trace_passes or 1)
    with progress("passes") as show:
        run, model = run_on_random_words(
            layer, hardware, mapping, first_layer, on_run=recorder,
            progress=lambda done: show(done, passes))
    return run, model, recorder.passes if recorder else []


def add_validate(commands: argparse._SubParsersAction) -> None:
    """``validate``: the model beside silicon and paper."""
    cmd = commands.add_parser(
        "validate", help="the model beside the chip's and the paper's figures")
    cmd.add_argument("--out", default="out", metavar="DIR",
                     help="folder for validate.csv and validate.png (default: out)")
    cmd.set_defaults(action=run_validate)


def run_validate(args: argparse.Namespace) -> None:
    from eyeriss_sim.atomic import only_writer
    from eyeriss_sim.validation.report import validate
    with only_writer(args.out, "_validate.lock"):
        with announced_compilation():
            warm_up()
            warm_up_machine(traced=False)
        differs = validate(args.out, make_console())
    if differs:
        sys.exit(1)


def run_simulation(args: argparse.Namespace) -> "SimulationResult":
    """The SimulationResult that the common options ask for."""
    from eyeriss_sim.importers import as_workload
    from eyeriss_sim.simulate import simulate
    # A wrong name is told before anything is compiled.
    hardware = load_hardware(args.hardware)
    if args.zeros is not None:
        hardware.with_zeros(args.zeros)
    with announced_compilation():
        warm_up()
    if args.images:
        return run_on_images(args)
    if args.weights:
        raise ValueError("--weights are looked at together with the activations that "
                         "they make; give --images too")
    network, inputs = args.network, network_inputs(args.input)
    proposals = args.proposals
    if ".py:" in network:
        with announced_run(network):
            network = as_workload(network, args.batch, inputs, proposals)
            inputs = proposals = None
    onnx = args.network.lower().endswith(".onnx")
    with announced_run(network) if onnx else nullcontext():
        return simulate(
            network, args.hardware, args.batch, mapping=args.mapping,
            objective=args.objective, zeros=args.zeros, densities=args.densities,
            bits=args.bits, price_by_size=args.price_by_size, input_shape=inputs,
            proposals=proposals)


def run_on_images(args: argparse.Namespace) -> "SimulationResult":
    """Real zeros: a torch module, its weights, and images that it is run on."""
    from eyeriss_sim.oracle import EnergyOracle
    if ".py:" not in args.network:
        raise ValueError(f"{args.network}: --images need a torch module that can be "
                         f"run on them, net.py:factory")
    for option, cure in (("densities", "zeros are counted on --images"),
                         ("input", "--images have a shape of their own"),
                         ("proposals", "values decide as the images make them")):
        if getattr(args, option):
            raise ValueError(f"--{option} can't go with --images: {cure}")
    from eyeriss_sim.importers.tensors import load_images, load_weights
    from eyeriss_sim.importers.torch_module import load_module
    images = load_images(args.images)
    model = load_module(args.network, meta=False)
    if args.weights:
        load_weights(model, args.weights)
    hardware = load_hardware(args.hardware)
    if args.price_by_size:
        hardware = replace(hardware, price_by_size=True)
    oracle = EnergyOracle(
        hardware, args.zeros, args.batch or len(images), objective=args.objective,
        mapping=args.mapping, bits=args.bits)
    with progress("images") as show:
        return oracle(model, images, name=args.network.rpartition(":")[2],
                      progress=show)


def warm_up() -> None:
    """Load or compile the kernels by running them on the smallest layer there is."""
    from eyeriss_sim.simulate import simulate_layer
    from eyeriss_sim.zeros import Densities
    layer = ConvLayer(name="warm-up", M=1, C=1, H=1, W=1, R=1, S=1)
    for preset in ("eyeriss_chip", "isca16_256"):
        hardware = load_hardware(preset)
        mapping = search(layer, hardware).mappings[0]
        simulate_layer(layer, hardware, mapping, "search", Densities(), True)


def warm_up_machine(traced: bool) -> None:
    """The same for the machine, with its recorder if it will be asked for."""
    from eyeriss_sim.machine.timing import time_layer
    from eyeriss_sim.machine.trace import record_passes
    layer = ConvLayer(name="warm-up", M=1, C=1, H=1, W=1, R=1, S=1)
    hardware = load_hardware("eyeriss_chip")
    mapping = search(layer, hardware).mappings[0]
    time_layer(layer, hardware, mapping)
    if traced:
        record_passes(layer, hardware, mapping, 1)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; returns nothing, exits with 2 on wrong input."""
    parser = OneLineParser(
        prog="eyeriss-sim",
        description="A cycle- and energy-accurate model of the Eyeriss accelerator.")
    parser.add_argument("--version", action="version",
                        version=f"eyeriss-sim {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in (add_simulate, add_explain, add_machine, add_validate, add_hardware,
                add_table, add_sweep, add_pareto, add_heatmap):
        add(commands)
    run_command(parser, argv)


if __name__ == "__main__":
    main()
