package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"stevedore/internal/generate"
	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
	"stevedore/internal/source"
	"stevedore/internal/source/place"
)

// filterFlags say which objects of a bucket are listed: the filters of a generator.
type filterFlags struct {
	prefix, suffix, substring string
	after, before             string
	larger, smaller           string
	classes                   []string
	encryption, kmsKey        string
	bucketKey                 string
	replication               []string
	eligible                  bool
}

func (f *filterFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.Var(&single{text: &f.prefix}, "match-prefix", "keys that begin with one `TEXT`; the same as s3://bucket/TEXT")
	fs.Var(&single{text: &f.suffix}, "match-suffix", "keys that end with one `TEXT`")
	fs.Var(&single{text: &f.substring}, "match-substring", "keys that contain one `TEXT`")
	fs.Var(&single{text: &f.after}, "created-after", "objects newer than `TIME`: 2026-01-31 or 2026-01-31T12:00:00Z")
	fs.Var(&single{text: &f.before}, "created-before", "objects older than `TIME`")
	fs.Var(&single{text: &f.larger}, "size-gt", "objects larger than `SIZE`: bytes, or such as 64KiB, 1MiB, 2GB")
	fs.Var(&single{text: &f.smaller}, "size-lt", "objects smaller than `SIZE`")
	fs.StringSliceVar(&f.classes, "storage-class", nil, "objects in one of these `CLASSES`")
	fs.Var(&single{text: &f.encryption}, "encryption", "encrypted by `WAY`: "+strings.Join(encryptions(), ", "))
	fs.Var(&single{text: &f.kmsKey}, "kms-key", "and with the key of this `ARN`")
	fs.Var(&single{text: &f.bucketKey}, "bucket-key", "and with a bucket key, or without: `BOOL` is true or false")
	fs.StringSliceVar(&f.replication, "replication-status", nil, "objects of this `STATUS`: "+strings.Join(job.ReplicationStatus("").Values(), ", "))
	fs.BoolVar(&f.eligible, "eligible-for-replication", false, "objects that the replication rules of the bucket send somewhere")
}

// single is a flag that takes one text: of two the last one would win, and the list lack the objects of the first.
type single struct {
	text *string
	set  bool
}

// Set implements pflag.Value.
func (s *single) Set(text string) error {
	if s.set {
		return fmt.Errorf("it takes one, and has %q already", *s.text)
	}
	*s.text, s.set = text, true
	return nil
}

// String implements pflag.Value.
func (s *single) String() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Type implements pflag.Value.
func (s *single) Type() string { return "string" }

func encryptions() []string { return []string{"SSE-S3", "SSE-KMS", "DSSE-KMS", "SSE-C", "NOT-SSE"} }

// filter returns the filter of a generator.
func (f *filterFlags) filter(prefix string) (*job.GeneratorFilter, error) {
	if prefix != "" && f.prefix != "" {
		return nil, usagef("--match-prefix %s: the prefix is %s already", f.prefix, prefix)
	}
	g := &job.GeneratorFilter{KeyNameConstraint: &job.KeyNameConstraint{}}
	for to, text := range map[*[]string]string{
		&g.KeyNameConstraint.MatchAnyPrefix:    prefix + f.prefix,
		&g.KeyNameConstraint.MatchAnySuffix:    f.suffix,
		&g.KeyNameConstraint.MatchAnySubstring: f.substring,
	} {
		if text != "" {
			*to = []string{text}
		}
	}
	var err error
	if g.CreatedAfter, err = timeFlag("created-after", f.after); err != nil {
		return nil, err
	}
	if g.CreatedBefore, err = timeFlag("created-before", f.before); err != nil {
		return nil, err
	}
	if g.ObjectSizeGreaterThanBytes, err = sizeFlag("size-gt", f.larger); err != nil {
		return nil, err
	}
	if g.ObjectSizeLessThanBytes, err = sizeFlag("size-lt", f.smaller); err != nil {
		return nil, err
	}
	for _, text := range f.classes {
		class, err := oneOf("storage-class", text, job.StorageClass("").Values())
		if err != nil {
			return nil, err
		}
		g.MatchAnyStorageClass = append(g.MatchAnyStorageClass, job.StorageClass(class))
	}
	for _, text := range f.replication {
		status, err := oneOf("replication-status", text, job.ReplicationStatus("").Values())
		if err != nil {
			return nil, err
		}
		g.ObjectReplicationStatuses = append(g.ObjectReplicationStatuses, job.ReplicationStatus(status))
	}
	if f.eligible {
		g.EligibleForReplication = &f.eligible
	}
	g.MatchAnyObjectEncryption, err = f.encrypted()
	return g, err
}

