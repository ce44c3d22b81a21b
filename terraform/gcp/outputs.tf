output "config" {
  description = "Each node's anyvip configuration as YAML, by node."
  value       = module.cloud_init.config
}

output "user_data" {
  description = "Each node's user data (cloud-config) by node, for the metadata key user-data of your own instances."
  value       = module.cloud_init.user_data
}

output "instances" {
  description = "The instances' self links by node."
  value       = { for name, instance in local.instances : name => instance.self_link }
}

output "service_account_email" {
  description = "The nodes' service account, for your own instances and the permissions of your application."
  value       = google_service_account.node.email
}

output "network_tag" {
  description = "The network tag of the firewall rules, for your own instances and rules."
  value       = local.tag
}

output "vips" {
  description = "The group's VIPs, which clients connect to."
  value       = local.vips
}

output "store" {
  description = "The `store` section of the configuration, for other programs that read the cluster's records."
  value       = local.store
}
