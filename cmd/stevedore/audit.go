package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// audit is what reading everything back has shown.
type audit struct{ checks []checkResult }

type checkResult struct {
	what string
	err  error // nil: it holds
}

func (a *audit) add(what string, err error) { a.checks = append(a.checks, checkResult{what, err}) }

// failed counts the checks that did not hold.
func (a *audit) failed() int {
	n := 0
	for _, c := range a.checks {
		if c.err != nil {
			n++
		}
	}
	return n
}

// audit reads everything back that an ended job claims to have done. It trusts
// nothing but what it reads.
func (st *stage) audit(ctx context.Context, client *s3.Client, ended *types.JobDescriptor) *audit {
	a := &audit{}
	a.add(st.act.done, st.checkObjects(ctx, client))

	id := value(ended.JobId)
	report := readReport(ctx, client, id, st.objects)
	a.add(fmt.Sprintf("the report has exactly one row for each of %s tasks", thousands(int64(st.objects))), report.rowsErr())
	a.add(fmt.Sprintf("every MD5 sum is right (%d files and manifest.json)", report.files), report.md5Err())
	a.add("report.json is the same as manifest.json", report.sameErr())
	a.add("the counters of the job are those of the report", st.checkCounters(ended.ProgressSummary, report))
	return a
}

// checkObjects reads every object.
func (st *stage) checkObjects(ctx context.Context, client *s3.Client) error {
	var wrong faults
	err := each(ctx, st.objects, st.progress("checking", "objects"), func(ctx context.Context, n int) error {
		wrong.add(st.act.check(ctx, client, n))
		return ctx.Err()
	})
	return errors.Join(err, wrong.err())
}

func (st *stage) checkCounters(p *types.JobProgressSummary, r *reportAudit) error {
	var wrong faults
	compare := func(what string, got, want int64) {
		if got != want {
			wrong.addf("%s is %d, want %d", what, got, want)
		}
	}
	compare("TotalNumberOfTasks", value(p.TotalNumberOfTasks), int64(st.objects))
	compare("NumberOfTasksSucceeded", value(p.NumberOfTasksSucceeded), r.succeeded)
	compare("NumberOfTasksFailed", value(p.NumberOfTasksFailed), r.failed)
	compare("the number of rows with success", r.succeeded, int64(st.objects))
	return wrong.err()
}

// checkTags returns an error unless the nth object has exactly the tags wanted.
func checkTags(ctx context.Context, client *s3.Client, n int, want ...string) error {
	out, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: new(demoBucket), Key: new(objectKey(n))})
	if err != nil {
		return fmt.Errorf("read the tags of %s: %w", objectKey(n), err)
	}
	got := make([]string, len(out.TagSet))
	for i, t := range out.TagSet {
		got[i] = value(t.Key) + "=" + value(t.Value)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s has the tags %q, want %q", objectKey(n), got, want)
	}
	return nil
}

// checkCopy returns an error unless the nth object has a copy with its bytes.
func checkCopy(ctx context.Context, client *s3.Client, n int) error {
	got, err := getObject(ctx, client, copiesBucket, objectKey(n))
	if err != nil {
		return err
	}
	if want := objectBody(n); !bytes.Equal(got, want) {
		return fmt.Errorf("the copy of %s is %.60q, want %.60q", objectKey(n), got, want)
	}
	return nil
}

// getObject reads a small object.
func getObject(ctx context.Context, client *s3.Client, bucket, key string) ([]byte, error) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
	}
	defer out.Body.Close()
	const most = 16 << 20
	data, err := io.ReadAll(io.LimitReader(out.Body, most))
	if err != nil {
		return nil, fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
	}
	return data, nil
}

// reportAudit is what a completion report says, and what is wrong with it.
type reportAudit struct {
	files             int // of rows
	succeeded, failed int64
	seen              []bool // by the index of the object

	index, rows, sums, same faults
}

