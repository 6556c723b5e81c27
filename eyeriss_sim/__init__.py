"""A cycle- and energy-accurate model of the Eyeriss CNN accelerator."""
