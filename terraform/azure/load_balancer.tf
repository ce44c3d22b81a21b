resource "azurerm_lb" "this" {
  count = local.balanced ? 1 : 0

  name                = var.name
  resource_group_name = var.resource_group_name
  location            = var.location
  sku                 = "Standard"
  tags                = local.tags

  frontend_ip_configuration {
    name                          = "vip"
    public_ip_address_id          = one(azurerm_public_ip.this[*].id)
    subnet_id                     = local.public ? null : coalesce(var.load_balancer.subnet_id, values(var.nodes)[0].subnet_id)
    private_ip_address            = local.public ? null : var.load_balancer.private_ip
    private_ip_address_allocation = local.public ? "Dynamic" : "Static"
    zones                         = local.public ? null : var.load_balancer.zones # a public address has its own zones
  }
}

resource "azurerm_lb_backend_address_pool" "nodes" {
  count = local.balanced ? 1 : 0

  name            = "nodes"
  loadbalancer_id = azurerm_lb.this[0].id
}

resource "azurerm_network_interface_backend_address_pool_association" "node" {
  for_each = local.balanced ? local.interfaces : {}

  network_interface_id    = each.value.id
  ip_configuration_name   = each.value.ip_configuration
  backend_address_pool_id = azurerm_lb_backend_address_pool.nodes[0].id
}

# The fastest setting: probes are 5 s apart, and a single one decides. Any status other than 200 takes a node down
# immediately. When all are down, Azure sends no traffic to any of them (noHealthyBackendsBehavior: AllProbedDown).
# That is its default, and azurerm has no argument for it.
resource "azurerm_lb_probe" "this" {
  count = local.balanced ? 1 : 0

  name                = "health"
  loadbalancer_id     = azurerm_lb.this[0].id
  protocol            = "Http"
  port                = var.health_port
  request_path        = "/health/${var.group}"
  interval_in_seconds = 5
  number_of_probes    = 1
  probe_threshold     = 1
}

resource "azurerm_lb_rule" "this" {
  for_each = local.balanced ? var.services : {}

  name                           = each.key
  loadbalancer_id                = azurerm_lb.this[0].id
  frontend_ip_configuration_name = "vip"
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.nodes[0].id]
  probe_id                       = azurerm_lb_probe.this[0].id
  protocol                       = title(each.value.protocol)
  frontend_port                  = each.value.port
  backend_port                   = each.value.port
  floating_ip_enabled            = var.load_balancer.floating_ip
  disable_outbound_snat          = true # a node that is not active could not reach the internet through it
  # This resets idle connections only. Connections to a node that is down go on, so a demoted node resets them itself.
  tcp_reset_enabled = each.value.protocol == "tcp"
}
