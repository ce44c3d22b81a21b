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
  description = "Resource group of all resources."
  type        = string
}

variable "subnet_id" {
  description = "The subnet of the nodes, with access to Azure's API and to packages (a NAT gateway)."
  type        = string
}

variable "ssh_public_key" {
  description = "The administrator's public key."
  type        = string
}

variable "client_cidrs" {
  description = "IPv4 ranges of the clients."
  type        = list(string)
}

variable "wheel" {
  description = "URL of anyvip's wheel."
  type        = string
}

variable "deletion_protection" {
  description = "Set to false before `terraform destroy`."
  type        = bool
  default     = true
}
