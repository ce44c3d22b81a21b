"""The code that cloud providers share, and the kit for writing one."""
