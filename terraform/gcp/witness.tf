locals {
  bucket = coalesce(var.bucket, "${var.name}-anyvip-${local.project}")

  store = {
    gcs  = { type = "gcs", bucket = local.bucket }
    none = var.store
  }[var.witness]
}

resource "google_storage_bucket" "witness" {
  # checkov:skip=CKV_GCP_62:It would log every renewal; audit logs can do so if needed.
  # checkov:skip=CKV_GCP_78:Every renewal would keep a version.
  count = var.witness == "gcs" ? 1 : 0

  name                        = local.bucket
  project                     = local.project
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection
  labels                      = local.labels

  # Soft delete is off, because it would keep every renewal for a week.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  versioning {
    enabled = false
  }

  # Removes what a caller's own versioning leaves behind.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 1
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key[*]

    content {
      default_kms_key_name = encryption.value
    }
  }
}

# docs/stores.md explains each permission.
resource "google_project_iam_custom_role" "store" {
  count = length(google_storage_bucket.witness)

  project     = local.project
  role_id     = "${local.role_id}_store"
  title       = "anyvip: gcs (${var.name})"
  description = "Reads and writes the records of the nodes."
  permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list", "storage.objects.update"]
}

resource "google_storage_bucket_iam_member" "store" {
  count = length(google_storage_bucket.witness)

  bucket = google_storage_bucket.witness[count.index].name
  role   = google_project_iam_custom_role.store[count.index].name
  member = google_service_account.node.member
}
