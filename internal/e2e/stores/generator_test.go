//go:build stores

package stores

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"stevedore/internal/objectstore"
)

// generator is the name that the trials of generators have in the tables.
const generator = "ManifestGenerator"

// found is an object as the SDK lists it.
type found struct {
	key, version string // the version that is current, where the bucket has versions
	class        string
	size         int64
	modified     time.Time
}

func (f found) name() string { return f.key + "?" + f.version }

// generators has manifests generated of buckets and compares them with what the
// SDK lists.
func (w *world) generators(t *testing.T, record func(operation, parameter string, c cell)) {
	t.Helper()
	ctx := t.Context()
	filters := []struct {
		parameter string
		run       bool // the job, without keeping the manifest; else the manifest is all that there is
		filter    func(sample found) types.JobManifestGeneratorFilter
		want      func(f, sample found) bool
	}{
		{
			"prefix, suffix and substring", false, func(found) types.JobManifestGeneratorFilter {
				return types.JobManifestGeneratorFilter{KeyNameConstraint: &types.KeyNameConstraint{
					MatchAnyPrefix: []string{"dir1"}, MatchAnySuffix: []string{"3"}, MatchAnySubstring: []string{"/0"},
				}}
			}, func(f, _ found) bool {
				return strings.HasPrefix(f.key, "dir1") && strings.HasSuffix(f.key, "3") && strings.Contains(f.key, "/0")
			},
		},
		{
			"size", false, func(s found) types.JobManifestGeneratorFilter {
				return types.JobManifestGeneratorFilter{ObjectSizeGreaterThanBytes: aws.Int64(s.size - 2), ObjectSizeLessThanBytes: aws.Int64(s.size + 1)}
			}, func(f, s found) bool { return f.size > s.size-2 && f.size <= s.size },
		},
		{
			"CreatedAfter", false, func(s found) types.JobManifestGeneratorFilter {
				return types.JobManifestGeneratorFilter{CreatedAfter: &s.modified}
			},
			func(f, s found) bool { return f.modified.After(s.modified) },
		},
		{
			"CreatedBefore", false, func(s found) types.JobManifestGeneratorFilter {
				return types.JobManifestGeneratorFilter{CreatedBefore: &s.modified}
			},
			func(f, s found) bool { return f.modified.Before(s.modified) },
		},
		{
			"storage class", false, func(found) types.JobManifestGeneratorFilter {
				return types.JobManifestGeneratorFilter{MatchAnyStorageClass: []types.S3StorageClass{"STANDARD_IA"}}
			}, func(f, _ found) bool { return f.class == "STANDARD_IA" },
		},
		{
			"job run, manifest not kept", true, func(found) types.JobManifestGeneratorFilter {
				return types.JobManifestGeneratorFilter{KeyNameConstraint: &types.KeyNameConstraint{MatchAnyPrefix: []string{"dir"}}}
			}, func(f, _ found) bool { return strings.HasPrefix(f.key, "dir") },
		},
	}
	for _, bucket := range []struct {
		name, label string
		versions    bool
	}{{"generated", "bucket without versions", false}, {"generatedversions", "bucket with versions", true}} {
		all, err := w.fill(ctx, bucket.name, bucket.versions)
		if err != nil {
			record(generator, bucket.label, absent.with(reason(err)))
			continue
		}
		c := w.generated(ctx, bucket.name, true, nil, "", all)
		record(generator, bucket.label, c)
		if c.word() == wrong { // such as that the job never ends
			return
		}
		sample := slices.SortedFunc(slices.Values(all), func(a, b found) int { return a.modified.Compare(b.modified) })[len(all)/2]
		for _, tr := range filters {
			var want []found
			for _, f := range all {
				if tr.want(f, sample) {
					want = append(want, f)
				}
			}
			record(generator, bucket.label+", "+tr.parameter, w.generated(ctx, bucket.name, !tr.run, new(tr.filter(sample)), "", want))
		}
		if !bucket.versions {
			record(generator, "ExpectedBucketOwner of another account", w.generated(ctx, bucket.name, true, nil, "210987654321", nil))
		}
	}
	for _, bucket := range []struct {
		name, label string
		versions    bool
	}{{"generatedodd", "without versions", false}, {"generatedoddversions", "with versions", true}} {
		record(generator, keys+"of all kinds, bucket "+bucket.label, w.generateOdd(ctx, bucket.name, bucket.versions))
	}
}

