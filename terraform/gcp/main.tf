data "google_client_config" "current" {}

locals {
  project = coalesce(var.project, data.google_client_config.current.project)
  labels  = merge(var.labels, { anyvip-cluster = var.name })

  instances = var.instances != null ? var.instances : {
    for name, node in google_compute_instance.node : name => { name = node.name, self_link = node.self_link }
  }

  vips = var.vips != null ? var.vips : [for address in google_compute_address.this : "${address.address}/32"]

  provider = {
    load_balancer = { type = "gcp.load_balancer", health_port = var.health_port }
    alias_ip      = { type = "gcp.alias_ip", instances = [for name, node in var.nodes : "${node.zone}/${var.instances == null ? "${var.name}-${name}" : var.instances[name].name}"] }
    static_ip     = { type = "gcp.static_ip" }
    route         = { type = "gcp.route" }
  }[var.mode]
}

# The address that clients connect to. In mode static_ip anyvip gives it to the active node, so Terraform does not.
resource "google_compute_address" "this" {
  count = var.vips == null && contains(["static_ip", "load_balancer"], var.mode) ? 1 : 0

  name         = var.name
  project      = local.project
  region       = var.region
  address_type = local.public ? "EXTERNAL" : "INTERNAL"
  address      = local.public ? null : var.load_balancer.address
  subnetwork   = local.public ? null : var.subnetwork
  # The rules of several protocols share one address.
  purpose = local.public ? null : "SHARED_LOADBALANCER_VIP"
  labels  = local.labels
}

module "cloud_init" {
  source = "../cloud-init"

  cluster         = var.name
  nodes           = { for name, node in var.nodes : name => { priority = node.priority } }
  store           = local.store
  lease           = var.lease
  health_port     = var.health_port
  group           = var.group
  vips            = local.vips
  group_providers = { for name, node in var.nodes : name => [merge(local.provider, var.provider_options)] }
  checks          = var.checks
  hooks           = var.hooks
  preempt         = var.preempt
  wheel           = var.wheel
  extras          = ["gcp"]
  pip_arguments   = var.pip_arguments
  packages        = var.packages
  files           = var.files
  commands        = var.commands
}
