variable "name" {
  description = "Name of the cluster. The name of every resource begins with it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,21}[a-z0-9]$", var.name))
    error_message = "Use 2 to 23 lower case letters, digits and hyphens, with a letter first and no hyphen last."
  }
}

variable "location" {
  description = "Azure region of the nodes."
  type        = string
}

variable "resource_group_name" {
  description = "Resource group of all resources."
  type        = string
}

variable "mode" {
  description = "How clients reach the active node. load_balancer: a Standard Load Balancer. ip_config: a private address that moves between nodes of one subnet. public_ip: a public address that moves. route: an address outside every subnet."
  type        = string

  validation {
    condition     = contains(["load_balancer", "ip_config", "public_ip", "route"], var.mode)
    error_message = "Use load_balancer, ip_config, public_ip or route."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether a lock prevents the deletion of the witness. Making it needs the permission to make locks. Apply false before you destroy the witness."
  type        = bool
  default     = true
}

# --- nodes ----------------------------------------------------------------------------------------------------------

variable "nodes" {
  description = "The nodes by name, each in a subnet and optionally a zone. The healthy node with the highest priority takes over first. Priority 0 means never active."
  type = map(object({
    subnet_id  = string
    zone       = optional(string)
    private_ip = optional(string)
    priority   = optional(number, 100)
  }))

  validation {
    condition     = length(var.nodes) >= 2
    error_message = "Use at least two nodes: a single node cannot fail over."
  }

  validation {
    condition     = var.mode != "ip_config" || length(toset([for node in var.nodes : node.subnet_id])) == 1
    error_message = "In mode ip_config, put all nodes in one subnet: a private address cannot leave it."
  }
}

variable "interfaces" {
  description = "The network interfaces of your own virtual machines by node: id and the name of the primary IP configuration. The machines use the outputs user_data (as custom_data) and identity_id. The interfaces use security_group_id, and in mode route they have IP forwarding. Default: this module makes all of them."
  type = map(object({
    id               = string
    ip_configuration = optional(string, "primary")
  }))
  default = null

  validation {
    condition     = var.interfaces == null || try(toset(keys(var.interfaces)) == toset(keys(var.nodes)), false)
    error_message = "Name one network interface for each node."
  }
}

variable "image" {
  description = "Image of the nodes that this module makes: Linux 5.16 or later with cloud-init, apt, Python 3.11 and systemd. A new value does not replace running nodes."
  type        = object({ publisher = string, offer = string, sku = string, version = optional(string, "latest") })
  default     = { publisher = "Debian", offer = "debian-12", sku = "12-gen2" }
}

variable "size" {
  description = "Size of the nodes that this module makes."
  type        = string
  default     = "Standard_B2s"
}

variable "admin_username" {
  description = "User name of the administrator of the nodes that this module makes."
  type        = string
  default     = "azureuser"
}

variable "ssh_public_key" {
  description = "The administrator's public key, which the nodes that this module makes need. There are no passwords."
  type        = string
  default     = null

  validation {
    condition     = var.interfaces != null || var.ssh_public_key != null
    error_message = "Set it, unless `interfaces` is set."
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
  description = "The group's VIPs, each with its prefix length. ip_config: addresses of the nodes' subnet. route: addresses outside every subnet. public_ip, load_balancer: by default the address that this module makes."
  type        = list(string)
  default     = null

  validation {
    condition     = var.vips != null || contains(["public_ip", "load_balancer"], var.mode)
    error_message = "Set it in modes ip_config and route."
  }
}

variable "public_ip_id" {
  description = "Mode public_ip: id of your own static public address, which is also in `vips`. Default: this module makes one."
  type        = string
  default     = null

  validation {
    condition     = var.public_ip_id == null || var.vips != null
    error_message = "Set `vips` to its address with /32."
  }
}

variable "route_tables" {
  description = "Mode route: ids of the route tables that lead to the VIPs. anyvip makes the routes. Declare no inline routes (`azurerm_route_table.route`) for these tables, because they would delete anyvip's routes."
  type        = list(string)
  default     = []

  validation {
    condition     = (length(var.route_tables) > 0) == (var.mode == "route")
    error_message = "Set it in mode route, and only then."
  }
}

variable "role_scopes" {
  description = "Ids of further resource groups or resources on which the nodes need their role, such as subnets, security groups or route tables elsewhere."
  type        = list(string)
  default     = []
}

variable "provider_options" {
  description = "Further keys of the group's provider (docs/azure.md), such as interface or cloud."
  type        = any
  default     = {}
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

# --- load balancer --------------------------------------------------------------------------------------------------

variable "load_balancer" {
  description = "The load balancer in mode load_balancer: public, or internal with an address of a subnet (by default the first node's). floating_ip: packets keep the load balancer's address as their destination. It cannot be changed later."
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
    error_message = "Set private_ip for an internal load balancer: it is the group's VIP."
  }
}

# --- witness --------------------------------------------------------------------------------------------------------

variable "witness" {
  description = "The store in which the nodes agree on the active node. azure_blob: a storage account that this module makes. none: the store in `store`."
  type        = string
  default     = "azure_blob"

  validation {
    condition     = contains(["azure_blob", "none"], var.witness)
    error_message = "Use azure_blob or none."
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

variable "storage_account" {
  description = "Globally unique name of the storage account: 3 to 24 lower case letters and digits. Default: derived from the name and the resource group."
  type        = string
  default     = null

  validation {
    condition     = var.storage_account == null || can(regex("^[a-z0-9]{3,24}$", var.storage_account))
    error_message = "Use 3 to 24 lower case letters and digits."
  }
}

variable "storage_subnet_ids" {
  description = "The only subnets that can reach the storage account, preferably those of the nodes. They need the service endpoint Microsoft.Storage. Empty: its firewall is open, and only the nodes' identity gives access."
  type        = list(string)
  default     = []
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
