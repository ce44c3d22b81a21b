resource "google_service_account" "node" {
  project      = local.project
  account_id   = "${var.name}-node"
  display_name = "Nodes of the anyvip cluster ${var.name}"
}

locals {
  # The provider is tested with the same role.
  role    = jsondecode(file("${path.module}/policies/${var.mode}.json"))
  role_id = replace("anyvip_${var.name}", "-", "_")
}

resource "google_project_iam_custom_role" "move" {
  project     = local.project
  role_id     = local.role_id
  title       = "${local.role.title} (${var.name})"
  description = local.role.description
  permissions = local.role.includedPermissions
}

resource "google_project_iam_member" "move" {
  project = local.project
  role    = google_project_iam_custom_role.move.name
  member  = google_service_account.node.member
}
