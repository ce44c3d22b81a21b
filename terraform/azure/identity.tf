resource "azurerm_user_assigned_identity" "node" {
  name                = "${var.name}-node"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = local.tags
}

locals {
  # The provider is tested with the same role; a load balancer needs none.
  roles = {
    for mode in ["ip_config", "public_ip", "route"] : mode => jsondecode(file("${path.module}/policies/${mode}.json"))
    if mode == var.mode
  }
  scopes = concat([data.azurerm_resource_group.this.id], var.role_scopes)
}

resource "azurerm_role_definition" "move" {
  for_each = local.roles

  name              = "${each.value.Name} (${var.name})"
  description       = each.value.Description
  scope             = data.azurerm_resource_group.this.id
  assignable_scopes = local.scopes

  permissions {
    actions          = each.value.Actions
    not_actions      = each.value.NotActions
    data_actions     = each.value.DataActions
    not_data_actions = each.value.NotDataActions
  }
}

resource "azurerm_role_assignment" "move" {
  count = length(local.roles) == 0 ? 0 : length(local.scopes)

  scope              = local.scopes[count.index]
  role_definition_id = azurerm_role_definition.move[var.mode].role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.node.principal_id
  principal_type     = "ServicePrincipal"
}
