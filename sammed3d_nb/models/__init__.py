"""A network on a device: which file is it, where does it come from, how does it fit the machine."""
