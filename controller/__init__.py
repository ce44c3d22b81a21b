"""Who is active: the lease, the election, and the daemon that carries its decisions out."""
