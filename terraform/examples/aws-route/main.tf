# One address outside the VPC that route tables lead to one of two nodes in two zones; the witness is an S3 bucket.

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

  name   = "hub"
  mode   = "route"
  vpc_id = var.vpc_id

  nodes = {
    n1 = { subnet_id = var.subnet_ids[0], priority = 120 }
    n2 = { subnet_id = var.subnet_ids[1] }
  }

  vips         = ["198.51.100.20/32"]
  route_tables = var.route_table_ids
  services     = { http = { port = 80 } }
  client_cidrs = var.client_cidrs
  checks       = { app = { type = "tcp", target = "127.0.0.1:80" } }

  witness = "s3"

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
