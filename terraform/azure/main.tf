data "azurerm_resource_group" "this" {
  name = var.resource_group_name
}

locals {
  tags     = merge(var.tags, { "anyvip-cluster" = var.name })
  balanced = var.mode == "load_balancer"
  # The address that this module makes, if it makes a public one.
  public = var.mode == "public_ip" && var.public_ip_id == null || local.balanced && var.load_balancer.public

  interfaces = var.interfaces != null ? var.interfaces : {
    for name, interface in azurerm_network_interface.node : name => { id = interface.id, ip_configuration = "primary" }
  }

  vips = (
    var.vips != null ? var.vips
    : local.public ? ["${azurerm_public_ip.this[0].ip_address}/32"]
    : ["${coalesce(var.load_balancer.private_ip, "0.0.0.0")}/32"]
  )

  # Selects one of the identities that a machine can have.
  asking = { client_id = azurerm_user_assigned_identity.node.client_id }

  provider = {
    load_balancer = { type = "load_balancer", local = var.load_balancer.floating_ip }
    ip_config     = merge({ type = "azure.ip_config", nics = [for interface in local.interfaces : interface.id] }, local.asking)
    public_ip     = merge({ type = "azure.public_ip", public_ip = var.public_ip_id != null ? var.public_ip_id : one(azurerm_public_ip.this[*].id) }, local.asking)
    route         = merge({ type = "azure.route", route_tables = var.route_tables }, local.asking)
  }[var.mode]
}

# The address that clients connect to. In mode public_ip anyvip gives it to the active node, so Terraform does not.
resource "azurerm_public_ip" "this" {
  count = local.public ? 1 : 0

  name                = var.name
  resource_group_name = var.resource_group_name
  location            = var.location
  allocation_method   = "Static"
  sku                 = "Standard"
  zones               = var.load_balancer.zones
  tags                = local.tags
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
  extras          = ["azure"]
  pip_arguments   = var.pip_arguments
  packages        = var.packages
  files           = var.files
  commands        = var.commands
}
