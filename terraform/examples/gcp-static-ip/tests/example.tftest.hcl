mock_provider "google" {
  mock_resource "google_compute_address" {
    defaults = { address = "203.0.113.7" }
  }
}

variables {
  project      = "shop-1"
  network      = "projects/shop-1/global/networks/shop"
  subnetwork   = "projects/shop-1/regions/europe-west3/subnetworks/nodes"
  client_cidrs = ["10.0.0.0/8"]
  wheel        = "https://packages.example/anyvip-0.1.0-py3-none-any.whl"

}

run "stands" {
  assert {
    condition     = length(module.anyvip.instances) == 2
    error_message = "Two nodes."
  }
}
