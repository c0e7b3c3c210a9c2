package jobstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
)

// memberURL is the address by which the only member knows itself. Nothing
// listens there; it is replaced when the member gets company.
const memberURL = "http://127.0.0.1:2380"

// serve starts etcd in c.Dir and returns once it has elected itself.
func serve(ctx context.Context, c Config) (_ *server, err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	// etcd would wait for the other process without a word.
	lock, err := fileutil.TryLockFile(filepath.Join(c.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, errors.New("another process has it open")
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	v := &server{unlock: lock.Close, quota: c.QuotaBytes}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()

	if err := setAsideUnborn(c); err != nil {
		return nil, err
	}
	cfg, err := etcdConfig(c)
	if err != nil {
		return nil, err
	}
	if v.etcd, err = embed.StartEtcd(cfg); err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	v.client = v3client.New(v.etcd.Server)
	select {
	case <-v.etcd.Server.ReadyNotify():
		return v, nil
	case err := <-v.etcd.Err():
		return nil, fmt.Errorf("start etcd: %w", err)
	case <-ctx.Done():
		return nil, fmt.Errorf("start etcd: %w", context.Cause(ctx))
	}
}

// setAsideUnborn puts a member out of the way that was killed while it was being
// made, before the first entry of its log was durable: started again, etcd would
// not know that it is its own only voter, and wait for a leader for ever. Nothing
// can have been acknowledged by it, for that takes a committed entry. It is kept
// under another name all the same.
func setAsideUnborn(c Config) error {
	member := filepath.Join(c.Dir, "member")
	log := filepath.Join(member, "wal")
	if !wal.Exist(log) {
		return nil
	}
	state, err := wal.Verify(nil, log, &walpb.Snapshot{})
	if err != nil || state.GetCommit() > 0 {
		return nil //nolint:nilerr // a log that has moved on, or is damaged: for etcd to judge
	}
	aside := member + time.Now().UTC().Format(".unborn-20060102T150405.000000000")
	c.Logger.Warn("setting aside a store that was killed before it held anything", "dir", aside)
	if err := os.Rename(member, aside); err != nil {
		return fmt.Errorf("set aside a store that was never completed: %w", err)
	}
	return nil
}

// etcdConfig departs from etcd's defaults where engine.md section 6 says so.
func etcdConfig(c Config) (*embed.Config, error) {
	member, err := url.Parse(memberURL)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name = "stevedore"
	cfg.Dir = c.Dir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(c.Logger))
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, nil
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{*member}, nil
	cfg.InitialCluster = cfg.Name + "=" + memberURL
	cfg.QuotaBackendBytes = c.QuotaBytes
	// Old revisions serve only whoever reads segments at one revision.
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = "10m"
	// Raft keeps this many entries in memory for members that lag behind.
	cfg.SnapshotCatchUpEntries = 1000
	// Deleting what a large job leaves is one transaction that may well be slow.
	cfg.WarningApplyDuration = time.Second
	cfg.WarningUnaryRequestDuration = 3 * time.Second
	return cfg, nil
}

// close stops what was started, in reverse.
func (v *server) close() error {
	var err error
	if v.client != nil {
		if e := v.client.Close(); e != nil && !errors.Is(e, context.Canceled) {
			err = e
		}
	}
	if v.etcd != nil {
		v.etcd.Close()
	}
	return errors.Join(err, v.unlock())
}

// recoverSpace ends an alarm about the quota if there is room again, which is
// so after the quota was raised or compaction and deletions freed some.
func (v *server) recoverSpace(ctx context.Context) error {
	full := false
	for _, a := range v.etcd.Server.Alarms() {
		full = full || a.Alarm == etcdserverpb.AlarmType_NOSPACE
	}
	if !full {
		return nil
	}
	head, err := v.client.Get(ctx, "\x00")
	if err != nil {
		return err
	}
	if _, err := v.client.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if err := v.etcd.Server.Backend().Defrag(); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	if v.etcd.Server.Backend().Size() >= v.quota {
		return nil // Ready says so
	}
	_, err = v.client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	return err
}
