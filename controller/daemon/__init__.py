"""The daemon: the loop around the core, and the effects that it carries out."""
