mock_provider "aws" {}

variables {
  vpc_id       = "vpc-1"
  client_cidrs = ["10.0.0.0/8"]
  wheel        = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
  subnet_id    = "subnet-a"
  vip          = "10.0.0.100/24"
}

run "planned" {
  command = plan

  assert {
    condition     = yamldecode(output.config["n1"]).groups.web.vips == ["10.0.0.100/24"]
    error_message = "It is the VIP."
  }
}
