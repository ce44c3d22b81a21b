resource "aws_iam_role" "node" {
  name        = "${var.name}-node"
  description = "Permissions of the nodes of the anyvip cluster ${var.name}"
  tags        = local.tags

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_instance_profile" "node" {
  name = "${var.name}-node"
  role = aws_iam_role.node.name
  tags = local.tags
}

locals {
  arn        = "arn:${data.aws_partition.current.partition}:ec2:${local.region}:${data.aws_caller_identity.current.account_id}"
  interfaces = [for node in local.nodes : "${local.arn}:network-interface/${node.network_interface_id}"]

  # What each mode is allowed to change. The policy files allow it everywhere; Describe actions take no resource.
  changed = {
    secondary_ip = local.interfaces
    elastic_ip   = concat(local.interfaces, var.vips == null ? [for address in aws_eip.this : "${local.arn}:elastic-ip/${address.id}"] : ["${local.arn}:elastic-ip/*"])
    route        = [for table in var.route_tables : "${local.arn}:route-table/${table}"]
  }

  # The providers are tested with the same policies.
  move_policy = {
    for mode, resources in local.changed : mode => {
      Version = "2012-10-17"
      Statement = [
        for statement in jsondecode(file("${path.module}/policies/${mode}.json")).Statement :
        merge(statement, statement.Sid == "Move" ? { Resource = resources } : { Resource = ["*"] })
      ]
    } if mode == var.mode
  }
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

resource "aws_iam_role_policy" "move" {
  # checkov:skip=CKV_AWS_290:Only Describe actions are without a resource, because EC2 has none for them.
  # checkov:skip=CKV_AWS_355:Only Describe actions are without a resource, because EC2 has none for them.
  for_each = local.move_policy

  name   = each.key
  role   = aws_iam_role.node.name
  policy = jsonencode(each.value)
}

resource "aws_iam_role_policy" "store" {
  for_each = local.store_policy

  name   = "store-${each.key}"
  role   = aws_iam_role.node.name
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}
