output "config" {
  description = "Each node's anyvip configuration as YAML, by node."
  value       = module.cloud_init.config
}

output "user_data" {
  description = "Each node's user data (cloud-config), by node: for the metadata key user-data of instances of your own."
  value       = module.cloud_init.user_data
}

output "instances" {
  description = "The instances' self links by node."
  value       = { for name, instance in local.instances : name => instance.self_link }
}

output "service_account_email" {
  description = "The nodes' service account: for instances of your own, and for what your application may do."
  value       = google_service_account.node.email
}

output "network_tag" {
  description = "The network tag that the firewall rules are for: for instances of your own, and rules of your own."
  value       = local.tag
}

output "vips" {
  description = "The group's VIPs: where clients connect to."
  value       = local.vips
}

output "store" {
  description = "The `store` section of the configuration, for what else is to look at the cluster."
  value       = local.store
}
