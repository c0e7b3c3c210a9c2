#!/usr/bin/env bash
# A Ceph object gateway for the tests, as small as it gets: one monitor, one OSD in
# memory, one gateway, everything below a new directory and on loopback.
#
#   ACCESS=key SECRET=secret KMS=name=base64 ceph.sh DIR S3-ADDRESS MONITOR-ADDRESS
#
# It is ready once it accepts the key pair. It ends when it is told to (SIGTERM), or
# when one of the daemons has ended, whose logs are in DIR/log.
set -euo pipefail
dir=$1 s3=$2 monitor=$3
children=()
# The daemons have nothing to save, and the gateway takes its time to stop.
trap 'kill -KILL "${children[@]}" 2>/dev/null || true' EXIT
trap 'exit 0' TERM INT

mkdir -p "$dir"/{mon,osd,rgw,run,log}
cd "$dir"
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >ceph.conf <<CONF
[global]
fsid = $fsid
mon_initial_members = a
mon_host = [v2:$monitor]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
# Authentication stays on: without it the gateway does not connect.
auth_allow_insecure_global_id_reclaim = false
keyring = $dir/admin.keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
pid_file = $dir/run/\$name.pid
log_file = $dir/log/\$name.log
crash_dir = $dir/run
[mon]
keyring = $dir/mon/keyring
mon_data = $dir/mon
[osd]
keyring = $dir/osd/keyring
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
[client.rgw.a]
keyring = $dir/rgw/keyring
rgw_data = $dir/rgw
rgw_frontends = beast endpoint=$s3
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = $KMS
CONF
export CEPH_CONF=$dir/ceph.conf

# until_ok repeats a command for two minutes, as long as the daemons run.
until_ok() {
	local deadline=$((SECONDS + 120)) child said
	until said=$(timeout 10 "$@" 2>&1); do
		for child in "${children[@]}"; do
			kill -0 "$child" 2>/dev/null || { echo "a daemon has ended before this succeeded: $*: $said" >&2; exit 1; }
		done
		[ "$SECONDS" -lt "$deadline" ] || { echo "never succeeded: $*: $said" >&2; exit 1; }
		sleep 0.5
	done
}

ceph-authtool --create-keyring all.keyring --gen-key -n mon. --cap mon 'allow *'
ceph-authtool --create-keyring admin.keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
ceph-authtool all.keyring --import-keyring admin.keyring
monmaptool --create --fsid "$fsid" --addv a "[v2:$monitor]" monmap
ceph-mon --mkfs -i a --monmap monmap --keyring all.keyring
ceph-mon -i a -f &
children+=($!)
until_ok ceph -s

uuid=$(cat /proc/sys/kernel/random/uuid)
key=$(ceph-authtool --gen-print-key)
id=$(ceph osd new "$uuid" -i - <<<"{\"cephx_secret\": \"$key\"}")
ceph-authtool --create-keyring osd/keyring --name "osd.$id" --add-key "$key"
ceph-osd -i "$id" --mkfs --osd-uuid "$uuid"
ceph-osd -i "$id" -f &
children+=($!)
until_ok sh -c 'ceph osd stat | grep -q "1 up"'

ceph auth get-or-create client.rgw.a mon 'allow rw' mgr 'allow rw' osd 'allow rwx' -o rgw/keyring
# The first command makes the default zone.
radosgw-admin user create --uid=stevedore --display-name=stevedore --access-key="$ACCESS" --secret="$SECRET" >/dev/null
radosgw-admin zonegroup placement add --rgw-zonegroup default --placement-id default-placement --storage-class STANDARD_IA >/dev/null
radosgw-admin zone placement add --rgw-zone default --placement-id default-placement --storage-class STANDARD_IA --data-pool default.rgw.ia.data >/dev/null
radosgw -n client.rgw.a -f &
children+=($!)
# The end of any one is the end of all. A signal ends the wait, too.
wait -n
echo "a daemon of Ceph has ended" >&2
exit 1
