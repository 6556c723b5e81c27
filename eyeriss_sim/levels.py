"""Levels, kinds and directions of accesses: their places in arrays, names and colours.

Arrays of accesses have the axes [level, kind, direction]; arrays of energies
[level, kind]. The kernels, which read no global of another file, have the same numbers,
held equal by a test.
"""

from eyeriss_sim.figure_style import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, YELLOW

RF, NOC, GLB, DRAM = range(4)
IFMAP, FILTER, PSUM = range(3)
READ, WRITE, FILL, DRAIN, HOP = range(5)

# The words that stand in names of columns and prices.
LEVELS = ("rf", "noc", "glb", "dram")
KINDS = ("ifmap", "filter", "psum")
DIRECTIONS = ("read", "write", "fill", "drain", "hop")
ACCESSES_SHAPE = (len(LEVELS), len(KINDS), len(DIRECTIONS))
# What has a price: a MAC, and an access of each level.
COST_LEVELS = ("alu", *LEVELS)
# What a joule is spent on; ``{part}_uJ`` of all of them add up to ``total_uJ``.
JOULE_PARTS = (*COST_LEVELS, "clock", "leakage")

# What readers see.
LEVEL_NAMES = {"alu": "ALU", "rf": "RF", "noc": "NoC", "glb": "GLB", "dram": "DRAM"}
PART_NAMES = {**LEVEL_NAMES, "clock": "clock", "leakage": "leakage"}
CLOCK_AND_LEAKAGE = "clock and leakage"
KIND_NAMES = {"alu": "MAC", "ifmap": "ifmap", "filter": "filter", "psum": "psum"}

LEVEL_COLOURS = {"alu": GREY, "rf": SKY, "noc": GREEN, "glb": ORANGE, "dram": RED}
PART_COLOURS = {**{LEVEL_NAMES[level]: colour
                   for level, colour in LEVEL_COLOURS.items()},
                "clock": YELLOW, "leakage": BLUE, CLOCK_AND_LEAKAGE: YELLOW}
KIND_COLOURS = {"alu": GREY, "ifmap": BLUE, "filter": ORANGE, "psum": PINK}
