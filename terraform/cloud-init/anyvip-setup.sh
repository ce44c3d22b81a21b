#!/bin/sh
# Installs anyvip into a virtual environment of its own, looks the node over and starts the daemon. cloud-init runs it at
# the first boot; it may be run again.
# usage: anyvip-setup REQUIREMENT [PIP-ARGUMENT...]
set -eu
venv=/opt/anyvip
config=/etc/anyvip/anyvip.yml
requirement=$1
shift

# The way out (a NAT gateway, say) may be ready later than the node.
fetch() {
  for pause in 5 10 20 40 60 0; do
    "$venv/bin/pip" install --disable-pip-version-check --no-input "$@" && return
    sleep "$pause"
  done
  return 1
}

python3 -m venv "$venv"
fetch "$@" "$requirement"
"$venv/bin/anyvip" check-config --config "$config"
# What is wrong now, such as a permission that is just being granted, may be right soon; the daemon starts all the same.
"$venv/bin/anyvip" doctor --config "$config" || echo "anyvip doctor: failover would not work yet, see above" >&2
systemctl daemon-reload
systemctl enable --now anyvip.service
