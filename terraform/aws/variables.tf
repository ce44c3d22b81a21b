variable "name" {
  description = "Name of the cluster. The name of every resource begins with it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,21}[a-z0-9]$", var.name))
    error_message = "Use 2 to 23 lower case letters, digits and hyphens, with a letter first and no hyphen last."
  }
}

variable "mode" {
  description = "How clients reach the active node. load_balancer: an NLB. secondary_ip: a private address that moves between nodes of one subnet. elastic_ip: a public address that moves. route: an address outside the VPC, across zones."
  type        = string

  validation {
    condition     = contains(["load_balancer", "secondary_ip", "elastic_ip", "route"], var.mode)
    error_message = "Use load_balancer, secondary_ip, elastic_ip or route."
  }
}

variable "vpc_id" {
  description = "The VPC of the nodes."
  type        = string
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the witness and the load balancer. Apply false before you destroy them."
  type        = bool
  default     = true
}

# --- nodes ---------------------------------------------------------------------------------------------------------

variable "nodes" {
  description = "The nodes by name, each in a subnet. The healthy node with the highest priority takes over first. Priority 0 means never active."
  type = map(object({
    subnet_id  = string
    private_ip = optional(string)
    priority   = optional(number, 100)
  }))

  validation {
    condition     = length(var.nodes) >= 2
    error_message = "Use at least two nodes: a single node cannot fail over."
  }

  validation {
    condition     = var.mode != "secondary_ip" || length(toset([for node in var.nodes : node.subnet_id])) == 1
    error_message = "In mode secondary_ip, put all nodes in one subnet: a private address cannot leave it."
  }
}

variable "instances" {
  description = "Your own instances by node. They use the outputs user_data, instance_profile_name and security_group_id, and in mode route they have no source/destination check. network_interface_id: the interface that addresses move to. Default: this module makes the instances."
  type = map(object({
    instance_id          = string
    network_interface_id = optional(string, "*")
  }))
  default = null

  validation {
    condition     = var.instances == null || try(toset(keys(var.instances)) == toset(keys(var.nodes)), false)
    error_message = "Name one instance for each node."
  }
}

variable "image_id" {
  description = "AMI of the nodes that this module makes: Linux 5.16 or later with cloud-init, apt, Python 3.11 and systemd. Default: the latest Debian 12. A new value does not replace running nodes."
  type        = string
  default     = null
}

variable "instance_type" {
  description = "Size of the nodes that this module makes."
  type        = string
  default     = "t3.small"
}

variable "volume_size" {
  description = "Size of the root volume of the nodes that this module makes, in GiB. It is encrypted."
  type        = number
  default     = 16

  validation {
    condition     = var.volume_size >= 8
    error_message = "Use at least 8 GiB."
  }
}

variable "placement_group" {
  description = "Name of a placement group for the nodes that this module makes. With strategy `spread`, nodes of one subnet are in different racks."
  type        = string
  default     = null
}

variable "security_group_ids" {
  description = "Further security groups of the nodes that this module makes, for the traffic of your application."
  type        = list(string)
  default     = []
}

variable "egress_cidrs" {
  description = "IPv4 ranges that nodes are allowed to connect to, on TCP 443 and 80: AWS's API, packages, the wheel. With VPC endpoints and a mirror they can be smaller."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = alltrue([for cidr in var.egress_cidrs : can(cidrnetmask(cidr))])
    error_message = "Use IPv4 ranges, such as 10.0.0.0/16."
  }
}

# --- the service ---------------------------------------------------------------------------------------------------

variable "group" {
  description = "Name of the group: the VIPs that move together. Its probe path is /health/<group>."
  type        = string
  default     = "web"
}

variable "vips" {
  description = "The group's VIPs, each with its prefix length. secondary_ip: addresses of the nodes' subnet. route: addresses outside the VPC. elastic_ip: your Elastic IPs with /32, by default one that this module makes. load_balancer: the NLB's own addresses or any others, because the nodes do not have them."
  type        = list(string)
  default     = null

  validation {
    condition     = var.vips != null || var.mode == "elastic_ip"
    error_message = "Set it, except in mode elastic_ip."
  }
}

variable "route_tables" {
  description = "Mode route: ids of the route tables that lead to the VIPs. anyvip makes the routes. Declare no inline routes (`aws_route_table.route`) for these tables, because they would delete anyvip's routes."
  type        = list(string)
  default     = []

  validation {
    condition     = (length(var.route_tables) > 0) == (var.mode == "route")
    error_message = "Set it in mode route, and only then."
  }
}

variable "provider_options" {
  description = "Further keys of the group's provider (docs/aws.md), such as interface or role_arn."
  type        = any
  default     = {}
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

# --- load balancer -------------------------------------------------------------------------------------------------

variable "load_balancer" {
  description = "The NLB and its subnets, one in each zone of the nodes. A subnet can have a fixed private address (internal) or an Elastic IP's allocation (internet-facing)."
  type = object({
    internet_facing = optional(bool, false)
    subnets = list(object({
      subnet_id            = string
      private_ipv4_address = optional(string)
      allocation_id        = optional(string)
    }))
  })
  default = null

  validation {
    condition     = (var.load_balancer != null) == (var.mode == "load_balancer")
    error_message = "Set it in mode load_balancer, and only then."
  }
}

# --- witness -------------------------------------------------------------------------------------------------------

variable "witness" {
  description = "The store in which the nodes agree on the active node. dynamodb, s3: a table or a bucket that this module makes. none: the store in `store`."
  type        = string
  default     = "dynamodb"

  validation {
    condition     = contains(["dynamodb", "s3", "none"], var.witness)
    error_message = "Use dynamodb, s3 or none."
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

variable "kms_key_arn" {
  description = "Your KMS key for the witness. Default: AWS's own key, which does not depend on calls to KMS."
  type        = string
  default     = null
}

# --- what the nodes run --------------------------------------------------------------------------------------------

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