// encrypted returns the way of encryption that is asked for.
func (f *filterFlags) encrypted() ([]job.ObjectEncryptionFilter, error) {
	if f.encryption == "" {
		if f.kmsKey != "" {
			return nil, usagef("--kms-key goes with --encryption SSE-KMS or DSSE-KMS")
		}
		if f.bucketKey != "" {
			return nil, usagef("--bucket-key goes with --encryption SSE-KMS")
		}
		return nil, nil
	}
	way, err := oneOf("encryption", f.encryption, encryptions())
	if err != nil {
		return nil, err
	}
	if f.kmsKey != "" && !strings.HasSuffix(way, "SSE-KMS") {
		return nil, usagef("--kms-key goes with --encryption SSE-KMS or DSSE-KMS")
	}
	if f.bucketKey != "" && way != "SSE-KMS" {
		return nil, usagef("--bucket-key goes with --encryption SSE-KMS")
	}
	var e job.ObjectEncryptionFilter
	switch way {
	case "SSE-S3":
		e.SSES3 = &job.SSES3{}
	case "SSE-KMS":
		e.SSEKMS = &job.SSEKMSFilter{KmsKeyArn: f.kmsKey}
		if f.bucketKey != "" {
			enabled, err := oneOf("bucket-key", f.bucketKey, []string{"true", "false"})
			if err != nil {
				return nil, err
			}
			e.SSEKMS.BucketKeyEnabled = new(enabled == "true")
		}
	case "DSSE-KMS":
		e.DSSEKMS = &job.DSSEKMSFilter{KmsKeyArn: f.kmsKey}
	case "SSE-C":
		e.SSEC = &job.SSEC{}
	default:
		e.NOTSSE = &job.NotSSE{}
	}
	return []job.ObjectEncryptionFilter{e}, nil
}

// oneOf returns the value that text is, whatever its case.
func oneOf(flag, text string, values []string) (string, error) {
	i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, text) })
	if i < 0 {
		return "", usagef("--%s %s: want one of %s", flag, text, strings.Join(values, ", "))
	}
	return values[i], nil
}

func timeFlag(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return new(t.UTC()), nil
		}
	}
	return nil, usagef("--%s %s: want a time such as 2026-01-31 or 2026-01-31T12:00:00Z", flag, text)
}

func sizeFlag(flag, text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	wrong := usagef("--%s %s: want bytes, or such as 64KiB, 1MiB, 2GB", flag, text)
	digits := strings.TrimRight(text, "kKMGTiB")
	factor, ok := map[string]int64{
		"": 1, "B": 1,
		"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}[text[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n < 0 || n > math.MaxInt64/factor {
		return nil, wrong
	}
	return new(n * factor), nil
}

func (c *manifestCommands) make() *cobra.Command {
	var (
		filters  filterFlags
		out      outFlags
		versions bool
	)
	cmd := &cobra.Command{
		Use:   "make BUCKET",
		Short: "List a bucket, or what of it matches, as a manifest",
		Long: `Lists the objects of a bucket, given as s3://bucket/prefix, that pass all filters, as
the generator of a job does: in parallel and every object once. If the bucket has
versions, it is the current ones, with their version ids, and no delete markers.
Filters by encryption and replication status take a HEAD of each object that passes
the others; eligibility for replication takes its tags, if a rule goes by tags. Those
that take one text are given once: for keys with two suffixes, make two lists.

A file or an object that is at --out is replaced, once all is written. Exits with 9, and
writes nothing, if no object matches. What was found is kept in a temporary folder while
the bucket is listed.`,
		Example: `  stevedore manifest make s3://photos/2024/ --size-gt 1MiB --out s3://manifests/large.csv
  stevedore manifest make s3://logs --created-before 2025-01-01 --to inventory --out s3://lists/old
  stevedore manifest make s3://logs --match-suffix .gz | head`,
		Args: one("what to list: s3://bucket/prefix"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(func(d *desk) error { return d.make(cmd.Context(), args[0], filters, out, versions) })
		},
	}
	filters.add(cmd)
	cmd.Flags().BoolVar(&versions, "versions", false, "list all versions, not only the current ones")
	out.add(cmd)
	return cmd
}

