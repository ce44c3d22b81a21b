# One service on two nodes in two zones, behind a network load balancer: internal, or internet-facing.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

module "anyvip" {
  source = "../../aws"

  name   = "shop"
  mode   = "load_balancer"
  vpc_id = var.vpc_id

  nodes = {
    n1 = { subnet_id = var.subnet_ids[0], priority = 120 }
    n2 = { subnet_id = var.subnet_ids[1] }
  }

  load_balancer = {
    internet_facing = var.internet_facing
    subnets         = [for subnet_id in var.subnet_ids : { subnet_id = subnet_id }]
  }

  vips         = ["198.51.100.10/32"] # only a name for the group: no machine has this address
  services     = { http = { port = 80 } }
  client_cidrs = var.client_cidrs
  checks       = { app = { type = "tcp", target = "127.0.0.1:80" } }

  image_id            = var.image_id
  wheel               = var.wheel
  packages            = ["nginx-light"]
  deletion_protection = var.deletion_protection
}

output "address" {
  description = "The address that clients connect to."
  value       = module.anyvip.load_balancer_dns_name
}

output "config" {
  description = "Each node's anyvip configuration."
  value       = module.anyvip.config
}

output "user_data" {
  description = "Each node's user data."
  value       = module.anyvip.user_data
}
