package operation_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// haunted is a store with an upload left pending.
type haunted struct {
	*objectstore.Access
	left      string // the Upload in the list; OURS stands for the id of ours
	parts     string
	initiator string // of ours
	now       time.Time
	ours      string
	aborted   []string
}

func (h *haunted) Do(ctx context.Context, req *objectstore.Request, res *objectstore.Result) {
	answer := func(body string) {
		*res = objectstore.Result{
			Status: http.StatusOK, Body: []byte(body), Attempts: 1,
			Header: []objectstore.Header{{Name: "date", Value: h.now.UTC().Format(http.TimeFormat)}},
		}
	}
	switch {
	case req.Method == http.MethodGet && req.OnBucket && req.Query == "prefix=k&uploads=":
		answer("<ListMultipartUploadsResult>" + upload("k", h.ours, h.initiator, h.now.Add(-10*time.Minute)) + h.left + "</ListMultipartUploadsResult>")
	case req.Method == http.MethodGet && req.Query == "uploadId=left":
		answer("<ListPartsResult>" + h.parts + "</ListPartsResult>")
	case req.Method == http.MethodDelete && strings.HasPrefix(req.Query, "uploadId="):
		h.aborted = append(h.aborted, req.Query)
		answer("")
	default:
		h.Access.Do(ctx, req, res)
		if req.Query == "uploads" {
			_, id, _ := strings.Cut(string(res.Body), "<UploadId>")
			h.ours, _, _ = strings.Cut(id, "</UploadId>")
		}
	}
}

func upload(key, id, initiator string, at time.Time) string {
	return fmt.Sprintf("<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiator><ID>%s</ID></Initiator><Initiated>%s</Initiated></Upload>",
		key, id, initiator, at.UTC().Format(time.RFC3339))
}

func partAt(at time.Time) string {
	return "<Part><PartNumber>1</PartNumber><LastModified>" + at.UTC().Format(time.RFC3339) + "</LastModified></Part>"
}

// TestLeftUploadsAreAborted if they are ours and dead, by whatever the store's clock
// says. All others are left alone.
func TestLeftUploadsAreAborted(t *testing.T) {
	t.Parallel()
	for _, now := range []time.Time{time.Now(), time.Now().Add(72 * time.Hour)} {
		check := func(name string, want bool, h haunted) {
			t.Helper()
			srv := limited(t)
			h.Access, h.now = access(t, srv), now
			srv.Put("src", "k", long)
			p := job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest"}
			o, err := operation.New(job.Operation{S3PutObjectCopy: &p}, operation.Env{
				Client: &h, Objects: h.Access, PartSize: 10, Job: &job.Job{CreationTime: time.Now().Add(-time.Hour)},
			})
			if err != nil {
				t.Fatal(err)
			}
			if out := task(t, o, "src", "k", ""); out.Message != "Successful (multipart copy, 4 parts)" {
				t.Errorf("%s: %+v", name, out)
			}
			if got := slices.Contains(h.aborted, "uploadId=left"); got != want || len(h.aborted) > 1 || len(h.aborted) == 1 && !got {
				t.Errorf("%s: aborted %q, want the one that was left: %t", name, h.aborted, want)
			}
		}
		ago := func(d time.Duration) time.Time { return now.Add(-d) }
		left := upload("k", "left", "me", ago(30*time.Minute))
		old := partAt(ago(25*time.Minute)) + partAt(ago(20*time.Minute))
		check("dead", true, haunted{left: left, parts: old, initiator: "me"})
		check("dead before its first part", true, haunted{left: left, initiator: "me"})
		check("somebody else's", false, haunted{left: upload("k", "left", "you", ago(30*time.Minute)), parts: old, initiator: "me"})
		check("nobody tells whose", false, haunted{left: upload("k", "left", "", ago(30*time.Minute)), parts: old})
		check("older than the job", false, haunted{left: upload("k", "left", "me", ago(2*time.Hour)), parts: old, initiator: "me"})
		check("younger than ours", false, haunted{left: upload("k", "left", "me", ago(5*time.Minute)), parts: old, initiator: "me"})
		check("alive", false, haunted{left: left, parts: old + partAt(ago(30*time.Second)), initiator: "me"})
		check("of another key", false, haunted{left: upload("k2", "left", "me", ago(30*time.Minute)), parts: old, initiator: "me"})
		check("none", false, haunted{initiator: "me"})
	}
}
