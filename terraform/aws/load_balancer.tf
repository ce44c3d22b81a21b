locals {
  # The names of services have no blanks, so none of them has the name of a rule.
  balanced_ports = merge(
    { for name, service in var.services : "Service ${name}" => service },
    { "Health probes" = { port = var.health_port, protocol = "tcp" } },
  )
  targets = {
    for pair in setproduct(keys(var.services), keys(var.nodes)) : "${pair[0]} ${pair[1]}" => {
      service = pair[0]
      node    = pair[1]
    } if local.balanced
  }
}

resource "aws_lb" "this" {
  # checkov:skip=CKV_AWS_91:An NLB logs TLS listeners only; these pass TCP and UDP through.
  # checkov:skip=CKV_AWS_150:On by default (deletion_protection).
  count = local.balanced ? 1 : 0

  name                       = var.name
  load_balancer_type         = "network"
  internal                   = !var.load_balancer.internet_facing
  security_groups            = [aws_security_group.load_balancer[0].id]
  enable_deletion_protection = var.deletion_protection
  tags                       = local.tags
  # The one healthy target is in one zone, and clients come in through all zones.
  enable_cross_zone_load_balancing = true
  dns_record_client_routing_policy = "any_availability_zone"

  dynamic "subnet_mapping" {
    for_each = var.load_balancer.subnets

    content {
      subnet_id            = subnet_mapping.value.subnet_id
      private_ipv4_address = subnet_mapping.value.private_ipv4_address
      allocation_id        = subnet_mapping.value.allocation_id
    }
  }
}

resource "aws_lb_target_group" "this" {
  for_each = local.balanced ? var.services : {}

  name        = "${var.name}-${substr(sha256(each.key), 0, 8)}"
  port        = each.value.port
  protocol    = upper(each.value.protocol)
  target_type = "instance"
  vpc_id      = var.vpc_id
  tags        = local.tags

  preserve_client_ip = true
  # A node that leaves is no longer active.
  deregistration_delay   = 0
  connection_termination = true

  # The fastest setting: two probes, 5 s apart. The status must be 200, because by default 3xx is healthy, too.
  health_check {
    protocol            = "HTTP"
    port                = tostring(var.health_port)
    path                = "/health/${var.group}"
    matcher             = "200"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  # Resets connections to a node that is no longer active; otherwise they would stay there.
  target_health_state {
    enable_unhealthy_connection_termination = true
  }

  # Exactly one target is healthy in normal operation. If more than 1 or a percentage were required, the NLB would
  # send traffic to all targets. It always does so when none is healthy.
  target_group_health {
    dns_failover {
      minimum_healthy_targets_count      = "1"
      minimum_healthy_targets_percentage = "off"
    }

    unhealthy_state_routing {
      minimum_healthy_targets_count      = 1
      minimum_healthy_targets_percentage = "off"
    }
  }
}

resource "aws_lb_target_group_attachment" "this" {
  for_each = local.targets

  target_group_arn = aws_lb_target_group.this[each.value.service].arn
  target_id        = local.nodes[each.value.node].instance_id
}

resource "aws_lb_listener" "this" {
  # checkov:skip=CKV_AWS_2:A network load balancer passes connections through, and TLS belongs to the application.
  # checkov:skip=CKV_AWS_103:A network load balancer passes connections through, and TLS belongs to the application.
  for_each = local.balanced ? var.services : {}

  load_balancer_arn = aws_lb.this[0].arn
  port              = each.value.port
  protocol          = upper(each.value.protocol)
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }
}
