# One private address that moves between two nodes of one subnet.

terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.55, < 5.0"
    }
  }
}

provider "azurerm" {
  features {}

  subscription_id     = var.subscription_id
  storage_use_azuread = true # the storage account takes no keys
}

module "anyvip" {
  source = "../../azure"

  name                = "ledger"
  mode                = "ip_config"
  location            = var.location
  resource_group_name = var.resource_group_name

  nodes = {
    n1 = { subnet_id = var.subnet_id, zone = "1", priority = 120 }
    n2 = { subnet_id = var.subnet_id, zone = "2" }
  }

  vips         = [var.vip]
  services     = { http = { port = 80 } }
  client_cidrs = var.client_cidrs
  checks       = { app = { type = "tcp", target = "127.0.0.1:80" } }

  ssh_public_key      = var.ssh_public_key
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
