variable "name" {
  description = "Name of the cluster. The name of every resource begins with it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,21}[a-z0-9]$", var.name))
    error_message = "Use 2 to 23 lower case letters, digits and hyphens, with a letter first and no hyphen last."
  }
}

variable "project" {
  description = "Project of all resources. Default: that of the Terraform provider."
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
    error_message = "Use load_balancer, alias_ip, static_ip or route."
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
  description = "Labels of every resource that can have labels."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the nodes, and the bucket unless it is empty. Apply false before you destroy them."
  type        = bool
  default     = true
}

# --- nodes ----------------------------------------------------------------------------------------------------------

variable "nodes" {
  description = "The nodes by name, each in a zone. The healthy node with the highest priority takes over first. Priority 0 means never active."
  type = map(object({
    zone       = string
    private_ip = optional(string)
    priority   = optional(number, 100)
  }))

  validation {
    condition     = length(var.nodes) >= 2
    error_message = "Use at least two nodes: a single node cannot fail over."
  }
}

variable "instances" {
  description = "Your own instances by node: name and self link. They use the outputs user_data, service_account_email and network_tag, and in mode route can_ip_forward. Default: this module makes the instances."
  type        = map(object({ name = string, self_link = string }))
  default     = null

  validation {
    condition     = var.instances == null || try(toset(keys(var.instances)) == toset(keys(var.nodes)), false)
    error_message = "Name one instance for each node."
  }
}

variable "image" {
  description = "Image of the nodes that this module makes: Linux 5.16 or later with cloud-init, apt, Python 3.11 and systemd. Google's Debian images have no cloud-init, Ubuntu's have it. A new value does not replace running nodes."
  type        = string
  default     = "ubuntu-os-cloud/ubuntu-2404-lts-amd64"
}

variable "machine_type" {
  description = "Size of the nodes that this module makes."
  type        = string
  default     = "e2-small"
}

variable "disk_size" {
  description = "Size of the boot disk of the nodes that this module makes, in GB."
  type        = number
  default     = 16

  validation {
    condition     = var.disk_size >= 10
    error_message = "Use at least 10 GB."
  }
}

# --- the service ----------------------------------------------------------------------------------------------------

variable "group" {
  description = "Name of the group: the VIPs that move together. Its probe path is /health/<group>."
  type        = string
  default     = "web"
}

variable "services" {
  description = "The services that clients connect to on the active node, by name: port and protocol (tcp or udp)."
  type = map(object({
    port     = number
    protocol = optional(string, "tcp")
  }))

  validation {
    condition     = length(var.services) > 0 && alltrue([for service in var.services : contains(["tcp", "udp"], service.protocol)])
    error_message = "Use at least one service, with protocol tcp or udp."
  }

  validation {
    condition     = alltrue([for service in var.services : service.port >= 1 && service.port <= 65535])
    error_message = "Use ports from 1 to 65535."
  }
}

variable "client_cidrs" {
  description = "IPv4 ranges of the clients. Other addresses cannot reach the services."
  type        = list(string)

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "Use IPv4 ranges, such as 10.0.0.0/16."
  }
}

variable "vips" {
  description = "The group's VIPs, each with its prefix length. alias_ip: addresses of the subnet. route: addresses outside every subnet. static_ip, load_balancer: by default the address that this module reserves."
  type        = list(string)
  default     = null

  validation {
    condition     = var.vips != null || contains(["static_ip", "load_balancer"], var.mode)
    error_message = "Set it in modes alias_ip and route."
  }
}

variable "provider_options" {
  description = "Further keys of the group's provider (docs/gcp.md), such as interface or range_name."
  type        = any
  default     = {}
}

variable "lease" {
  description = "The `lease` section of the configuration (docs/configuration.md), in seconds. A failover takes about duration_seconds. With a bucket as the witness, use at least 6."
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
  description = "The group's `checks` (docs/health.md), by name. A node serves only while they pass."
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
  description = "Whether a node with a higher priority takes the group from a healthy active node."
  type        = bool
  default     = false
}

# --- load balancer --------------------------------------------------------------------------------------------------

variable "load_balancer" {
  description = "The load balancer in mode load_balancer: external or internal. An internal one can have a fixed address of the subnet, and serves clients in other regions with global_access."
  type = object({
    external      = optional(bool, false)
    address       = optional(string)
    global_access = optional(bool, false)
  })
  default = {}
}

# --- witness --------------------------------------------------------------------------------------------------------

variable "witness" {
  description = "The store in which the nodes agree on the active node. gcs: a bucket that this module makes. none: the store in `store`."
  type        = string
  default     = "gcs"

  validation {
    condition     = contains(["gcs", "none"], var.witness)
    error_message = "Use gcs or none."
  }
}

variable "store" {
  description = "The `store` section of the configuration (docs/stores.md), with witness = \"none\"."
  type        = any
  default     = null

  validation {
    condition     = (var.store != null) == (var.witness == "none")
    error_message = "Set it with witness = \"none\", and only then."
  }
}

variable "bucket" {
  description = "Globally unique name of the bucket. Default: <name>-anyvip-<project>."
  type        = string
  default     = null
}

variable "kms_key" {
  description = "Your Cloud KMS key for the bucket. Default: Google's own key, which does not depend on calls to KMS."
  type        = string
  default     = null
}

# --- what the nodes run ---------------------------------------------------------------------------------------------

variable "wheel" {
  description = "URL of anyvip's wheel for pip (https:// or file://), which ends in .whl. Add #sha256=… to pin its content."
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
  description = "Further files to write before anyvip starts: hooks, the application's configuration. Put no secrets in them: user data is readable on the node and in the account."
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
