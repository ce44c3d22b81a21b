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
  description = "Two subnets in two zones, with a way to the AWS API and to the packages."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) == 2
    error_message = "Two subnets."
  }
}

variable "route_table_ids" {
  description = "The route tables of all subnets that clients are in; any number."
  type        = list(string)
}

variable "client_cidrs" {
  description = "Who may use the service."
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
  description = "False before `terraform destroy`."
  type        = bool
  default     = true
}
