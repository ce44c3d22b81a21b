"""The kernel: netlink, nftables, and the guard."""
