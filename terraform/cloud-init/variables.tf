variable "cluster" {
  description = "Name of the cluster, the same on all its nodes and unique in the store."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$", var.cluster))
    error_message = "Use 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends."
  }
}

variable "nodes" {
  description = "The nodes by name. The healthy node with the highest priority takes over first. Priority 0 means never active."
  type        = map(object({ priority = optional(number, 100) }))

  validation {
    condition     = length(var.nodes) >= 2
    error_message = "Use at least two nodes: a single node cannot fail over."
  }

  validation {
    condition     = alltrue([for node in var.nodes : node.priority >= 0 && node.priority <= 255 && floor(node.priority) == node.priority])
    error_message = "Use a whole number from 0 to 255 as a priority."
  }
}

variable "store" {
  description = "The `store` section of the configuration (docs/stores.md): `type` and its keys. The same for all nodes."
  type        = any

  validation {
    condition     = can(tostring(var.store.type))
    error_message = "Set `type` in the store."
  }
}

variable "lease" {
  description = "The `lease` section of the configuration (docs/configuration.md), in seconds. A failover takes about duration_seconds."
  type = object({
    duration_seconds       = optional(number, 5)
    renew_deadline_seconds = optional(number)
    retry_period_seconds   = optional(number)
    clock_drift            = optional(number)
  })
  default = {}
}

variable "health_port" {
  description = "TCP port of the health endpoint, on all IPv4 and IPv6 addresses of the node."
  type        = number
  default     = 9010

  validation {
    condition     = var.health_port >= 1 && var.health_port <= 65535
    error_message = "Use a TCP port from 1 to 65535."
  }
}

variable "group" {
  description = "Name of the group: the VIPs that move together. Its probe path is /health/<group>."
  type        = string
  default     = "web"

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$", var.group))
    error_message = "Use 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends."
  }
}

variable "vips" {
  description = "The group's VIPs, each with its prefix length."
  type        = list(string)

  validation {
    condition     = length(var.vips) > 0 && alltrue([for vip in var.vips : can(cidrhost(vip, 0))])
    error_message = "Use at least one IPv4 or IPv6 address, each with its prefix length, such as 10.0.0.5/24."
  }
}

variable "group_providers" {
  description = "The group's `providers` by node. They make the VIPs lead to that node when it is active."
  type        = any

  validation {
    condition     = toset(keys(var.group_providers)) == toset(keys(var.nodes))
    error_message = "Set a list of providers for each node."
  }
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

variable "wheel" {
  description = "URL of anyvip's wheel for pip (https:// or file://), which ends in .whl. Add #sha256=… to pin its content."
  type        = string

  validation {
    condition     = can(regex("^(https|file)://[^#\\s]+\\.whl(\\?[^#\\s]*)?(#sha256=[0-9a-f]{64})?$", var.wheel))
    error_message = "Use an https:// or file:// URL of a .whl file, optionally followed by #sha256=<64 hexadecimal digits>."
  }
}

variable "extras" {
  description = "Extras of the wheel to install: the cloud's SDK (aws, azure, gcp)."
  type        = list(string)
  default     = []
}

variable "pip_arguments" {
  description = "Further arguments of `pip install`, for example --constraint with a URL, or --no-index and --find-links."
  type        = list(string)
  default     = []
}

variable "packages" {
  description = "Further distribution packages to install."
  type        = list(string)
  default     = []
}

variable "files" {
  description = "Further files to write before anyvip starts: hooks, the application's configuration. Put no secrets in them: user data is readable on the node and in the cloud's console."
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
