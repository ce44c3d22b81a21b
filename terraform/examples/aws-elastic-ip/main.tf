# One public address that moves between two nodes, in one zone or two.

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

  name   = "gate"
  mode   = "elastic_ip"
  vpc_id = var.vpc_id

  nodes = {
    n1 = { subnet_id = var.subnet_ids[0], priority = 120 }
    n2 = { subnet_id = var.subnet_ids[1] }
  }

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
  value       = module.anyvip.vips
}

output "config" {
  description = "Each node's anyvip configuration."
  value       = module.anyvip.config
}

output "user_data" {
  description = "Each node's user data."
  value       = module.anyvip.user_data
}
