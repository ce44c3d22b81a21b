locals {
  lease = { for key, value in var.lease : key => value if value != null }
  hooks = { for key, value in var.hooks : key => value if value != null }

  config = {
    for name, node in var.nodes : name => {
      cluster = var.cluster
      node    = name
      store   = var.store
      lease   = local.lease
      health  = { listen = ["0.0.0.0:${var.health_port}", "[::]:${var.health_port}"] }
      groups = {
        (var.group) = {
          vips      = var.vips
          priority  = node.priority
          preempt   = var.preempt
          providers = var.group_providers[name]
          checks    = var.checks
          hooks     = local.hooks
        }
      }
    }
  }

  extras      = length(var.extras) == 0 ? "" : "[${join(",", var.extras)}]"
  requirement = "anyvip${local.extras} @ ${var.wheel}"

  cloud_config = {
    for name, config in local.config : name => {
      package_update = true
      packages       = concat(["python3-venv"], var.packages)
      write_files = concat(
        [
          # The daemon runs as its own user and must read the file, which contains no secrets.
          { path = "/etc/anyvip/anyvip.yml", content = yamlencode(config), permissions = "0644" },
          { path = "/etc/systemd/system/anyvip.service", content = file("${path.module}/../../packaging/anyvip.service"), permissions = "0644" },
          { path = "/usr/local/sbin/anyvip-setup", content = file("${path.module}/anyvip-setup.sh"), permissions = "0755" },
        ],
        var.files,
      )
      runcmd = concat(var.commands, [concat(["/usr/local/sbin/anyvip-setup", local.requirement], var.pip_arguments)])
    }
  }
}
