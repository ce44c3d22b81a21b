output "config" {
  description = "Each node's anyvip configuration as YAML, by node."
  value       = module.cloud_init.config
}

output "user_data" {
  description = "Each node's user data (cloud-config) by node, base64-encoded: the custom_data of your own virtual machines."
  value       = module.cloud_init.user_data
}

output "interface_ids" {
  description = "The network interfaces by node."
  value       = { for name, interface in local.interfaces : name => interface.id }
}

output "identity_id" {
  description = "The nodes' user-assigned identity, for your own virtual machines."
  value       = azurerm_user_assigned_identity.node.id
}

output "principal_id" {
  description = "The identity's principal, to which you grant the permissions of your application."
  value       = azurerm_user_assigned_identity.node.principal_id
}

output "security_group_id" {
  description = "The nodes' network security group, for your own network interfaces and rules."
  value       = azurerm_network_security_group.nodes.id
}

output "vips" {
  description = "The group's VIPs, which clients connect to."
  value       = local.vips
}

output "store" {
  description = "The `store` section of the configuration, for other programs that read the cluster's records."
  value       = local.store
}
