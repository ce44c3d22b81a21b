# Rules are separate resources, so that a caller can add some, with priorities from 1000 to 3999.
resource "azurerm_network_security_group" "nodes" {
  name                = "${var.name}-nodes"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = local.tags
}

locals {
  services = sort(keys(var.services))
}

resource "azurerm_network_security_rule" "clients" {
  for_each = var.services

  name                        = "clients-${each.key}"
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.nodes.name
  description                 = "Clients of the service"
  priority                    = 200 + index(local.services, each.key)
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = title(each.value.protocol)
  source_address_prefixes     = var.client_cidrs
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = tostring(each.value.port)
}

# The tag stands for 168.63.129.16, the source of all Azure probes.
resource "azurerm_network_security_rule" "probes" {
  count = local.balanced ? 1 : 0

  name                        = "probes"
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.nodes.name
  description                 = "Azure's health probes to anyvip's health endpoint"
  priority                    = 100
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefix       = "AzureLoadBalancer"
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = tostring(var.health_port)
}

# Azure's default rules let the whole virtual network in.
resource "azurerm_network_security_rule" "nobody_else" {
  name                        = "nobody-else"
  resource_group_name         = var.resource_group_name
  network_security_group_name = azurerm_network_security_group.nodes.name
  description                 = "Everything else"
  priority                    = 4096
  direction                   = "Inbound"
  access                      = "Deny"
  protocol                    = "*"
  source_address_prefix       = "*"
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_range      = "*"
}
