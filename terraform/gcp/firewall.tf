locals {
  tag = "${var.name}-anyvip"

  # The sources of Google's probes ("Health checks overview", "Firewall rules for load balancing").
  probes = {
    ipv4 = ["35.191.0.0/16", "130.211.0.0/22"]
    ipv6 = ["2600:2d00:1:b029::/64"]
  }
  # Probes of an external passthrough load balancer also come from other ranges.
  external_probes = var.load_balancer.external ? ["209.85.152.0/22", "209.85.204.0/22"] : []
  with_ipv6       = anytrue([for vip in coalesce(var.vips, []) : strcontains(vip, ":")])
}

resource "google_compute_firewall" "probes" {
  for_each = local.balanced ? { for family, ranges in local.probes : family => ranges if family == "ipv4" || local.with_ipv6 } : {}

  name          = "${var.name}-probes-${each.key}"
  project       = local.project
  network       = var.network
  description   = "Google's health probes to anyvip's health endpoint"
  source_ranges = each.key == "ipv4" ? concat(each.value, local.external_probes) : each.value
  target_tags   = [local.tag]

  allow {
    protocol = "tcp"
    ports    = [tostring(var.health_port)]
  }
}

# A passthrough load balancer keeps the client's address, so the same rule serves all modes.
resource "google_compute_firewall" "clients" {
  name          = "${var.name}-clients"
  project       = local.project
  network       = var.network
  description   = "Clients of the service"
  source_ranges = var.client_cidrs
  target_tags   = [local.tag]

  dynamic "allow" {
    for_each = local.ports

    content {
      protocol = lower(allow.key)
      ports    = allow.value
    }
  }
}
