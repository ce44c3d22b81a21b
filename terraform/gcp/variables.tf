variable "name" {
  description = "Name of the cluster, and the begin of every resource's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,21}[a-z0-9]$", var.name))
    error_message = "2 to 23 lower case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

variable "project" {
  description = "Project of all of it. Default: the provider's."
  type        = string
  default     = null
}

variable "region" {
  description = "Region of the nodes."
  type        = string
}

variable "mode" {
  description = "How clients reach the active node. load_balancer: a passthrough network load balancer, internal or external. alias_ip: an address of the subnet that moves. static_ip: a public address that moves. route: an address outside every subnet."
  type        = string

  validation {
    condition     = contains(["load_balancer", "alias_ip", "static_ip", "route"], var.mode)
    error_message = "load_balancer, alias_ip, static_ip or route."
  }
}

variable "network" {
  description = "The VPC network of the nodes, by self link or id."
  type        = string
}

variable "subnetwork" {
  description = "The subnet of the nodes, by self link or id. Nodes without external addresses need Private Google Access on it."
  type        = string
}

variable "labels" {
  description = "Labels of everything that can have some."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete nodes, and the bucket while there is something in it. To destroy them, apply it as false first."
  type        = bool
  default     = true
}

# --- nodes ----------------------------------------------------------------------------------------------------------

variable "nodes" {
  description = "The nodes by name, each in a zone. The healthy one of highest priority takes over first; 0: never active."
  type = map(object({
    zone       = string
    private_ip = optional(string)
    priority   = optional(number, 100)
  }))

  validation {
    condition     = length(var.nodes) >= 2
    error_message = "At least two nodes: one alone cannot fail over."
  }
}

variable "instances" {
  description = "Your own instances by node: name and self link. Each has the outputs user_data, service_account_email and network_tag, and in mode route can_ip_forward. Default: this module makes them."
  type        = map(object({ name = string, self_link = string }))
  default     = null

  validation {
    condition     = var.instances == null || try(toset(keys(var.instances)) == toset(keys(var.nodes)), false)
    error_message = "One instance for each node."
  }
}

variable "image" {
  description = "Image of the nodes that this module makes: Linux 5.16 or later with cloud-init, apt, Python 3.11 and systemd. Google's own Debian images have no cloud-init, Ubuntu's have. A later one replaces no running node."
  type        = string
  default     = "ubuntu-os-cloud/ubuntu-2404-lts-amd64"
}

variable "machine_type" {
  description = "Size of the nodes that this module makes."
  type        = string
  default     = "e2-small"
}

variable "disk_size" {
  description = "Boot disk of the nodes that this module makes, GB."
  type        = number
  default     = 16

  validation {
    condition     = var.disk_size >= 10
    error_message = "At least 10 GB."
  }
}

# --- the service ----------------------------------------------------------------------------------------------------

variable "group" {
  description = "Name of the group: the VIPs that move together. Its probe path is /health/<group>."
  type        = string
  default     = "web"
}

variable "services" {
  description = "What clients connect to on the active node, by name: port and protocol (tcp or udp)."
  type = map(object({
    port     = number
    protocol = optional(string, "tcp")
  }))

  validation {
    condition     = length(var.services) > 0 && alltrue([for service in var.services : contains(["tcp", "udp"], service.protocol)])
    error_message = "At least one service; a protocol is tcp or udp."
  }

  validation {
    condition     = alltrue([for service in var.services : service.port >= 1 && service.port <= 65535])
    error_message = "Ports are from 1 to 65535."
  }
}

variable "client_cidrs" {
  description = "IPv4 ranges of the clients. Nobody else reaches the services."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "IPv4 ranges, such as 10.0.0.0/16."
  }
}

variable "vips" {
  description = "The group's VIPs, each with its prefix length. alias_ip: of the subnet; route: outside every subnet; static_ip, load_balancer: by default the address that this module reserves."
  type        = list(string)
  default     = null

  validation {
    condition     = var.vips != null || contains(["static_ip", "load_balancer"], var.mode)
    error_message = "Required in modes alias_ip and route."
  }
}

variable "provider_options" {
  description = "Further keys of the group's provider (docs/gcp.md), such as interface or range_name."
  type        = any
  default     = {}
}

variable "lease" {
  description = "The `lease` section of the configuration (docs/configuration.md). Seconds; failover takes about duration_seconds. With a bucket as the witness at least 6."
  type = object({
    duration_seconds       = optional(number, 8)
    renew_deadline_seconds = optional(number)
    retry_period_seconds   = optional(number)
    clock_drift            = optional(number)
  })
  default = {}
}

variable "health_port" {
  description = "TCP port of the nodes' health endpoint."
  type        = number
  default     = 9010
}

variable "checks" {
  description = "The group's `checks` (docs/health.md), by name: what must be well for a node to serve."
  type        = any
  default     = {}
}

variable "hooks" {
  description = "The group's `hooks` (docs/health.md): programs to run on promotion and demotion."
  type = object({
    promote         = optional(list(string))
    demote          = optional(list(string))
    timeout_seconds = optional(number)
  })
  default = {}
}

variable "preempt" {
  description = "Whether a node of higher priority takes the group from a healthy active one."
  type        = bool
  default     = false
}

# --- load balancer --------------------------------------------------------------------------------------------------

variable "load_balancer" {
  description = "The load balancer in mode load_balancer: external or internal; the latter with an address of the subnet if you like, and for clients of other regions if you say so."
  type = object({
    external      = optional(bool, false)
    address       = optional(string)
    global_access = optional(bool, false)
  })
  default = {}
}

# --- witness --------------------------------------------------------------------------------------------------------

variable "witness" {
  description = "Where the nodes agree who is active. gcs: a bucket that this module makes; none: `store` says."
  type        = string
  default     = "gcs"

  validation {
    condition     = contains(["gcs", "none"], var.witness)
    error_message = "gcs or none."
  }
}

variable "store" {
  description = "The `store` section of the configuration (docs/stores.md), with witness = \"none\"."
  type        = any
  default     = null

  validation {
    condition     = (var.store != null) == (var.witness == "none")
    error_message = "Required with witness = \"none\", and of no use otherwise."
  }
}

variable "bucket" {
  description = "Name of the bucket, unique in the world. Default: <name>-anyvip-<project>."
  type        = string
  default     = null
}

variable "kms_key" {
  description = "Your Cloud KMS key for the bucket. Default: Google's own, which asks KMS for nothing that could fail."
  type        = string
  default     = null
}

# --- what the nodes run ---------------------------------------------------------------------------------------------

variable "wheel" {
  description = "Where pip finds anyvip's wheel: a URL (https:// or file://) that ends in .whl, with #sha256=… to pin its content."
  type        = string
}

variable "pip_arguments" {
  description = "Further arguments of `pip install`, for example --constraint with a URL, or --no-index and --find-links."
  type        = list(string)
  default     = []
}

variable "packages" {
  description = "Further distribution packages to install on the nodes."
  type        = list(string)
  default     = []
}

variable "files" {
  description = "Further files to write before anyvip starts: hooks, the application's configuration. No secrets: user data can be read on the node and in the account."
  type = list(object({
    path        = string
    content     = string
    permissions = optional(string, "0644")
  }))
  default = []
}

variable "commands" {
  description = "Commands to run before anyvip starts, each a list: the program and its arguments."
  type        = list(list(string))
  default     = []
}
