data "aws_region" "current" {}

locals {
  # The region's attribute is `name` until version 5 and `region` since version 6. Both have the id.
  region = data.aws_region.current.id

  store = {
    dynamodb = { type = "dynamodb", table = "${var.name}-anyvip", region = local.region }
    s3       = { type = "s3", bucket = "${var.name}-anyvip-${data.aws_caller_identity.current.account_id}", region = local.region }
    none     = var.store
  }[var.witness]

  key_use = var.kms_key_arn == null ? [] : [
    { Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.kms_key_arn] },
  ]

  # docs/stores.md explains each permission.
  store_policy = {
    for witness, statements in {
      dynamodb = [
        for table in aws_dynamodb_table.witness : {
          Effect   = "Allow"
          Action   = ["dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"]
          Resource = [table.arn]
        }
      ]
      s3 = flatten([
        for bucket in aws_s3_bucket.witness : [
          { Effect = "Allow", Action = ["s3:ListBucket"], Resource = [bucket.arn] },
          { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], Resource = ["${bucket.arn}/${var.name}/*"] },
        ]
      ])
    } : witness => concat(statements, local.key_use) if witness == var.witness
  }
}

resource "aws_dynamodb_table" "witness" {
  # checkov:skip=CKV_AWS_28:The records live for seconds; docs/stores.md explains why an old copy must not come back.
  # checkov:skip=CKV_AWS_119:A customer key is an option (kms_key_arn), and nothing in it is secret.
  count = var.witness == "dynamodb" ? 1 : 0

  name                        = "${var.name}-anyvip"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "cluster"
  range_key                   = "key"
  deletion_protection_enabled = var.deletion_protection
  tags                        = local.tags

  attribute {
    name = "cluster"
    type = "S"
  }

  attribute {
    name = "key"
    type = "S"
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_s3_bucket" "witness" {
  # checkov:skip=CKV_AWS_18:It would log two requests per second and node; CloudTrail can do so if needed.
  # checkov:skip=CKV_AWS_21:Every renewal would keep a version, so docs/stores.md says to leave versioning off.
  # checkov:skip=CKV_AWS_144:A replica is not consistent, and two buckets can contradict each other.
  # checkov:skip=CKV_AWS_145:A customer key is an option (kms_key_arn), and nothing in it is secret.
  # checkov:skip=CKV2_AWS_62:Nothing listens to its events.
  count = var.witness == "s3" ? 1 : 0

  bucket        = local.store.bucket
  force_destroy = !var.deletion_protection # a bucket in use is not empty, so AWS refuses to delete it
  tags          = local.tags
}

resource "aws_s3_bucket_public_access_block" "witness" {
  count = length(aws_s3_bucket.witness)

  bucket                  = aws_s3_bucket.witness[count.index].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "witness" {
  count = length(aws_s3_bucket.witness)

  bucket = aws_s3_bucket.witness[count.index].id

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

# anyvip deletes what it no longer needs. This removes what a caller's own versioning or a broken upload leaves behind.
resource "aws_s3_bucket_lifecycle_configuration" "witness" {
  count = length(aws_s3_bucket.witness)

  bucket = aws_s3_bucket.witness[count.index].id

  rule {
    id     = "left-over"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }
}
