mock_provider "aws" {}

variables {
  vpc_id          = "vpc-1"
  client_cidrs    = ["10.0.0.0/8"]
  wheel           = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"
  subnet_ids      = ["subnet-a", "subnet-b"]
  route_table_ids = ["rtb-1", "rtb-2"]
}

run "planned" {
  command = plan

  assert {
    condition     = length(output.user_data) == 2
    error_message = "Two nodes."
  }
}