// readReport reads the completion report of a job over n seeded objects.
func readReport(ctx context.Context, client *s3.Client, id string, n int) *reportAudit {
	r := &reportAudit{seen: make([]bool, n)}
	manifest, err := getObject(ctx, client, reportsBucket, reportKey(id, "manifest.json"))
	if err != nil {
		r.index.add(err)
		return r
	}
	copied, err := getObject(ctx, client, reportsBucket, reportKey(id, "report.json"))
	if err != nil {
		r.same.add(err)
	} else if !bytes.Equal(copied, manifest) {
		r.same.addf("report.json differs from manifest.json")
	}
	sum, err := getObject(ctx, client, reportsBucket, reportKey(id, "manifest.json.md5"))
	if want := md5Hex(manifest) + "\n"; err != nil {
		r.sums.add(err)
	} else if string(sum) != want {
		r.sums.addf("manifest.json.md5 is %.60q, want %q", sum, want)
	}

	var index struct {
		Results []struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
	}
	if err := json.Unmarshal(manifest, &index); err != nil {
		r.index.addf("manifest.json: %v", err)
		return r
	}
	r.files = len(index.Results)
	for _, file := range index.Results {
		if err := r.file(ctx, client, file.Bucket, file.Key, file.TaskExecutionStatus, file.MD5Checksum); err != nil {
			r.index.add(err)
		}
	}
	for i, seen := range r.seen {
		if !seen {
			r.rows.addf("no row for %s", objectKey(i))
		}
	}
	return r
}

// file reads a file of rows, of any size.
func (r *reportAudit) file(ctx context.Context, client *s3.Client, bucket, key, status, sum string) error {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: s3types.ChecksumModeEnabled})
	if err != nil {
		return fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
	}
	defer out.Body.Close()
	hash := md5.New()
	body := io.TeeReader(out.Body, hash)
	rows := csv.NewReader(body)
	rows.FieldsPerRecord = 7
	rows.ReuseRecord = true
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read s3://%s/%s: %w", bucket, key, err)
		}
		r.row(row, status)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		r.sums.addf("s3://%s/%s has the MD5 sum %s, manifest.json says %s", bucket, key, got, sum)
	}
	return nil
}

// row looks at one row: Bucket, Key, VersionId, TaskStatus, HTTPStatusCode,
// ErrorCode, ResultMessage.
func (r *reportAudit) row(row []string, status string) {
	key, err := url.PathUnescape(row[1])
	i := objectIndex(key)
	switch {
	case err != nil || row[0] != demoBucket || i < 0 || i >= len(r.seen):
		r.rows.addf("a row for s3://%s/%s, which is not in the manifest", row[0], row[1])
		return
	case r.seen[i]:
		r.rows.addf("more than one row for %s", key)
	case row[3] != status:
		r.rows.addf("%s is %s, in a file of tasks that %s", key, row[3], status)
	}
	r.seen[i] = true
	switch row[3] {
	case "succeeded":
		r.succeeded++
		if row[4] != "200" || row[5] != "" {
			r.rows.addf("%s succeeded with status %s %s", key, row[4], row[5])
		}
	case "failed":
		r.failed++
		r.rows.addf("%s failed: %s %s %s", key, row[4], row[5], row[6])
	default:
		r.rows.addf("%s has the status %q", key, row[3])
	}
}

func (r *reportAudit) rowsErr() error { return errors.Join(r.index.err(), r.rows.err()) }
func (r *reportAudit) md5Err() error  { return errors.Join(r.index.err(), r.sums.err()) }
func (r *reportAudit) sameErr() error { return errors.Join(r.index.err(), r.same.err()) }

func md5Hex(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

// faults counts what is wrong and keeps the first few. Its methods may be
// called concurrently.
type faults struct {
	mu    sync.Mutex
	count int
	first []error
}

func (f *faults) add(err error) {
	if err == nil {
		return
	}
	const most = 3
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; len(f.first) < most {
		f.first = append(f.first, err)
	}
}

func (f *faults) addf(format string, args ...any) { f.add(fmt.Errorf(format, args...)) }

// err is nil if nothing is wrong.
func (f *faults) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		return nil
	}
	err := errors.Join(f.first...)
	if more := f.count - len(f.first); more > 0 {
		err = fmt.Errorf("%w\nand %d more", err, more)
	}
	return err
}
