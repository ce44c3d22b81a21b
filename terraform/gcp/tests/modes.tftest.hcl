mock_provider "google" {
  mock_resource "google_compute_address" {
    defaults = { address = "203.0.113.7" }
  }
}

variables {
  name         = "shop"
  project      = "shop-1"
  region       = "europe-west3"
  network      = "projects/shop-1/global/networks/shop"
  subnetwork   = "projects/shop-1/regions/europe-west3/subnetworks/nodes"
  nodes        = { n1 = { zone = "europe-west3-a" }, n2 = { zone = "europe-west3-b", priority = 120 } }
  services     = { http = { port = 80 }, https = { port = 443 }, quic = { port = 443, protocol = "udp" } }
  client_cidrs = ["10.0.0.0/8"]
  wheel        = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
}

run "load_balancer" {
  variables {
    mode = "load_balancer"
  }

  assert {
    condition = (
      google_compute_region_health_check.this[0].check_interval_sec == 1
      && google_compute_region_health_check.this[0].timeout_sec == 1
      && google_compute_region_health_check.this[0].unhealthy_threshold == 2
      && google_compute_region_health_check.this[0].http_health_check[0].request_path == "/health/web"
      && google_compute_region_health_check.this[0].http_health_check[0].port == 9010
    )
    error_message = "A probe each second."
  }

  assert {
    condition = alltrue([for service in google_compute_region_backend_service.this : (
      service.failover_policy[0].drop_traffic_if_unhealthy
      && service.failover_policy[0].disable_connection_drain_on_failover
      && service.connection_draining_timeout_sec == 0
      && length([for backend in service.backend : backend if !backend.failover]) == 1
      && length(service.backend) == 2
    )])
    error_message = "Nobody gets traffic when nobody is healthy, and nothing is drained; that takes one primary and backups."
  }

  assert {
    condition     = one([for backend in google_compute_region_backend_service.this["TCP"].backend : backend.group if !backend.failover]) == google_compute_instance_group.node["n2"].self_link
    error_message = "The node of highest priority is the primary."
  }

  assert {
    condition     = toset(google_compute_forwarding_rule.this["TCP"].ports) == toset(["80", "443"]) && google_compute_forwarding_rule.this["UDP"].ip_address == "203.0.113.7"
    error_message = "One rule for each protocol, with one address."
  }

  assert {
    condition     = one(output.vips) == "203.0.113.7/32" && yamldecode(output.config["n1"]).groups.web.providers == [{ type = "gcp.load_balancer", health_port = 9010 }]
    error_message = "Packets keep the address as their destination, so the nodes need it."
  }

  assert {
    condition = (
      toset(keys(google_compute_firewall.probes)) == toset(["ipv4"])
      && toset(google_compute_firewall.probes["ipv4"].source_ranges) == toset(["35.191.0.0/16", "130.211.0.0/22"])
      && google_compute_firewall.clients.source_ranges == toset(["10.0.0.0/8"])
    )
    error_message = "Google's probes and the clients, and nobody else."
  }

  assert {
    condition = (
      google_storage_bucket.witness[0].public_access_prevention == "enforced"
      && !google_storage_bucket.witness[0].force_destroy
      && !google_storage_bucket.witness[0].versioning[0].enabled
      && yamldecode(output.config["n1"]).store == { type = "gcs", bucket = "shop-anyvip-shop-1" }
      && yamldecode(output.config["n1"]).lease.duration_seconds == 8
    )
    error_message = "Not public, not deleted by mistake, and a lease that a bucket can carry."
  }

  assert {
    condition     = google_compute_instance.node["n1"].metadata["user-data"] == output.user_data["n1"] && !google_compute_instance.node["n1"].can_ip_forward
    error_message = "Each node has its own user data."
  }
}

run "external_load_balancer" {
  variables {
    mode          = "load_balancer"
    load_balancer = { external = true }
  }

  assert {
    condition     = google_compute_address.this[0].address_type == "EXTERNAL" && alltrue([for rule in google_compute_forwarding_rule.this : rule.load_balancing_scheme == "EXTERNAL"])
    error_message = "A public address."
  }
}

run "alias_ip" {
  variables {
    mode = "alias_ip"
    vips = ["10.0.0.100/32"]
  }

  assert {
    condition     = yamldecode(output.config["n1"]).groups.web.providers[0].instances == ["europe-west3-a/shop-n1", "europe-west3-b/shop-n2"]
    error_message = "Every node knows which may have the VIP."
  }

  assert {
    condition     = toset(google_project_iam_custom_role.move.permissions) == toset(jsondecode(file("policies/alias_ip.json")).includedPermissions)
    error_message = "The role is the one that the provider is tested with."
  }
}

run "route" {
  variables {
    mode      = "route"
    vips      = ["198.51.100.20/32"]
    instances = { n1 = { name = "a", self_link = "zones/europe-west3-a/instances/a" }, n2 = { name = "b", self_link = "zones/europe-west3-b/instances/b" } }
    witness   = "none"
    store     = { type = "etcd", endpoints = ["http://10.0.0.9:2379"] }
  }

  assert {
    condition     = length(google_compute_instance.node) == 0 && length(google_storage_bucket.witness) == 0 && length(google_compute_address.this) == 0
    error_message = "Nodes and a store of one's own."
  }
}

run "static_ip" {
  variables {
    mode = "static_ip"
  }

  assert {
    condition     = one(output.vips) == "203.0.113.7/32" && google_compute_address.this[0].address_type == "EXTERNAL"
    error_message = "The address that this module reserves."
  }
}

run "refuses_what_does_not_fit_together" {
  command = plan

  variables {
    mode      = "route"
    instances = { n2 = { name = "b", self_link = "b" } }
    store     = { type = "etcd", endpoints = [] }
  }

  expect_failures = [var.instances, var.vips, var.store]
}
