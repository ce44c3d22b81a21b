variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "vpc_id" {
  description = "VPC of the nodes."
  type        = string
}

variable "subnet_ids" {
  description = "Two subnets in two zones, with access to the AWS API and to packages."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 2
    error_message = "Name two subnets."
  }
}

variable "route_table_ids" {
  description = "Route tables of all subnets that have clients, in any number."
  type        = list(string)
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
