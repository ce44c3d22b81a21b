locals {
  tags = merge(var.tags, { "anyvip:cluster" = var.name })

  nodes = var.instances != null ? var.instances : {
    for name, node in aws_instance.node : name => { instance_id = node.id, network_interface_id = node.primary_network_interface_id }
  }

  vips = var.vips != null ? var.vips : [for address in aws_eip.this : "${address.public_ip}/32"]

  # `anyvip doctor` checks that the security groups allow this port.
  asking = { region = local.region, probe_port = var.health_port }

  provider = {
    load_balancer = { type = "load_balancer" } # the NLB makes the node's own address the destination
    secondary_ip  = merge({ type = "aws.secondary_ip" }, local.asking)
    elastic_ip    = merge({ type = "aws.elastic_ip" }, local.asking)
    route         = merge({ type = "aws.route", route_tables = var.route_tables }, local.asking)
  }[var.mode]
}

# anyvip associates it, so Terraform does not.
resource "aws_eip" "this" {
  # checkov:skip=CKV2_AWS_19:The active node associates it with itself, and Terraform would undo that with every apply.
  count = var.mode == "elastic_ip" && var.vips == null ? 1 : 0

  domain = "vpc"
  tags   = merge(local.tags, { Name = var.name })
}

module "cloud_init" {
  source = "../cloud-init"

  cluster         = var.name
  nodes           = { for name, node in var.nodes : name => { priority = node.priority } }
  store           = local.store
  lease           = var.lease
  health_port     = var.health_port
  group           = var.group
  vips            = local.vips
  group_providers = { for name, node in var.nodes : name => [merge(local.provider, var.provider_options)] }
  checks          = var.checks
  hooks           = var.hooks
  preempt         = var.preempt
  wheel           = var.wheel
  extras          = ["aws"]
  pip_arguments   = var.pip_arguments
  packages        = var.packages
  files           = var.files
  commands        = var.commands
}
