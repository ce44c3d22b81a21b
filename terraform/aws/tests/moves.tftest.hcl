mock_provider "aws" {}

variables {
  name         = "shop"
  vpc_id       = "vpc-1"
  image_id     = "ami-1"
  nodes        = { n1 = { subnet_id = "subnet-a" }, n2 = { subnet_id = "subnet-a" } }
  services     = { http = { port = 80 } }
  client_cidrs = ["10.0.0.0/8"]
  wheel        = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
}

run "secondary_ip" {
  command = plan

  variables {
    mode      = "secondary_ip"
    vips      = ["10.0.0.100/24", "10.0.0.101/24"]
    instances = { n1 = { instance_id = "i-1", network_interface_id = "eni-1" }, n2 = { instance_id = "i-2", network_interface_id = "eni-2" } }
  }

  assert {
    condition     = yamldecode(output.config["n1"]).groups.web.providers[0].type == "aws.secondary_ip" && yamldecode(output.config["n1"]).groups.web.providers[0].probe_port == 9010
    error_message = "The provider of the mode, and what the doctor looks for."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.move["secondary_ip"].policy).Statement :
      [for resource in statement.Resource : regex("[^/]+$", resource)] if statement.Sid == "Move"
    ] == [["eni-1", "eni-2"]]
    error_message = "Only the nodes' interfaces may be changed."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.move["secondary_ip"].policy).Statement : statement.Action
    ] == [for statement in jsondecode(file("policies/secondary_ip.json")).Statement : statement.Action]
    error_message = "The actions are those that the provider is tested with."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.clients : rule.from_port] == [80] && length(aws_vpc_security_group_ingress_rule.load_balancer) == 0
    error_message = "Clients come to the nodes; nobody asks for health from outside."
  }
}

run "route" {
  command = plan

  variables {
    mode             = "route"
    nodes            = { n1 = { subnet_id = "subnet-a" }, n2 = { subnet_id = "subnet-b" } }
    vips             = ["198.51.100.20/32"]
    route_tables     = ["rtb-1", "rtb-2"]
    witness          = "s3"
    provider_options = { interface = "ens5" }
  }

  assert {
    condition     = alltrue([for node in aws_instance.node : !node.source_dest_check])
    error_message = "A VIP that is routed to a node is no address of its interface."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.move["route"].policy).Statement :
      [for resource in statement.Resource : regex("[^/]+$", resource)] if statement.Sid == "Move"
    ] == [["rtb-1", "rtb-2"]]
    error_message = "Only these tables may be changed."
  }

  assert {
    condition = (
      yamldecode(output.config["n1"]).groups.web.providers[0].route_tables == ["rtb-1", "rtb-2"]
      && yamldecode(output.config["n1"]).groups.web.providers[0].interface == "ens5"
      && yamldecode(output.config["n1"]).store.bucket == aws_s3_bucket.witness[0].bucket
    )
    error_message = "The nodes know the tables, what the caller adds, and the witness."
  }

  assert {
    condition = (
      !aws_s3_bucket.witness[0].force_destroy
      && aws_s3_bucket_public_access_block.witness[0].restrict_public_buckets
      && length(aws_dynamodb_table.witness) == 0
    )
    error_message = "A bucket that is in use is not deleted, and nobody else sees it."
  }
}

run "elastic_ip" {
  command = plan

  variables {
    mode = "elastic_ip"
  }

  assert {
    condition     = length(aws_eip.this) == 1 && aws_eip.this[0].domain == "vpc" && alltrue([for node in aws_instance.node : node.source_dest_check])
    error_message = "The module makes one."
  }
}

run "refuses_what_does_not_fit_together" {
  command = plan

  variables {
    mode         = "secondary_ip"
    nodes        = { n1 = { subnet_id = "subnet-a" }, n2 = { subnet_id = "subnet-b" } }
    route_tables = ["rtb-1"]
  }

  expect_failures = [var.nodes, var.vips, var.route_tables]
}
