variable "project" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the nodes."
  type        = string
  default     = "europe-west3"
}

variable "network" {
  description = "The VPC network, by self link or id."
  type        = string
}

variable "subnetwork" {
  description = "The subnet of the nodes, with Private Google Access and access to packages (Cloud NAT), by self link or id."
  type        = string
}

variable "vip" {
  description = "An unused address of the subnet, with /32."
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