func (d *desk) make(ctx context.Context, name string, filters filterFlags, out outFlags, versions bool) error {
	started := time.Now()
	if _, _, err := out.place(); err != nil {
		return err
	}
	from, err := place.Parse(name)
	if err != nil || !from.Stored() {
		return usagef("%s: want s3://bucket or s3://bucket/prefix", name)
	}
	filter, err := filters.filter(from.Object.Key)
	if err != nil {
		return err
	}
	at, err := d.destination(ctx, out)
	if err != nil {
		return err
	}
	store, err := d.store(ctx)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "stevedore-*")
	if err != nil {
		return fmt.Errorf("make manifest: %w", err)
	}
	d.cleanup = append(d.cleanup, func() { _ = os.RemoveAll(folder) }) // nobody else's
	spool, err := generate.OpenSpool(folder)
	if err != nil {
		return fmt.Errorf("make manifest: %w", err)
	}
	defer spool.Close()
	eligibility := operation.NewEligibility(operation.Env{Client: store})
	listed, err := generate.Run(ctx, generate.Job{
		Generator:   &job.S3JobManifestGenerator{SourceBucket: "arn:aws:s3:::" + from.Object.Bucket, Filter: filter},
		AllVersions: versions, Sizes: at.format != place.CSV && at.format != place.Gzip,
		Source: &lister{Access: store, show: d.show}, Depot: spool, Journal: &memory{},
		Eligible: func(ctx context.Context, c generate.Candidate) (bool, error) {
			return eligibility.Of(ctx, c.Object, c.Info.StorageClass)
		},
	}, generate.State{})
	if err != nil {
		return d.unlisted(name, err)
	}
	src, err := source.Locate(ctx, spool, source.Spec{Format: job.ManifestInventory, Object: listed.Object})
	if err != nil {
		return d.explain("list "+name, err)
	}
	m, err := d.write(ctx, name, src, listed.Rows, at, func(*manifest.Row) {})
	if err != nil {
		return err
	}
	m.ObjectBytes, m.Seconds = &listed.Bytes, time.Since(started).Seconds()
	return d.report(m)
}

// lister is a store that tells how much of it was listed.
type lister struct {
	*objectstore.Access

	show func(sample)
	keys atomic.Int64
}

// ListPage implements generate.Source.
func (l *lister) ListPage(ctx context.Context, q objectstore.ListQuery, page *objectstore.ListPage) error {
	err := l.Access.ListPage(ctx, q, page)
	if err == nil {
		l.show(sample{label: "list", unit: "keys", done: l.keys.Add(int64(len(page.Entries)))})
	}
	return err
}

// unlisted says why a bucket could not be listed.
func (d *desk) unlisted(name string, err error) error {
	if failed, ok := errors.AsType[*job.FailedError](err); ok {
		if failed.Reason.FailureCode == generate.CodeNoMatch {
			return &problem{what: "no object of " + name + " matches", code: exitNothing, err: err}
		}
		if failed.Err != nil {
			err = failed.Err // what the store says tells more
		}
	}
	return d.explain("list "+name, err)
}

// memory keeps the files of a listing that nobody will go on with: one for each million rows, or each
// minute of a worker.
type memory struct{ files []generate.File }

// Save implements generate.Journal.
func (m *memory) Save(_ context.Context, _ generate.State, files []generate.File) error {
	m.files = append(m.files, files...)
	return nil
}

// Files implements generate.Journal.
func (m *memory) Files(context.Context) iter.Seq2[generate.File, error] {
	return func(yield func(generate.File, error) bool) {
		for _, f := range m.files {
			if !yield(f, nil) {
				return
			}
		}
	}
}
