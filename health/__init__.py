"""Checks whether this node is fit to serve, and the endpoint that answers load balancers."""
