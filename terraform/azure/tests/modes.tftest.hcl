mock_provider "azurerm" {
  mock_data "azurerm_resource_group" {
    defaults = { id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop" }
  }

  mock_resource "azurerm_public_ip" {
    defaults = { ip_address = "203.0.113.7" }
  }
}

variables {
  name                = "shop"
  location            = "germanywestcentral"
  resource_group_name = "shop"
  nodes               = { n1 = { subnet_id = "subnet-a", zone = "1", priority = 120 }, n2 = { subnet_id = "subnet-a", zone = "2" } }
  ssh_public_key      = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample operator"
  services            = { http = { port = 80 }, quic = { port = 443, protocol = "udp" } }
  client_cidrs        = ["10.0.0.0/8"]
  wheel               = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
}

run "load_balancer" {
  variables {
    mode          = "load_balancer"
    load_balancer = { private_ip = "10.7.0.100", floating_ip = true }
  }

  assert {
    condition = (
      azurerm_lb_probe.this[0].protocol == "Http" && azurerm_lb_probe.this[0].request_path == "/health/web"
      && azurerm_lb_probe.this[0].port == 9010 && azurerm_lb_probe.this[0].interval_in_seconds == 5
      && azurerm_lb_probe.this[0].probe_threshold == 1 && azurerm_lb_probe.this[0].number_of_probes == 1
    )
    error_message = "The fastest probes there are."
  }

  assert {
    condition     = alltrue([for rule in azurerm_lb_rule.this : rule.floating_ip_enabled && rule.disable_outbound_snat]) && azurerm_lb_rule.this["quic"].protocol == "Udp"
    error_message = "Packets keep the VIP as their destination."
  }

  assert {
    condition     = one(output.vips) == "10.7.0.100/32" && yamldecode(output.config["n1"]).groups.web.providers == [{ type = "load_balancer", local = true }]
    error_message = "So the nodes need it."
  }

  assert {
    condition = (
      azurerm_network_security_rule.probes[0].source_address_prefix == "AzureLoadBalancer"
      && azurerm_network_security_rule.probes[0].destination_port_range == "9010"
      && azurerm_network_security_rule.nobody_else.access == "Deny"
      && toset([for rule in azurerm_network_security_rule.clients : "${rule.protocol} ${rule.destination_port_range}"]) == toset(["Tcp 80", "Udp 443"])
    )
    error_message = "Azure's probes and the clients, and nobody else."
  }

  assert {
    condition     = length(azurerm_role_definition.move) == 0 && azurerm_role_assignment.store[0].role_definition_name == "Storage Blob Data Contributor"
    error_message = "The nodes may use the witness, and change nothing."
  }

  assert {
    condition = (
      !azurerm_storage_account.witness[0].shared_access_key_enabled
      && !azurerm_storage_account.witness[0].allow_nested_items_to_be_public
      && azurerm_management_lock.witness[0].lock_level == "CanNotDelete"
      && !azurerm_storage_account.witness[0].blob_properties[0].versioning_enabled
    )
    error_message = "No keys, not public, not deleted by mistake."
  }

  assert {
    condition = (
      yamldecode(output.config["n2"]).store.account == azurerm_storage_account.witness[0].name
      && yamldecode(output.config["n2"]).store.client_id == azurerm_user_assigned_identity.node.client_id
      && base64decode(azurerm_linux_virtual_machine.node["n2"].custom_data) == output.user_data["n2"]
    )
    error_message = "The nodes know the witness, and who they are."
  }
}

run "public_load_balancer" {
  variables {
    mode          = "load_balancer"
    load_balancer = { public = true }
  }

  assert {
    condition     = one(output.vips) == "203.0.113.7/32" && alltrue([for rule in azurerm_lb_rule.this : !rule.floating_ip_enabled]) && !yamldecode(output.config["n1"]).groups.web.providers[0].local
    error_message = "Azure puts the node's own address in."
  }
}

run "ip_config" {
  variables {
    mode = "ip_config"
    vips = ["10.7.0.100/24"]
  }

  assert {
    condition     = toset(yamldecode(output.config["n1"]).groups.web.providers[0].nics) == toset([for interface in azurerm_network_interface.node : interface.id])
    error_message = "Every node knows which interfaces may have the VIP."
  }

  assert {
    condition     = toset(azurerm_role_definition.move["ip_config"].permissions[0].actions) == toset(jsondecode(file("policies/ip_config.json")).Actions) && length(azurerm_role_assignment.move) == 1
    error_message = "The role is the one that the provider is tested with."
  }

  assert {
    condition     = alltrue([for interface in azurerm_network_interface.node : !interface.ip_forwarding_enabled]) && length(azurerm_lb.this) == 0
    error_message = "Nothing is forwarded."
  }
}

run "public_ip" {
  variables {
    mode = "public_ip"
  }

  assert {
    condition     = one(output.vips) == "203.0.113.7/32" && yamldecode(output.config["n1"]).groups.web.providers[0].public_ip == azurerm_public_ip.this[0].id
    error_message = "The address that this module makes."
  }
}

run "route" {
  variables {
    mode         = "route"
    vips         = ["198.51.100.20/32"]
    route_tables = ["/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/net/providers/Microsoft.Network/routeTables/clients"]
    role_scopes  = ["/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/net"]
    witness      = "none"
    store        = { type = "etcd", endpoints = ["http://10.7.0.9:2379"] }
  }

  assert {
    condition     = alltrue([for interface in azurerm_network_interface.node : interface.ip_forwarding_enabled]) && length(azurerm_role_assignment.move) == 2
    error_message = "What is routed to a node is no address of its interface; the tables are in another resource group."
  }

  assert {
    condition     = length(azurerm_storage_account.witness) == 0 && yamldecode(output.config["n1"]).store.type == "etcd"
    error_message = "A store of one's own."
  }
}

run "refuses_what_does_not_fit_together" {
  command = plan

  variables {
    mode         = "ip_config"
    nodes        = { n1 = { subnet_id = "subnet-a" }, n2 = { subnet_id = "subnet-b" } }
    route_tables = ["clients"]
    store        = { type = "etcd", endpoints = [] }
  }

  expect_failures = [var.nodes, var.vips, var.route_tables, var.store]
}
