"""What a daemon reports about itself: log lines, metrics, history."""
