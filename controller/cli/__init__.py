"""The command line, `anyvip`: parses it, runs the command, prints the result."""
