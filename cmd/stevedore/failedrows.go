package main

import (
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/source/place"
)

// The columns of a report.
const (
	reportVersion = 2
	reportStatus  = 3
	reportHTTP    = 4
	reportCode    = 5
	reportMessage = 6
	reportColumns = 7
)

// missingVersion is what a report says of a row without a version id where there
// should have been one.
const missingVersion = "Task failed due to missing VersionId"

// failedTasks are the rows of failed tasks in the report of a job.
type failedTasks struct {
	access *objectstore.Access
	files  []failedFile
}

// failedFile is a file of such rows. It is pinned once it was read.
type failedFile struct {
	object objectstore.Object
	sum    string // MD5, lower-case hex
}

// rowsSeen is what is in the failed rows that were gone through.
type rowsSeen struct {
	tally    job.Tally        // of all of them
	chosen   int64            // of the codes asked for
	codes    map[string]int64 // of those asked for, how many rows each has
	versions bool             // the manifest had version ids
}

// changedError says that a report is not what was written.
type changedError struct{ text string }

func (e *changedError) Error() string { return e.text }

// findFailed reads the index of the report of an ended job.
func findFailed(ctx context.Context, access *objectstore.Access, j *controlapi.JobDescriptor) (*failedTasks, error) {
	bucket, folder := reportPlace(j)
	read := func(name string) ([]byte, error) {
		const most = 64 << 20 // an index has some 250 bytes for a million rows
		body, _, err := access.Open(ctx, objectstore.Object{Bucket: bucket, Key: folder + name}, 0, -1)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		data, err := io.ReadAll(io.LimitReader(body, most))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return data, nil
	}
	data, err := read("manifest.json")
	if err != nil {
		return nil, err
	}
	sum, err := read("manifest.json.md5")
	if err != nil {
		return nil, err
	}
	if got, want := md5Hex(data), strings.TrimSpace(string(sum)); got != want {
		return nil, &changedError{fmt.Sprintf("manifest.json has the MD5 sum %s, manifest.json.md5 says %.40q", got, want)}
	}
	var index struct {
		Format  job.ReportFormat
		Results []struct{ TaskExecutionStatus, Bucket, MD5Checksum, Key string }
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, &changedError{"manifest.json: " + err.Error()}
	}
	if index.Format != job.ReportCSV {
		return nil, &changedError{fmt.Sprintf("manifest.json has the format %.40q, want %s", index.Format, job.ReportCSV)}
	}
	f := &failedTasks{access: access}
	for _, r := range index.Results {
		if r.TaskExecutionStatus == "failed" {
			f.files = append(f.files, failedFile{objectstore.Object{Bucket: r.Bucket, Key: r.Key}, r.MD5Checksum})
		}
	}
	return f, nil
}

// copyTo writes the rows of tasks that failed with one of codes, or all if there
// are none, to w, as they stand in the report. The MD5 of every file is compared
// on the way: an error means that what was written is worth nothing.
func (f *failedTasks) copyTo(ctx context.Context, w io.Writer, codes []string) (*rowsSeen, error) {
	seen := &rowsSeen{codes: map[string]int64{}}
	out := csv.NewWriter(w)
	for i := range f.files {
		if err := f.files[i].read(ctx, f.access, func(row []string) error {
			status, _ := strconv.Atoi(row[reportHTTP]) // only for people
			seen.tally.Fail(row[reportCode], status, "")
			seen.versions = seen.versions || row[reportVersion] != "" || row[reportMessage] == missingVersion
			if len(codes) > 0 && !slices.Contains(codes, row[reportCode]) {
				return nil
			}
			if len(codes) > 0 {
				seen.codes[row[reportCode]]++
			}
			seen.chosen++
			return out.Write(row)
		}); err != nil {
			return nil, err
		}
	}
	out.Flush()
	return seen, out.Error()
}

// read goes through the rows of a file.
func (f *failedFile) read(ctx context.Context, access *objectstore.Access, do func(row []string) error) error {
	body, info, err := access.Open(ctx, f.object, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	f.object.ETag, f.object.VersionID = info.ETag, info.VersionID
	name := "s3://" + f.object.Bucket + "/" + f.object.Key
	sum := md5.New()
	in := io.TeeReader(body, sum)
	rows := csv.NewReader(in)
	rows.FieldsPerRecord = reportColumns
	rows.ReuseRecord = true
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if e, bad := errors.AsType[*csv.ParseError](err); bad {
			return &changedError{fmt.Sprintf("%s: %v", name, e)}
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if row[reportStatus] != "failed" {
			line, _ := rows.FieldPos(reportStatus)
			return &changedError{fmt.Sprintf("%s: line %d: a task that %.20q, in a file of failed ones", name, line, row[reportStatus])}
		}
		if err := do(row); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.sum {
		return &changedError{fmt.Sprintf("%s has the MD5 sum %s, manifest.json says %.40q", name, got, f.sum)}
	}
	return nil
}

// join writes the rows chosen by codes into one object, unless it is there already
// with all of its size bytes: whoever came here before has written the same.
func (f *failedTasks) join(ctx context.Context, o objectstore.Object, codes []string, size int64) (objectstore.Object, error) {
	info, err := f.access.Head(ctx, o)
	if err == nil && info.Size == size {
		o.ETag, o.VersionID = info.ETag, info.VersionID
		return o, nil
	}
	if err != nil && !objectstore.NotFound(err) && !objectstore.AccessDenied(err) { // the right to write need not be one to look
		return o, err
	}
	w, err := place.Streams{Store: f.access}.Create(ctx, place.Place{Object: o}, "text/csv")
	if err != nil {
		return o, err
	}
	if _, err := f.copyTo(ctx, w, codes); err != nil {
		w.Abort()
		return o, err
	}
	made, err := w.Close()
	o.ETag = made.ETag
	return o, err
}

// counter counts bytes.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
