# Rules are separate resources, so that this module does not remove rules that a caller adds.
locals {
  # Clients' packets reach a node through the load balancer or directly.
  client_rules = {
    for pair in setproduct(keys(var.services), var.client_cidrs) : "${pair[0]} ${pair[1]}" => {
      service = var.services[pair[0]]
      cidr    = pair[1]
    }
  }
  balanced = var.mode == "load_balancer"
  egress = {
    for pair in setproduct([80, 443], var.egress_cidrs) : "${pair[0]} ${pair[1]}" => { port = pair[0], cidr = pair[1] }
  }
}

resource "aws_security_group" "nodes" {
  # checkov:skip=CKV2_AWS_5:It is attached to the nodes, which a caller can make outside this module.
  name        = "${var.name}-nodes"
  description = "Nodes of the anyvip cluster ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-nodes" })
}

resource "aws_vpc_security_group_egress_rule" "nodes" {
  for_each = local.egress

  security_group_id = aws_security_group.nodes.id
  description       = "API of the cloud, packages"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
  tags              = local.tags
}

resource "aws_security_group" "load_balancer" {
  count = local.balanced ? 1 : 0

  name        = "${var.name}-nlb"
  description = "Load balancer of the anyvip cluster ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-nlb" })
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = local.client_rules

  security_group_id = local.balanced ? aws_security_group.load_balancer[0].id : aws_security_group.nodes.id
  description       = "Clients"
  ip_protocol       = each.value.service.protocol
  from_port         = each.value.service.port
  to_port           = each.value.service.port
  cidr_ipv4         = each.value.cidr
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  for_each = local.balanced ? local.balanced_ports : {}

  security_group_id            = aws_security_group.load_balancer[0].id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.key
  referenced_security_group_id = aws_security_group.nodes.id
  tags                         = local.tags
}

# With the load balancer's group as the source, clients come in only through it, even if it preserves their address.
resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  for_each = local.balanced ? local.balanced_ports : {}

  security_group_id            = aws_security_group.nodes.id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = each.key
  referenced_security_group_id = aws_security_group.load_balancer[0].id
  tags                         = local.tags
}
