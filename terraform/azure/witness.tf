locals {
  account   = coalesce(var.storage_account, "${substr(replace(var.name, "-", ""), 0, 12)}${substr(sha256(data.azurerm_resource_group.this.id), 0, 12)}")
  container = "anyvip"

  store = {
    azure_blob = { type = "azure_blob", account = local.account, container = local.container, client_id = azurerm_user_assigned_identity.node.client_id }
    none       = var.store
  }[var.witness]
}

resource "azurerm_storage_account" "witness" {
  # checkov:skip=CKV_AZURE_33:There are no queues in it.
  # checkov:skip=CKV_AZURE_35:Restricting it to some subnets is an option (storage_subnet_ids).
  # checkov:skip=CKV_AZURE_59:The same, and only the nodes' identity opens it, not a key.
  # checkov:skip=CKV_AZURE_206:It is replicated to three zones; a copy in another region lags and is no witness.
  # checkov:skip=CKV2_AZURE_1:Azure's own key encrypts it, and nothing in it is secret.
  # checkov:skip=CKV2_AZURE_33:The same as CKV_AZURE_35.
  # checkov:skip=CKV2_AZURE_38:It would keep every renewal, so docs/stores.md says to leave it off.
  # checkov:skip=CKV2_AZURE_41:Without account keys there are no signatures made with them.
  count = var.witness == "azure_blob" ? 1 : 0

  name                              = local.account
  resource_group_name               = var.resource_group_name
  location                          = var.location
  account_kind                      = "StorageV2"
  account_tier                      = "Standard"
  account_replication_type          = "ZRS"
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  local_user_enabled                = false
  infrastructure_encryption_enabled = true
  is_hns_enabled                    = false
  tags                              = local.tags

  network_rules {
    default_action             = length(var.storage_subnet_ids) > 0 ? "Deny" : "Allow"
    virtual_network_subnet_ids = var.storage_subnet_ids
    bypass                     = ["None"]
  }

  # No versions, no soft delete: docs/stores.md explains why.
  blob_properties {
    versioning_enabled = false
  }
}

resource "azurerm_storage_container" "witness" {
  # checkov:skip=CKV2_AZURE_21:Every renewal would be logged.
  count = length(azurerm_storage_account.witness)

  name                  = local.container
  storage_account_id    = azurerm_storage_account.witness[count.index].id
  container_access_type = "private"
}

resource "azurerm_role_assignment" "store" {
  count = length(azurerm_storage_account.witness)

  scope                = "${azurerm_storage_account.witness[count.index].id}/blobServices/default/containers/${azurerm_storage_container.witness[count.index].name}"
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.node.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_management_lock" "witness" {
  count = var.deletion_protection ? length(azurerm_storage_account.witness) : 0

  name       = "${var.name}-witness"
  scope      = azurerm_storage_account.witness[count.index].id
  lock_level = "CanNotDelete"
  notes      = "Where the nodes of the anyvip cluster ${var.name} agree who is active"
}
