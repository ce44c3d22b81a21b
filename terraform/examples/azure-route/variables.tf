variable "subscription_id" {
  description = "The subscription."
  type        = string
}

variable "location" {
  description = "Azure region."
  type        = string
  default     = "germanywestcentral"
}

variable "resource_group_name" {
  description = "The resource group of everything."
  type        = string
}

variable "subnet_id" {
  description = "The subnet of the nodes, with a way to Azure's API and to the packages (a NAT gateway)."
  type        = string
}

variable "route_table_ids" {
  description = "The route tables of all subnets that clients are in; any number."
  type        = list(string)
}

variable "ssh_public_key" {
  description = "The administrator's public key."
  type        = string
}

variable "client_cidrs" {
  description = "Who may use the service."
  type        = list(string)
}

variable "wheel" {
  description = "URL of anyvip's wheel."
  type        = string
}

variable "deletion_protection" {
  description = "False before `terraform destroy`."
  type        = bool
  default     = true
}
