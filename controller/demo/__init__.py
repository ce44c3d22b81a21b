"""`anyvip demo`: two daemons, a client and a load balancer in network namespaces, and faults that hit them."""

from controller.demo.story import run

__all__ = ["run"]
