variable "name" {
  description = "Name of the cluster, and the begin of every resource's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,21}[a-z0-9]$", var.name))
    error_message = "2 to 23 lower case letters, digits and hyphens; a letter first, no hyphen last."
  }
}

variable "location" {
  description = "Azure region of the nodes."
  type        = string
}

variable "resource_group_name" {
  description = "The resource group of everything."
  type        = string
}

variable "mode" {
  description = "How clients reach the active node. load_balancer: a Standard Load Balancer. ip_config: a private address that moves between nodes of one subnet. public_ip: a public address that moves. route: an address outside every subnet."
  type        = string

  validation {
    condition     = contains(["load_balancer", "ip_config", "public_ip", "route"], var.mode)
    error_message = "load_balancer, ip_config, public_ip or route."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether a lock keeps the witness from being deleted; it takes the right to make locks. To destroy it, apply it as false first."
  type        = bool
  default     = true
}

# --- nodes ----------------------------------------------------------------------------------------------------------

variable "nodes" {
  description = "The nodes by name, each in a subnet and, if you like, a zone. The healthy one of highest priority takes over first; 0: never active."
  type = map(object({
    subnet_id  = string
    zone       = optional(string)
    private_ip = optional(string)
    priority   = optional(number, 100)
  }))

  validation {
    condition     = length(var.nodes) >= 2
    error_message = "At least two nodes: one alone cannot fail over."
  }

  validation {
    condition     = var.mode != "ip_config" || length(toset([for node in var.nodes : node.subnet_id])) == 1
    error_message = "In mode ip_config all nodes are in one subnet: a private address cannot leave it."
  }
}

variable "interfaces" {
  description = "The network interfaces of your own virtual machines by node: id, and the name of the primary IP configuration. The machines have the outputs user_data (as custom_data) and identity_id, the interfaces security_group_id, and in mode route IP forwarding. Default: this module makes all of it."
  type = map(object({
    id               = string
    ip_configuration = optional(string, "primary")
  }))
  default = null

  validation {
    condition     = var.interfaces == null || try(toset(keys(var.interfaces)) == toset(keys(var.nodes)), false)
    error_message = "One network interface for each node."
  }
}

variable "image" {
  description = "Image of the nodes that this module makes: Linux 5.16 or later with cloud-init, apt, Python 3.11 and systemd. A later one replaces no running node."
  type        = object({ publisher = string, offer = string, sku = string, version = optional(string, "latest") })
  default     = { publisher = "Debian", offer = "debian-12", sku = "12-gen2" }
}

variable "size" {
  description = "Size of the nodes that this module makes."
  type        = string
  default     = "Standard_B2s"
}

variable "admin_username" {
  description = "Administrator of the nodes that this module makes."
  type        = string
  default     = "azureuser"
}

variable "ssh_public_key" {
  description = "The administrator's public key; there are no passwords. Required for nodes that this module makes."
  type        = string
  default     = null

  validation {
    condition     = var.interfaces != null || var.ssh_public_key != null
    error_message = "Required, unless the network interfaces are given."
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
  description = "The group's VIPs, each with its prefix length. ip_config: of the nodes' subnet; route: outside every subnet; public_ip, load_balancer: by default the address that this module makes."
  type        = list(string)
  default     = null

  validation {
    condition     = var.vips != null || contains(["public_ip", "load_balancer"], var.mode)
    error_message = "Required in modes ip_config and route."
  }
}

variable "public_ip_id" {
  description = "Mode public_ip: your own static public address, with the same in vips. Default: this module makes one."
  type        = string
  default     = null

  validation {
    condition     = var.public_ip_id == null || var.vips != null
    error_message = "Its address is needed as the VIP, with /32."
  }
}

variable "route_tables" {
  description = "Mode route: ids of the route tables that lead to the VIPs. anyvip makes the routes: declare no inline routes (`azurerm_route_table.route`) for these tables, they would delete them."
  type        = list(string)
  default     = []

  validation {
    condition     = (length(var.route_tables) > 0) == (var.mode == "route")
    error_message = "Required in mode route, and of no use in others."
  }
}

variable "role_scopes" {
  description = "Ids of further resource groups or resources that the nodes need their role on: of subnets, security groups or route tables that are elsewhere."
  type        = list(string)
  default     = []
}

variable "provider_options" {
  description = "Further keys of the group's provider (docs/azure.md), such as interface or cloud."
  type        = any
  default     = {}
}

variable "lease" {
  description = "The `lease` section of the configuration (docs/configuration.md). Seconds; failover takes about duration_seconds."
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
  description = "The load balancer in mode load_balancer: public, or internal with an address of a subnet (by default the first node's). floating_ip: packets keep the load balancer's address as their destination; it cannot be changed later."
  type = object({
    public      = optional(bool, false)
    subnet_id   = optional(string)
    private_ip  = optional(string)
    floating_ip = optional(bool, false)
    zones       = optional(list(string), ["1", "2", "3"])
  })
  default = {}

  validation {
    condition     = var.mode != "load_balancer" || var.load_balancer.public || var.load_balancer.private_ip != null
    error_message = "An internal load balancer needs a private_ip: the group's VIP."
  }
}

# --- witness --------------------------------------------------------------------------------------------------------

variable "witness" {
  description = "Where the nodes agree who is active. azure_blob: a storage account that this module makes; none: `store` says."
  type        = string
  default     = "azure_blob"

  validation {
    condition     = contains(["azure_blob", "none"], var.witness)
    error_message = "azure_blob or none."
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

variable "storage_account" {
  description = "Name of the storage account, unique in the world: 3 to 24 lower case letters and digits. Default: made of the name and the resource group."
  type        = string
  default     = null

  validation {
    condition     = var.storage_account == null || can(regex("^[a-z0-9]{3,24}$", var.storage_account))
    error_message = "3 to 24 lower case letters and digits."
  }
}

variable "storage_subnet_ids" {
  description = "Subnets (with the service endpoint Microsoft.Storage) that alone may reach the storage account; best those of the nodes. Empty: its firewall is open, and only the nodes' identity opens it."
  type        = list(string)
  default     = []
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
