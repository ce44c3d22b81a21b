variables {
  cluster = "shop"
  nodes   = { n1 = { priority = 120 }, n2 = {} }
  store   = { type = "etcd", endpoints = ["http://10.77.0.9:2379"] }
  vips    = ["10.77.0.100/24"]
  group_providers = {
    n1 = [{ type = "baremetal", interface = "eth0" }]
    n2 = [{ type = "baremetal", interface = "eth0" }]
  }
  checks = { app = { type = "tcp", target = "127.0.0.1:80" } }
  hooks  = { promote = ["/usr/local/bin/start-app"] }
  wheel  = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
  extras = ["aws"]
  files  = [{ path = "/usr/local/bin/start-app", content = "#!/bin/sh\n", permissions = "0755" }]
}

run "each_node_has_its_own_configuration" {
  command = plan

  assert {
    condition     = yamldecode(output.config["n1"]).node == "n1" && yamldecode(output.config["n2"]).node == "n2"
    error_message = "A node's name is its own."
  }

  assert {
    condition     = yamldecode(output.config["n1"]).groups.web.priority == 120 && yamldecode(output.config["n2"]).groups.web.priority == 100
    error_message = "A node's priority is its own."
  }

  assert {
    condition     = yamldecode(output.config["n1"]).lease == { duration_seconds = 5 } && yamldecode(output.config["n1"]).groups.web.hooks == { promote = ["/usr/local/bin/start-app"] }
    error_message = "What is not given is not written: null is no value there."
  }
}

run "the_wheel_is_installed_with_what_the_cloud_needs" {
  command = plan

  variables {
    pip_arguments = ["--no-index", "--find-links", "/srv/wheels"]
    commands      = [["systemctl", "enable", "app"]]
  }

  assert {
    condition = yamldecode(output.user_data["n1"]).runcmd == [
      ["systemctl", "enable", "app"],
      ["/usr/local/sbin/anyvip-setup", "anyvip[aws] @ https://packages.example/anyvip-0.1.0-py3-none-any.whl", "--no-index", "--find-links", "/srv/wheels"],
    ]
    error_message = "Commands of one's own first, then the installation."
  }

  assert {
    condition     = startswith(output.user_data["n1"], "#cloud-config\n")
    error_message = "cloud-init knows it by its first line."
  }

  assert {
    condition     = [for file in yamldecode(output.user_data["n1"]).write_files : file.path if file.permissions == "0755"] == ["/usr/local/sbin/anyvip-setup", "/usr/local/bin/start-app"]
    error_message = "Files of one's own are written, too."
  }
}

run "refuses_one_node" {
  command = plan

  variables {
    nodes           = { n1 = {} }
    group_providers = { n1 = [] }
  }

  expect_failures = [var.nodes]
}

run "refuses_a_vip_without_prefix_length" {
  command = plan

  variables {
    vips = ["10.77.0.100"]
  }

  expect_failures = [var.vips]
}

run "refuses_a_wheel_over_plain_http" {
  command = plan

  variables {
    wheel = "http://packages.example/anyvip-0.1.0-py3-none-any.whl"
  }

  expect_failures = [var.wheel]
}

run "refuses_a_node_without_providers" {
  command = plan

  variables {
    group_providers = { n1 = [] }
  }

  expect_failures = [var.group_providers]
}

run "refuses_a_store_without_type" {
  command = plan

  variables {
    store = { endpoints = [] }
  }

  expect_failures = [var.store]
}
