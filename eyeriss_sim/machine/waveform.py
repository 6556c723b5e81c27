"""The recorded passes as a waveform: a VCD file that GTKWave and its like open."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from vcd import VCDWriter
from vcd.common import VarType

from eyeriss_sim.atomic import replacing
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.labels import printable
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array
from eyeriss_sim.machine.timing import CAUSES
from eyeriss_sim.machine.trace import PassTrace

# Network: its scope, the words that it carries in a cycle, and what its place is.
NETWORKS = {
    array.IFMAP_NET: ("ifmap", array.NET_I, "ifmap_row"),
    array.FILTER_NET: ("filter", array.NET_F, "pe_row"),
    array.PSUM_IN_NET: ("psum_in", array.NET_P_IN, "column"),
    array.PSUM_OUT_NET: ("psum_out", array.NET_P_OUT, "column")}
FIFOS = {
    "ifmap_fifo": (array.IN_IFMAP_FIFO, array.IFMAP_FIFO),
    "filter_fifo": (array.IN_FILTER_FIFO, array.FILTER_FIFO),
    "psum_in_fifo": (array.IN_PSUM_IN_FIFO, array.PSUM_IN_FIFO),
    "psum_out_fifo": (array.IN_PSUM_OUT_FIFO, array.PSUM_OUT_FIFO)}
CYCLES_AT_ONCE = 2048
COMMENT = """Each value holds for the cycle that begins at its time: what a PE does in
it, the words in its FIFOs when it ends, the psum that its datapath made last. A network
is valid when it has words to carry, blocked when it could not. Row 0 is the bottom one;
rows and columns are those of the mapping, before the array folds them."""


def write_vcd(path: str | Path, passes: Sequence[PassTrace], layer: ConvLayer,
              hardware: Hardware, progress: Callable | None = None) -> None:
    """Write recorded passes, one after the other, as a Value Change Dump.

    Parameters
    ----------
    path : str or Path
        An old file is replaced whole.
    passes : list of PassTrace
    layer : ConvLayer
    hardware : Hardware
    progress : callable, optional
        Called with cycles done and cycles in all.
    """
    # Even, so that the clock's edges are whole picoseconds.
    half_ps = max(1, round(5e5 / hardware.clock_MHz))
    with replacing(path) as fresh, fresh.open("w", encoding="ascii") as file:
        writer = VCDWriter(
            file, timescale="1 ps", date="", comment=COMMENT,
            version=printable(f"eyeriss-sim: {layer.name} on {hardware.name}", "ascii"))
        machine = Signals(writer, passes)
        total = sum(len(one.pes) for one in passes)
        done = 0
        for number, one in enumerate(passes):
            writer.change(machine.number, 2 * half_ps * done, number)
            for start in range(0, len(one.pes), CYCLES_AT_ONCE):
                part = slice(start, start + CYCLES_AT_ONCE)
                machine.write(one.pes[part], one.networks[part], half_ps, done)
                done += len(one.pes[part])
                if progress is not None:
                    progress(done, total)
        writer.close(2 * half_ps * total)


class Signals:
    """The variables of the machine, in the order of the columns of their values."""

    def __init__(self, writer: VCDWriter, passes: Sequence[PassTrace]):
        self.writer = writer
        self.rows = max(one.pes.shape[1] for one in passes)
        self.columns = max(one.pes.shape[2] for one in passes)
        self.micro = passes[0].micro
        self.clock = writer.register_var("machine", "clk", VarType.wire, 1, init=0)
        self.number = writer.register_var("machine", "pass", VarType.wire, 16, init=0)
        self.networks = self._register_networks()
        self.pes = self._register_pes()

    def write(self, pes: np.ndarray, networks: np.ndarray, half_ps: int,
              first_cycle: int) -> None:
        """Write the changes of some cycles."""
        values, made = self._pe_values(pes)
        values = np.concatenate([self._network_values(networks), values], axis=1)
        # Pyvcd leaves out what is as before; this leaves out most of it faster.
        changed = np.ones(values.shape, bool)
        changed[1:] = values[1:] != values[:-1]
        pes = changed[:, len(self.networks):]
        pes[1:] |= made[1:] & ~made[:-1]    # a psum made of 0 equals none made
        pes &= made
        cycles, columns = np.nonzero(changed)
        ends = np.searchsorted(cycles, np.arange(len(values)), side="right").tolist()
        found = values[cycles, columns].tolist()
        places = columns.tolist()
        variables = [*self.networks, *self.pes]
        change, clock = self.writer.change, self.clock
        texts = {variable for variable in self.pes if variable.type == VarType.string}
        at = 0
        for cycle, end in enumerate(ends, first_cycle):
            now_ps = 2 * half_ps * cycle
            change(clock, now_ps, 1)
            for place, value in zip(places[at:end], found[at:end], strict=True):
                variable = variables[place]
                change(variable, now_ps,
                       CAUSES[value] if variable in texts else value)
            at = end
            change(clock, now_ps + half_ps, 0)

    def _register_networks(self):
        wires = []

        def wire(scope, name, bits):
            wires.append(self.writer.register_var(
                ("machine", "networks", scope), name, VarType.wire, bits, init=0))

        for scope, lanes, place in NETWORKS.values():
            wire(scope, "valid", 1)
            wire(scope, "blocked", 1)
            wire(scope, "words", 16)
            wire(scope, place, 16)
            for lane in range(int(self.micro[lanes])):
                wire(scope, f"data{lane}", 16)
        wire("local", "links_waiting", 16)
        wire("local", "links_used", 16)
        wire("local", "words", 32)
        return wires

    def _network_values(self, networks):
        columns = []
        for network, (_, lanes, _) in NETWORKS.items():
            one = networks[:, network]
            offered, carried = one[:, array.OFFERED], one[:, array.CARRIED]
            columns += [offered, offered - carried, one[:, array.WORDS],
                        one[:, array.PLACE]]
            columns += [one[:, array.DATA + lane] & 0xFFFF
                        for lane in range(int(self.micro[lanes]))]
        local = networks[:, array.LOCAL_NET]
        columns += [local[:, axis] for axis in (array.OFFERED, array.CARRIED,
                                                array.WORDS)]
        return np.stack(columns, axis=1)

    def _register_pes(self):
        variables = []
        for row in range(self.rows):
            for column in range(self.columns):
                scope = ("machine", "array", f"row{row:02}", f"col{column:02}")
                variables.append(self.writer.register_var(
                    scope, "activity", VarType.string, init=CAUSES[array.FINISHED]))
                for name, (_, depth) in FIFOS.items():
                    variables.append(self.writer.register_var(
                        scope, name, VarType.wire,
                        int(self.micro[depth]).bit_length(), init=0))
                variables.append(self.writer.register_var(
                    scope, "psum", VarType.wire, 16, init=0))
        return variables

    def _pe_values(self, pes):
        """Values of all PEs, and where they are new; idle PEs fill up the grid."""
        cycles, rows, columns, _ = pes.shape
        axes = [array.DOING, *(axis for axis, _ in FIFOS.values()), array.PSUM_VALUE]
        values = np.zeros((cycles, self.rows, self.columns, len(axes)), np.int32)
        values[..., 0] = array.FINISHED
        values[:, :rows, :columns] = pes[..., axes]
        values[..., -1] &= 0xFFFF
        made = np.ones(values.shape, bool)
        made[..., -1] = ((values[..., 0] == array.MAC_CYCLE)
                         | (values[..., 0] == array.ACCUMULATING))
        return values.reshape(cycles, -1), made.reshape(cycles, -1)
