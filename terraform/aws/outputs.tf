output "config" {
  description = "Each node's anyvip configuration as YAML, by node."
  value       = module.cloud_init.config
}

output "user_data" {
  description = "Each node's user data (cloud-config) by node, for your own instances."
  value       = module.cloud_init.user_data
}

output "instance_ids" {
  description = "The instances by node."
  value       = { for name, node in local.nodes : name => node.instance_id }
}

output "instance_profile_name" {
  description = "The nodes' instance profile, for your own instances."
  value       = aws_iam_instance_profile.node.name
}

output "role_name" {
  description = "The nodes' IAM role, to which you attach the permissions of your application."
  value       = aws_iam_role.node.name
}

output "security_group_id" {
  description = "The nodes' security group, for your own instances and rules."
  value       = aws_security_group.nodes.id
}

output "load_balancer_dns_name" {
  description = "The address that clients connect to in mode load_balancer."
  value       = one(aws_lb.this[*].dns_name)
}

output "vips" {
  description = "The group's VIPs, which clients connect to except in mode load_balancer."
  value       = local.vips
}

output "store" {
  description = "The `store` section of the configuration, for other programs that read the cluster's records."
  value       = local.store
}
