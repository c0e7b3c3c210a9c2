package operation

import (
	"context"
	"net/http"
	"strings"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// copyIs looks whether the copy is there, as large as its source, and has what the
// job gives it.
func copyIs(p *job.S3PutObjectCopy) effect {
	block, _ := copyHeaders(p)
	folder := p.TargetKeyPrefix
	if folder != "" && !strings.HasSuffix(folder, "/") {
		folder += "/"
	}
	made := func(t *Task) objectstore.Object {
		return objectstore.Object{Bucket: job.BucketName(p.TargetResource), Key: folder + string(t.Key)}
	}
	var more []effect
	if p.NewObjectTagging != nil {
		more = append(more, tagsAre(p.NewObjectTagging, made))
	}
	if p.CannedAccessControlList != "" {
		if e := cannedIs(p.CannedAccessControlList, made); e != nil {
			more = append(more, e)
		}
	}
	if len(p.AccessControlGrants) > 0 {
		more = append(more, grantsAre(p.AccessControlGrants, made))
	}
	return func(ctx context.Context, c Client, t *Task) error {
		if p.RequesterPays != nil && *p.RequesterPays {
			c = paying{c}
		}
		head, err := objectstore.HeadFull(ctx, c, made(t))
		if objectstore.NotFound(err) {
			return missingf("there is no copy")
		}
		if err != nil {
			return err
		}
		// A source that is gone or overwritten by now says nothing of the copy.
		if source, err := objectstore.HeadFull(ctx, c, sourceOf(t)); err == nil && source.Size != head.Size && !source.LastModified.After(head.LastModified) {
			return missingf("the copy has %d bytes, and its source %d", head.Size, source.Size)
		}
		for _, h := range block {
			if got, same := headerKept(&head, h); !same {
				return missingf("the copy has %q for %s", got, h.Name)
			}
		}
		for _, e := range more {
			if err := e(ctx, c, t); err != nil {
				return err
			}
		}
		return nil
	}
}

// headerKept reports whether an object has what a header of CopyObject gave it.
// Headers that say something else than what the object is like are kept always.
func headerKept(head *objectstore.Head, asked objectstore.Header) (got string, same bool) {
	got = head.Get(asked.Name)
	switch asked.Name {
	case "x-amz-storage-class":
		return got, got == asked.Value || got == "" && asked.Value == "STANDARD"
	case "x-amz-server-side-encryption-aws-kms-key-id": // may be told by its id alone, or not at all
		return got, got == "" || strings.HasSuffix(asked.Value, got) || strings.HasSuffix(got, asked.Value)
	case "x-amz-server-side-encryption-bucket-key-enabled":
		return got, got == asked.Value || got == "" && asked.Value == "false"
	case "x-amz-object-lock-retain-until-date":
		until, err := time.Parse(time.RFC3339, got)
		want, _ := time.Parse(time.RFC3339, asked.Value) // we wrote it
		return got, err == nil && sameSecond(until, want)
	case "x-amz-object-lock-legal-hold":
		return got, got == asked.Value || got == "" && asked.Value == "OFF"
	case "expires":
		at, err := http.ParseTime(got)
		want, _ := http.ParseTime(asked.Value) // likewise
		return got, err == nil && at.Equal(want)
	case checksumAlgorithm:
		got = head.Get(checksumHeader(job.ChecksumAlgorithm(asked.Value)))
		return got, got != ""
	case "x-amz-server-side-encryption", "x-amz-object-lock-mode", "x-amz-website-redirect-location",
		"cache-control", "content-disposition", "content-encoding", "content-language", "content-type":
		return got, got == asked.Value
	}
	if strings.HasPrefix(asked.Name, "x-amz-meta-") {
		return got, strings.TrimSpace(got) == asked.Value
	}
	return got, true
}
