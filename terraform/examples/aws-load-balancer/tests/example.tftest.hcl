mock_provider "aws" {}

variables {
  vpc_id       = "vpc-1"
  client_cidrs = ["10.0.0.0/8"]
  wheel        = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
  subnet_ids   = ["subnet-a", "subnet-b"]
}

run "planned" {
  command = plan

  assert {
    condition     = yamldecode(output.config["n2"]).groups.web.providers == [{ type = "load_balancer" }]
    error_message = "Nothing is moved."
  }
}

run "internet_facing" {
  command = plan

  variables {
    internet_facing = true
  }
}
