"""The failover controller: the lease, the election, and the daemon that carries out its decisions."""
