output "config" {
  description = "Each node's anyvip configuration as YAML, by node."
  value       = module.cloud_init.config
}

output "user_data" {
  description = "Each node's user data (cloud-config), by node: for instances of your own."
  value       = module.cloud_init.user_data
}

output "instance_ids" {
  description = "The instances by node."
  value       = { for name, node in local.nodes : name => node.instance_id }
}

output "instance_profile_name" {
  description = "The nodes' instance profile: for instances of your own."
  value       = aws_iam_instance_profile.node.name
}

output "role_name" {
  description = "The nodes' IAM role: to attach what your application may do."
  value       = aws_iam_role.node.name
}

output "security_group_id" {
  description = "The nodes' security group: for instances of your own, and rules of your own."
  value       = aws_security_group.nodes.id
}

output "load_balancer_dns_name" {
  description = "Where clients connect to in mode load_balancer."
  value       = one(aws_lb.this[*].dns_name)
}

output "vips" {
  description = "The group's VIPs: where clients connect to, except in mode load_balancer."
  value       = local.vips
}

output "store" {
  description = "The `store` section of the configuration, for what else is to look at the cluster."
  value       = local.store
}
