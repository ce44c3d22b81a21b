output "config" {
  description = "Each node's anyvip configuration as YAML, by node."
  value       = { for name, config in local.config : name => yamlencode(config) }
}

output "user_data" {
  description = "Each node's user data (cloud-config), by node."
  value       = { for name, content in local.cloud_config : name => "#cloud-config\n${yamlencode(content)}" }
}
