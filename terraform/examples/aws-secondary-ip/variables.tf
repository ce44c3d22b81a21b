variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "vpc_id" {
  description = "VPC of the nodes."
  type        = string
}

variable "subnet_id" {
  description = "The subnet of the nodes, with access to the cloud's API and to packages."
  type        = string
}

variable "vip" {
  description = "An unused address of the subnet, with the subnet's prefix length."
  type        = string
}

variable "client_cidrs" {
  description = "IPv4 ranges of the clients."
  type        = list(string)
}

variable "image_id" {
  description = "AMI of the nodes. Default: the latest Debian 12."
  type        = string
  default     = null
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
