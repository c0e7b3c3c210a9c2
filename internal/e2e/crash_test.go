package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// TestKill9 kills the server ten times in the middle of a job of 20,000 objects.
// In the end every object must be changed, and every task counted and reported
// exactly once; and whatever the API had acknowledged before a kill must be true
// after it.
func TestKill9(t *testing.T) {
	t.Parallel()
	const tasks, kills = 20_000, 10
	o := startObjects(t)
	o.buckets(t, "data", "manifests", "reports")
	etag := o.put(t, "manifests", "manifest.csv", o.seed(t, "data", tasks))

	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("segment_interval: 200ms\nstore: {max_concurrency: 16}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, o, dir, address, "--config", config)
	c := control(address)
	created, err := c.CreateJob(t.Context(), tagJob(etag, "crash", "survived"))
	if err != nil {
		t.Fatal(err)
	}
	id := *created.JobId

	for i := range kills {
		priority := int32(100 + i)
		if _, err := c.UpdateJobPriority(t.Context(), &s3control.UpdateJobPriorityInput{AccountId: aws.String(account), JobId: &id, Priority: priority}); err != nil {
			t.Fatal(err)
		}
		tags := []types.S3Tag{{Key: aws.String("kill"), Value: aws.String(fmt.Sprint(i))}}
		if _, err := c.PutJobTagging(t.Context(), &s3control.PutJobTaggingInput{AccountId: aws.String(account), JobId: &id, Tags: tags}); err != nil {
			t.Fatal(err)
		}
		// Somewhere in the next twelfth of the job, so that no kill comes too late. The
		// counters move when outcomes are committed; some calls more, and the kill is
		// anywhere between two commits.
		point, calls := int64(i*tasks/12+rand.N(tasks/12)), rand.N(100)
		before := until(t, c, id, func(j *types.JobDescriptor) bool {
			return ended(j) || aws.ToInt64(j.ProgressSummary.NumberOfTasksSucceeded) >= point
		})
		for range calls {
			before = describe(t, c, id)
		}
		p.kill()
		if ended(before) {
			t.Fatalf("the job ended before kill %d", i+1)
		}
		p = serve(t, o, dir, address, "--config", config)
		after := describe(t, c, id)
		if after.Priority != priority {
			t.Errorf("kill %d: priority %d was acknowledged, is %d", i+1, priority, after.Priority)
		}
		got, err := c.GetJobTagging(t.Context(), &s3control.GetJobTaggingInput{AccountId: aws.String(account), JobId: &id})
		if err != nil || len(got.Tags) != 1 || *got.Tags[0].Value != fmt.Sprint(i) {
			t.Errorf("kill %d: tags are %v, %v", i+1, got, err)
		}
		if b, a := *before.ProgressSummary.NumberOfTasksSucceeded, *after.ProgressSummary.NumberOfTasksSucceeded; a < b {
			t.Errorf("kill %d: %d tasks had succeeded, now %d have", i+1, b, a)
		}
		t.Logf("kill %d drawn at %d and %d calls, at %d of %d tasks, %s",
			i+1, point, calls, *after.ProgressSummary.NumberOfTasksSucceeded, tasks, after.Status)
	}
	j := until(t, c, id, ended)
	if j.Status != types.JobStatusComplete {
		t.Fatalf("the job ended %s: %+v", j.Status, j.FailureReasons)
	}
	if s := j.ProgressSummary; *s.TotalNumberOfTasks != tasks || *s.NumberOfTasksSucceeded != tasks || *s.NumberOfTasksFailed != 0 {
		t.Errorf("counters: %d tasks, %d succeeded, %d failed", *s.TotalNumberOfTasks, *s.NumberOfTasksSucceeded, *s.NumberOfTasksFailed)
	}
	exactlyOnce(t, o.report(t, "reports", "r", id), tasks, "succeeded")
	o.tagged(t, "data", tasks, "crash", "survived")
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// TestSIGTERM stops the server in the middle of a job: it hands back what it has
// not done, and the next process goes on without a gap or a double.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	const tasks = 3_000
	o := startObjects(t)
	o.buckets(t, "data", "manifests", "reports")
	etag := o.put(t, "manifests", "manifest.csv", o.seed(t, "data", tasks))
	dir, address := t.TempDir(), freeAddress(t)
	p := serve(t, o, dir, address)
	c := control(address)
	created, err := c.CreateJob(t.Context(), tagJob(etag, "term", "ok"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, c, *created.JobId, func(j *types.JobDescriptor) bool { return j.Status == types.JobStatusActive })
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	serve(t, o, dir, address)
	j := until(t, c, *created.JobId, ended)
	if j.Status != types.JobStatusComplete || *j.ProgressSummary.NumberOfTasksSucceeded != tasks {
		t.Errorf("got %s, %+v", j.Status, j.ProgressSummary)
	}
	exactlyOnce(t, o.report(t, "reports", "r", *created.JobId), tasks, "succeeded")
	o.tagged(t, "data", tasks, "term", "ok")
}

// TestKill9Generator kills the server while it lists, and again while it works on what it has listed: every object is
// done once.
func TestKill9Generator(t *testing.T) {
	t.Parallel()
	const tasks = 3_000
	o := startObjects(t)
	o.buckets(t, "data", "manifests", "reports")
	o.seed(t, "data", tasks)
	var pages atomic.Int64
	slow := startSlowStore(t, o.endpoint, func(r *http.Request) bool {
		return r.URL.Query().Has("list-type") && strings.HasPrefix(r.URL.Path, "/data") && pages.Add(1) > 3
	})
	through := *o
	through.endpoint = slow.url
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("segment_interval: 100ms\nstore: {max_concurrency: 8}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, &through, dir, address, "--config", config)
	c := control(address)
	out, err := c.CreateJob(t.Context(), generating("data", "survivor", false, nil))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-slow.reached:
	case <-time.After(time.Minute):
		t.Fatal("the bucket is not listed")
	}
	if j := describe(t, c, *out.JobId); j.Status != types.JobStatusPreparing {
		t.Errorf("the job is %s while its bucket is listed", j.Status)
	}
	p.kill()
	slow.release()

	p = serve(t, &through, dir, address, "--config", config)
	j := until(t, c, *out.JobId, func(j *types.JobDescriptor) bool {
		return ended(j) || aws.ToInt64(j.ProgressSummary.NumberOfTasksSucceeded) > 0
	})
	p.kill()
	if ended(j) {
		t.Fatalf("the job is %s before the second kill: %+v", j.Status, j.FailureReasons)
	}
	serve(t, &through, dir, address, "--config", config)
	j = until(t, c, *out.JobId, ended)
	if s := j.ProgressSummary; j.Status != types.JobStatusComplete || *s.TotalNumberOfTasks != tasks || *s.NumberOfTasksSucceeded != tasks {
		t.Fatalf("the job ended %s: %+v, %+v", j.Status, j.FailureReasons, s)
	}
	exactlyOnce(t, o.report(t, "reports", "r", *out.JobId), tasks, "succeeded")
	o.tagged(t, "data", tasks, "by", "survivor")
}
