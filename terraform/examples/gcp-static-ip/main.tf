# One public address that moves between two nodes in two zones.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

module "anyvip" {
  source = "../../gcp"

  name       = "gate"
  mode       = "static_ip"
  project    = var.project
  region     = var.region
  network    = var.network
  subnetwork = var.subnetwork

  nodes = {
    n1 = { zone = "${var.region}-a", priority = 120 }
    n2 = { zone = "${var.region}-b" }
  }

  services     = { http = { port = 80 } }
  client_cidrs = var.client_cidrs
  checks       = { app = { type = "tcp", target = "127.0.0.1:80" } }

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
