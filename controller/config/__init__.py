"""The configuration file: what is allowed in it, and what is wrong with one."""
