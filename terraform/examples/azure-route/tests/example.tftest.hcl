mock_provider "azurerm" {
  mock_data "azurerm_resource_group" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop" }
  }

  mock_resource "azurerm_public_ip" {
    defaults = { ip_address = "203.0.113.7" }
  }
}

variables {
  subscription_id     = "00000000-0000-0000-0000-000000000000"
  resource_group_name = "shop"
  subnet_id           = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Network/virtualNetworks/shop/subnets/nodes"
  ssh_public_key      = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample operator"
  client_cidrs        = ["10.0.0.0/8"]
  wheel               = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
  route_table_ids     = ["/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Network/routeTables/clients"]
}

run "stands" {
  assert {
    condition     = module.anyvip.vips[0] == "198.51.100.20/32"
    error_message = "It is the VIP."
  }
}
