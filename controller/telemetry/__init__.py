"""What is told of a daemon: log lines, metrics, history."""