// fill makes a bucket of several pages, flat ones and folders, with versions that
// are not current and some that are hidden, and returns what the SDK lists of it.
func (w *world) fill(ctx context.Context, bucket string, versions bool) ([]found, error) {
	if err := w.newBucket(ctx, bucket, false); err != nil {
		return nil, err
	}
	const folders, each = 10, 10
	flat := 1100
	if w.name == "moto" { // it takes a second for every page: one will do
		flat = 150
	}
	var list []string
	for i := range flat {
		list = append(list, fmt.Sprintf("flat-%04d", i*7919%flat))
	}
	for i := range folders {
		for j := range each {
			list = append(list, fmt.Sprintf("dir%d/%02d", i, j))
		}
	}
	if err := w.all(ctx, http.MethodPut, bucket, list); err != nil {
		return nil, err
	}
	if versions { // those that are there are null versions now
		if err := w.newBucket(ctx, bucket, true); err != nil {
			return nil, err
		}
		if err := w.all(ctx, http.MethodPut, bucket, slices.Concat(list[flat/10:flat/3], list[flat/4:flat/3], list[flat:flat+40])); err != nil {
			return nil, err
		}
		if err := w.all(ctx, http.MethodDelete, bucket, slices.Concat(list[:flat/20], list[flat/3-10:flat/3+10], list[flat+90:flat+95])); err != nil {
			return nil, err
		}
	}
	// Where the store knows them.
	for i := range 5 {
		_, _ = w.s3.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: aws.String(fmt.Sprintf("class/%d", i)), Body: strings.NewReader("class"), StorageClass: s3types.StorageClassStandardIa,
		})
	}
	return w.sdkList(ctx, bucket, versions)
}

// newBucket makes a bucket, or has it keep versions from now on.
func (w *world) newBucket(ctx context.Context, bucket string, versions bool) error {
	if !versions {
		_, err := w.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
		return err
	}
	_, err := w.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	})
	return err
}

