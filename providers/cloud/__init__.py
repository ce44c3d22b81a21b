"""What providers of clouds share, and the kit for writing one."""
