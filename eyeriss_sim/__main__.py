"""``python -m eyeriss_sim`` is ``eyeriss-sim``."""

from eyeriss_sim.cli import main

main()