// all sends a request for every key, the keys at once from several goroutines.
// Each object has another size than the one before it.
func (w *world) all(ctx context.Context, method, bucket string, list []string) error {
	var wg sync.WaitGroup
	problems := make(chan error, 8)
	for first := range 8 {
		wg.Go(func() {
			var res objectstore.Result
			for i := first; i < len(list); i += 8 {
				var body []byte
				if method == http.MethodPut {
					body = bytes.Repeat([]byte("x"), i%100)
				}
				w.lean.Do(ctx, &objectstore.Request{Method: method, Bucket: bucket, Key: []byte(list[i]), Body: objectstore.NewBody(body)}, &res)
				if !res.OK() {
					problems <- fmt.Errorf("%s %s: %d %s %w", method, list[i], res.Status, res.Code, res.Err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(problems)
	return <-problems
}

// sdkList is what the SDK lists: the objects, or the versions that are current. Some
// stores list a row twice where two pages meet.
func (w *world) sdkList(ctx context.Context, bucket string, versions bool) ([]found, error) {
	all := map[string]found{}
	add := func(encoding s3types.EncodingType, key, version, class *string, size *int64, modified *time.Time) error {
		f := found{aws.ToString(key), aws.ToString(version), aws.ToString(class), aws.ToInt64(size), aws.ToTime(modified)}
		if encoding == s3types.EncodingTypeUrl {
			var err error
			if f.key, err = url.QueryUnescape(f.key); err != nil {
				return err
			}
		}
		all[f.name()] = f
		return nil
	}
	if versions {
		in := &s3.ListObjectVersionsInput{Bucket: &bucket, EncodingType: s3types.EncodingTypeUrl}
		for {
			page, err := w.s3.ListObjectVersions(ctx, in)
			if err != nil {
				return nil, err
			}
			for _, v := range page.Versions {
				if !aws.ToBool(v.IsLatest) {
					continue
				}
				if err := add(page.EncodingType, v.Key, v.VersionId, (*string)(&v.StorageClass), v.Size, v.LastModified); err != nil {
					return nil, err
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return slices.Collect(maps.Values(all)), nil
			}
			marker := aws.ToString(page.NextKeyMarker)
			if page.EncodingType == s3types.EncodingTypeUrl { // the SDK's own loop sends it as it is
				if marker, err = url.QueryUnescape(marker); err != nil {
					return nil, err
				}
			}
			in.KeyMarker, in.VersionIdMarker = &marker, page.NextVersionIdMarker
		}
	}
	pages := s3.NewListObjectsV2Paginator(w.s3, &s3.ListObjectsV2Input{Bucket: &bucket, EncodingType: s3types.EncodingTypeUrl})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			if err := add(page.EncodingType, o.Key, nil, (*string)(&o.StorageClass), o.Size, o.LastModified); err != nil {
				return nil, err
			}
		}
	}
	return slices.Collect(maps.Values(all)), nil
}

// generateOdd lists objects with odd keys.
func (w *world) generateOdd(ctx context.Context, bucket string, versions bool) cell {
	err := w.newBucket(ctx, bucket, false)
	if err == nil && versions {
		err = w.newBucket(ctx, bucket, true)
	}
	if err != nil {
		return absent.with(reason(err))
	}
	for _, k := range oddKeyList() { // some stores take some of them for others
		w.call(ctx, http.MethodPut, bucket, k.key, "", []byte("odd "+k.key))
	}
	all, err := w.sdkList(ctx, bucket, versions)
	if err != nil {
		return absent.with("the SDK cannot list them: " + reason(err))
	}
	c := w.generated(ctx, bucket, true, nil, "", all)
	for _, f := range all {
		if c == works && w.holds(ctx, bucket, f.key) == "" {
			return refused.with(fmt.Sprintf("as the SDK, but the store lists %+q, which is not there", f.key))
		}
	}
	if c == works {
		c = works.with(fmt.Sprintf("%d of %d keys, the store has no others", len(all), len(oddKeyList())))
	}
	return c
}

// generated says whether a filter finds what it should: by the manifest, of a job
// that is never confirmed, or by the report of one that keeps no manifest. A bucket that
// does not belong to owner, if that is given, has to fail the job.
func (w *world) generated(ctx context.Context, bucket string, output bool, filter *types.JobManifestGeneratorFilter, owner string, want []found) cell {
	g := types.S3JobManifestGenerator{SourceBucket: aws.String("arn:aws:s3:::" + bucket), Filter: filter, EnableManifestOutput: output}
	if owner != "" {
		g.ExpectedBucketOwner = &owner
	}
	if output {
		g.ManifestOutputLocation = &types.S3ManifestOutputLocation{
			Bucket: aws.String("arn:aws:s3:::manifests"), ManifestPrefix: aws.String("made"), ManifestFormat: types.GeneratedManifestFormatS3InventoryReportCsv20211130,
		}
	}
	created, err := w.control.CreateJob(ctx, &s3control.CreateJobInput{
		AccountId: aws.String(account), RoleArn: aws.String(role), Priority: aws.Int32(1), ConfirmationRequired: &output,
		Operation:         &types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{TagSet: s3tags("by", "generator")}},
		ManifestGenerator: &types.JobManifestGeneratorMemberS3JobManifestGenerator{Value: g},
		Report: &types.JobReport{
			Enabled: true, Bucket: aws.String("arn:aws:s3:::reports"), Prefix: aws.String("r"),
			Format: types.JobReportFormatReportCsv20180820, ReportScope: types.JobReportScopeAllTasks,
		},
	})
	if err != nil {
		return wrong.with(reason(err))
	}
	j, err := w.wait(ctx, *created.JobId, types.JobStatusSuspended)
	if err != nil {
		return wrong.with(reason(err))
	}
	code, why := "", ""
	for _, f := range j.FailureReasons {
		code, why = aws.ToString(f.FailureCode), aws.ToString(f.FailureReason)
	}
	switch {
	case owner != "" && code == "":
		return ignored.with("the store does not look at the owner")
	case owner != "" && code == "ExpectedBucketOwnerMismatch":
		return works.with("the job fails with " + code)
	case len(want) == 0 && code == "ManifestGenerationNoMatches":
		return works.with("there are none, and the job fails with " + code)
	case output && j.Status == types.JobStatusSuspended:
		list, err := w.manifestOf(ctx, j)
		if err == nil {
			_, err = w.control.UpdateJobStatus(ctx, &s3control.UpdateJobStatusInput{
				AccountId: aws.String(account), JobId: created.JobId, RequestedJobStatus: types.RequestedJobStatusCancelled,
			})
		}
		if err != nil {
			return wrong.with(reason(err))
		}
		if n := aws.ToInt64(j.ProgressSummary.TotalNumberOfTasks); n != int64(len(list)) {
			return wrong.with(fmt.Sprintf("%d tasks of %d rows", n, len(list)))
		}
		return compare(list, want)
	case j.Status != types.JobStatusComplete:
		return refused.with(fmt.Sprintf("the job fails with %s: %s", code, why))
	}
	rows := map[string]row{}
	if err := w.report(ctx, *created.JobId, rows); err != nil {
		return wrong.with(reason(err))
	}
	if c := compare(slices.Collect(maps.Keys(rows)), want); c != works {
		return c
	}
	return tasks(rows)
}

// manifestOf are the rows of the manifest that a generator has left: keys and
// versions, as the report names them.
func (w *world) manifestOf(ctx context.Context, j *types.JobDescriptor) (list []string, err error) {
	d := j.GeneratedManifestDescriptor
	if d == nil {
		return nil, fmt.Errorf("no descriptor")
	}
	text, err := w.get(ctx, object{bucket: "manifests", key: strings.TrimPrefix(*d.Location.ObjectArn, "arn:aws:s3:::manifests/")})
	if err != nil {
		return nil, err
	}
	var m struct{ Files []struct{ Key string } }
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		data, err := w.get(ctx, object{bucket: "manifests", key: f.Key})
		if err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		rows, err := csv.NewReader(z).ReadAll()
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			list = append(list, strings.Join(append(r[1:], "")[:2], ","))
		}
	}
	return list, nil
}

// compare says whether a list, as a report names objects, has exactly those that are wanted, each once.
func compare(list []string, want []found) cell {
	left := map[string]int{}
	for _, f := range want {
		left[f.name()]++
	}
	var more, less []string
	for _, name := range list {
		key, version, _ := strings.Cut(name, ",")
		key, err := url.PathUnescape(key)
		if err != nil {
			return wrong.with(err.Error())
		}
		f := found{key: key, version: version}
		if left[f.name()]--; left[f.name()] < 0 {
			more = append(more, f.name())
		}
	}
	for name, n := range left {
		if n > 0 {
			less = append(less, name)
		}
	}
	if len(more)+len(less) == 0 {
		return works
	}
	slices.Sort(more)
	slices.Sort(less)
	return wrong.with(fmt.Sprintf("of %d objects %d are missing %q, and there are %d others %q", len(want), len(less), less[:min(2, len(less))], len(more), more[:min(2, len(more))]))
}

// tasks says how those of the objects found have ended.
func tasks(rows map[string]row) cell {
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if r := rows[name]; r.status != "succeeded" {
			return refused.with("a task: " + strconv.Quote(name) + " " + r.http + " " + r.code)
		}
	}
	return works
}
