#!/bin/sh
# Installs anyvip into its own virtual environment, checks the node and starts the daemon. cloud-init runs it at the
# first boot. Running it again is safe.
# usage: anyvip-setup REQUIREMENT [PIP-ARGUMENT...]
set -eu
venv=/opt/anyvip
config=/etc/anyvip/anyvip.yml
requirement=$1
shift

# The way to the internet, such as a NAT gateway, can become ready later than the node.
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
# The daemon starts even if a check fails, because a cause such as a missing permission can go away soon.
"$venv/bin/anyvip" doctor --config "$config" || echo "anyvip doctor: failover would not work yet, see above" >&2
systemctl daemon-reload
systemctl enable --now anyvip.service
