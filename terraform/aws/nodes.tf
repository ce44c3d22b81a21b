data "aws_ami" "debian" {
  count = var.instances == null && var.image_id == null ? 1 : 0

  most_recent = true
  owners      = ["136693071363"] # Debian: wiki.debian.org/Cloud/AmazonEC2Image

  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

resource "aws_instance" "node" {
  # checkov:skip=CKV_AWS_126:Detailed monitoring costs extra and has no use here, because anyvip has its own metrics.
  for_each = var.instances == null ? var.nodes : {}

  ami                         = coalesce(var.image_id, one(data.aws_ami.debian[*].id))
  instance_type               = var.instance_type
  subnet_id                   = each.value.subnet_id
  private_ip                  = each.value.private_ip
  vpc_security_group_ids      = concat([aws_security_group.nodes.id], var.security_group_ids)
  iam_instance_profile        = aws_iam_instance_profile.node.name
  placement_group             = var.placement_group
  user_data                   = module.cloud_init.user_data[each.key]
  user_data_replace_on_change = false
  ebs_optimized               = true
  source_dest_check           = var.mode != "route" # a VIP that is routed here is not an address of the interface
  tags                        = merge(local.tags, { Name = "${var.name}-${each.key}" })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    volume_size = var.volume_size
    volume_type = "gp3"
    tags        = local.tags
  }

  lifecycle {
    # Otherwise one apply would stop or replace all nodes at the same time. Replace them one by one (README).
    ignore_changes = [ami, user_data]
  }
}
