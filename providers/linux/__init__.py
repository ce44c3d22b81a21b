"""The kernel's side of a VIP: netlink, nftables, and the guard."""
