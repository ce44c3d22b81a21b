mock_provider "aws" {}

variables {
  name          = "shop"
  mode          = "load_balancer"
  vpc_id        = "vpc-1"
  image_id      = "ami-1"
  nodes         = { n1 = { subnet_id = "subnet-a", priority = 120 }, n2 = { subnet_id = "subnet-b" } }
  load_balancer = { subnets = [{ subnet_id = "subnet-a" }, { subnet_id = "subnet-b" }] }
  vips          = ["198.51.100.10/32"]
  services      = { http = { port = 80 }, quic = { port = 443, protocol = "udp" } }
  client_cidrs  = ["10.0.0.0/8", "192.0.2.0/24"]
  wheel         = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
}

# One run for all of it: each starts the provider several times.
run "behind_a_load_balancer" {
  command = plan

  assert {
    condition = alltrue([for group in aws_lb_target_group.this : (
      group.health_check[0].path == "/health/web"
      && group.health_check[0].port == "9010"
      && group.health_check[0].matcher == "200"
      && group.health_check[0].interval == 5
      && group.health_check[0].timeout == 2
      && group.health_check[0].healthy_threshold == 2
      && group.health_check[0].unhealthy_threshold == 2
    )])
    error_message = "The fastest probes there are, and exactly 200."
  }

  assert {
    condition = alltrue([for group in aws_lb_target_group.this : (
      group.target_health_state[0].enable_unhealthy_connection_termination
      && group.connection_termination && group.deregistration_delay == "0" && group.preserve_client_ip == "true"
    )])
    error_message = "Connections do not stay on a node that is active no longer."
  }

  assert {
    condition = alltrue([for group in aws_lb_target_group.this : (
      group.target_group_health[0].unhealthy_state_routing[0].minimum_healthy_targets_count == 1
      && group.target_group_health[0].unhealthy_state_routing[0].minimum_healthy_targets_percentage == "off"
      && group.target_group_health[0].dns_failover[0].minimum_healthy_targets_count == "1"
      && group.target_group_health[0].dns_failover[0].minimum_healthy_targets_percentage == "off"
    )])
    error_message = "One healthy target is enough, or the load balancer sends traffic to all."
  }

  assert {
    condition     = aws_lb.this[0].enable_cross_zone_load_balancing && aws_lb.this[0].internal && aws_lb.this[0].enable_deletion_protection
    error_message = "Clients of every zone reach the one node."
  }

  assert {
    condition     = length(aws_lb_target_group_attachment.this) == 4 && toset(keys(aws_lb_listener.this)) == toset(["http", "quic"])
    error_message = "Every node is a target of every service."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.load_balancer : "${rule.ip_protocol} ${rule.from_port}-${rule.to_port}"]) == toset(["tcp 80-80", "udp 443-443", "tcp 9010-9010"])
    error_message = "Services and probes, and nothing more."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.clients : "${rule.ip_protocol} ${rule.from_port} ${rule.cidr_ipv4}"]) == toset(["tcp 80 10.0.0.0/8", "tcp 80 192.0.2.0/24", "udp 443 10.0.0.0/8", "udp 443 192.0.2.0/24"])
    error_message = "Clients reach the services, not the probes' port."
  }

  assert {
    condition = alltrue([for node in aws_instance.node : (
      node.metadata_options[0].http_tokens == "required"
      && node.metadata_options[0].http_put_response_hop_limit == 1
      && node.root_block_device[0].encrypted
      && !node.user_data_replace_on_change
    )])
    error_message = "IMDSv2 only, encrypted."
  }

  assert {
    condition     = aws_instance.node["n1"].user_data == output.user_data["n1"]
    error_message = "Each node has its own user data."
  }

  assert {
    condition = (
      aws_dynamodb_table.witness[0].hash_key == "cluster" && aws_dynamodb_table.witness[0].range_key == "key"
      && aws_dynamodb_table.witness[0].deletion_protection_enabled
      && aws_dynamodb_table.witness[0].server_side_encryption[0].enabled
    )
    error_message = "Keys as docs/stores.md says, protected, encrypted."
  }

  assert {
    condition     = yamldecode(output.config["n1"]).store.table == aws_dynamodb_table.witness[0].name
    error_message = "The nodes use it."
  }
}

run "nodes_of_ones_own" {
  command = plan

  variables {
    image_id  = null
    instances = { n1 = { instance_id = "i-1" }, n2 = { instance_id = "i-2" } }
    witness   = "none"
    store     = { type = "etcd", endpoints = ["http://10.0.0.9:2379"] }
  }

  assert {
    condition     = length(aws_instance.node) == 0 && toset([for target in aws_lb_target_group_attachment.this : target.target_id]) == toset(["i-1", "i-2"])
    error_message = "They are the targets."
  }

  assert {
    condition     = length(aws_dynamodb_table.witness) == 0 && yamldecode(output.config["n2"]).store == { type = "etcd", endpoints = ["http://10.0.0.9:2379"] }
    error_message = "So is the store."
  }
}

run "refuses_what_does_not_fit_together" {
  command = plan

  variables {
    instances     = { n2 = { instance_id = "i-1" } }
    load_balancer = null
    store         = { type = "etcd", endpoints = [] }
    services      = {}
    client_cidrs  = ["everybody"]
  }

  expect_failures = [var.instances, var.load_balancer, var.store, var.services, var.client_cidrs]
}
