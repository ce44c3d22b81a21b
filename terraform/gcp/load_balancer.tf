locals {
  balanced = var.mode == "load_balancer"
  public   = var.mode == "static_ip" || var.load_balancer.external
  scheme   = var.load_balancer.external ? "EXTERNAL" : "INTERNAL"

  # Ports by protocol, because a forwarding rule and a backend service have one protocol each.
  ports = { for service in var.services : upper(service.protocol) => tostring(service.port)... }

  # Failover that drops traffic when no node is healthy needs one primary and the other nodes as its backup.
  by_priority = [for entry in sort([for name, node in var.nodes : format("%03d %s", 255 - node.priority, name)]) : split(" ", entry)[1]]
}

# One group per node, so that each node is a primary or a backup by itself.
resource "google_compute_instance_group" "node" {
  for_each = local.balanced ? var.nodes : {}

  name      = "${var.name}-${each.key}"
  project   = local.project
  zone      = each.value.zone
  network   = var.network
  instances = [local.instances[each.key].self_link]
}

# A probe every second. One success or two failures in a row decide. The status must be 200.
resource "google_compute_region_health_check" "this" {
  count = local.balanced ? 1 : 0

  name                = var.name
  project             = local.project
  region              = var.region
  check_interval_sec  = 1
  timeout_sec         = 1
  healthy_threshold   = 1
  unhealthy_threshold = 2

  http_health_check {
    port         = var.health_port
    request_path = "/health/${var.group}"
  }
}

resource "google_compute_region_backend_service" "this" {
  for_each = local.balanced ? local.ports : {}

  name                            = "${var.name}-${lower(each.key)}"
  project                         = local.project
  region                          = var.region
  load_balancing_scheme           = local.scheme
  protocol                        = each.key
  health_checks                   = [google_compute_region_health_check.this[0].id]
  session_affinity                = "NONE"
  connection_draining_timeout_sec = 0

  dynamic "backend" {
    for_each = google_compute_instance_group.node

    content {
      group          = backend.value.self_link
      balancing_mode = "CONNECTION"
      failover       = backend.key != local.by_priority[0]
    }
  }

  # Drops traffic when no node is healthy. Ends connections when traffic moves between primary and backup, instead of
  # draining them for ten minutes.
  failover_policy {
    drop_traffic_if_unhealthy            = true
    disable_connection_drain_on_failover = true
    failover_ratio                       = 0
  }
}

resource "google_compute_forwarding_rule" "this" {
  for_each = local.balanced ? local.ports : {}

  name                  = "${var.name}-${lower(each.key)}"
  project               = local.project
  region                = var.region
  load_balancing_scheme = local.scheme
  ip_protocol           = each.key
  ip_address            = split("/", local.vips[0])[0]
  ports                 = each.value
  backend_service       = google_compute_region_backend_service.this[each.key].id
  network               = local.public ? null : var.network
  subnetwork            = local.public ? null : var.subnetwork
  allow_global_access   = local.public ? null : var.load_balancer.global_access
  labels                = local.labels
}
