resource "azurerm_network_interface" "node" {
  # checkov:skip=CKV_AZURE_118:Only in mode route, because a VIP that is routed here is not an address of the interface.
  # checkov:skip=CKV_AZURE_119:It has no public address other than the VIP.
  for_each = var.interfaces == null ? var.nodes : {}

  name                  = "${var.name}-${each.key}"
  resource_group_name   = var.resource_group_name
  location              = var.location
  ip_forwarding_enabled = var.mode == "route" # a VIP that is routed here is not an address of the interface
  tags                  = local.tags

  ip_configuration {
    name                          = "primary"
    primary                       = true
    subnet_id                     = each.value.subnet_id
    private_ip_address_allocation = each.value.private_ip == null ? "Dynamic" : "Static"
    private_ip_address            = each.value.private_ip
  }

  lifecycle {
    # anyvip moves IP configurations and public addresses, and Terraform would undo that with every apply.
    ignore_changes = [ip_configuration]
  }
}

resource "azurerm_network_interface_security_group_association" "node" {
  for_each = azurerm_network_interface.node

  network_interface_id      = each.value.id
  network_security_group_id = azurerm_network_security_group.nodes.id
}

resource "azurerm_linux_virtual_machine" "node" {
  for_each = var.interfaces == null ? var.nodes : {}

  name                            = "${var.name}-${each.key}"
  resource_group_name             = var.resource_group_name
  location                        = var.location
  zone                            = each.value.zone
  size                            = var.size
  network_interface_ids           = [azurerm_network_interface.node[each.key].id]
  admin_username                  = var.admin_username
  disable_password_authentication = true
  allow_extension_operations      = false
  custom_data                     = base64encode(module.cloud_init.user_data[each.key])
  tags                            = local.tags

  admin_ssh_key {
    username   = var.admin_username
    public_key = coalesce(var.ssh_public_key, "none")
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.node.id]
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Premium_LRS"
  }

  source_image_reference {
    publisher = var.image.publisher
    offer     = var.image.offer
    sku       = var.image.sku
    version   = var.image.version
  }

  lifecycle {
    # Otherwise one apply would replace all nodes at the same time. Replace them one by one (README).
    ignore_changes = [custom_data, source_image_reference]
  }
}
