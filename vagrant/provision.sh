#!/usr/bin/env bash
# Inside the virtual machine, as root: set up, bring the lab up, let the host reach it, run the demo.
# usage: provision.sh LAB-FILE [DEMO-LINES]
set -euo pipefail

lab_file=$1
read -r -a lines <<<"${2:-}"
cd /meshnet

netns_lab/setup.sh
# The machine has one lab, whichever its file: provisioning with another file replaces it.
export MESHNET_LAB=mesh
meshnet lab up --name "$MESHNET_LAB" -f "$lab_file"
eval "$(meshnet lab env)"

# The guest's ports 8080 and 8081, which Vagrant forwards, lead to the lab's ingress and API.
forward() {
    local name=$1 port=$2 target=$3
    cat >"/etc/systemd/system/meshnet-$name.socket" <<UNIT
[Socket]
ListenStream=$port
[Install]
WantedBy=sockets.target
UNIT
    cat >"/etc/systemd/system/meshnet-$name.service" <<UNIT
[Service]
ExecStart=/lib/systemd/systemd-socket-proxyd $target
UNIT
    systemctl daemon-reload
    systemctl restart "meshnet-$name.socket"
}
forward ingress 8080 "$INGRESS:80"
forward api 8081 "${CF_API#*://}:80"

only=()
for line in "${lines[@]}"; do
    only+=(--only "$line")
done
meshnet lab demo "${only[@]}"
