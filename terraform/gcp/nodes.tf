resource "google_compute_instance" "node" {
  # checkov:skip=CKV_GCP_38:A customer key is the organisation's choice, and Google always encrypts the disk.
  # checkov:skip=CKV_GCP_36:Only in mode route, because a VIP that is routed here is not an address of the interface.
  for_each = var.instances == null ? var.nodes : {}

  name                      = "${var.name}-${each.key}"
  project                   = local.project
  zone                      = each.value.zone
  machine_type              = var.machine_type
  can_ip_forward            = var.mode == "route" # a VIP that is routed here is not an address of the interface
  deletion_protection       = var.deletion_protection
  allow_stopping_for_update = false
  tags                      = [local.tag]
  labels                    = local.labels

  boot_disk {
    initialize_params {
      image = var.image
      size  = var.disk_size
    }
  }

  network_interface {
    subnetwork = var.subnetwork
    network_ip = each.value.private_ip
  }

  metadata = {
    user-data              = module.cloud_init.user_data[each.key]
    block-project-ssh-keys = "true"
    enable-oslogin         = "TRUE"
  }

  service_account {
    email  = google_service_account.node.email
    scopes = ["cloud-platform"] # its roles limit what it is allowed to do
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  # Stopping a node causes a failover, so Google moves the machine live.
  scheduling {
    automatic_restart   = true
    on_host_maintenance = "MIGRATE"
  }

  lifecycle {
    # anyvip moves alias ranges and external addresses. One apply must not touch all nodes at the same time (README).
    ignore_changes = [
      boot_disk[0].initialize_params[0].image,
      metadata["user-data"],
      network_interface[0].access_config,
      network_interface[0].alias_ip_range,
    ]
  }
}
