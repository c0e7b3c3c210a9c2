package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	s3test "stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/service"
)

// seeded is a service over a store in process, with a manifest of n rows, one of
// them without its object.
func seeded(t *testing.T, n int) (w *world, store *s3test.Server, etag string) {
	t.Helper()
	store = s3test.Start(t, s3test.Config{AccessKey: "key", Secret: "secret"})
	store.CreateBucket("data", "manifests", "reports")
	var b strings.Builder
	for i := range n {
		if i > 0 {
			store.Put("data", fmt.Sprint("k", i), "x")
		}
		fmt.Fprintf(&b, "data,k%d\n", i)
	}
	etag = store.Put("manifests", "m.csv", b.String()).ETag
	return startOver(t, store.URL()), store, etag
}

// openWhenStopping opens the gate once Stop, of the service at endpoint, waits for what is in flight.
func openWhenStopping(endpoint string, gate *s3test.Gate) {
	defer gate.Open()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get(endpoint + "/readyz")
		if err != nil {
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return
		}
		<-tick.C
	}
}

func TestAJobSurvivesItsProcess(t *testing.T) {
	t.Parallel()
	const n = 1200
	for phase, at := range map[string]s3test.Match{
		"planning": {Op: "GetObject", Bucket: "manifests"},
		"tasks":    {Op: "PutObjectTagging", Skip: n / 2},
		"report":   {Op: "PutObject", Bucket: "reports", Key: func(k string) bool { return strings.HasSuffix(k, "manifest.json") }},
	} {
		for _, end := range []string{"stopped", "abandoned"} {
			t.Run(phase+", "+end, func(t *testing.T) {
				t.Parallel()
				w, store, etag := seeded(t, n)
				gate := s3test.NewGate()
				fault := store.Fault(at, s3test.Block(gate))
				id := w.tagging(t, etag)
				<-gate.Arrived()
				if end == "stopped" {
					go openWhenStopping(w.service.Endpoint(), gate)
				} else {
					w.service.Abandon()
					gate.Open()
				}
				w.restart(t)
				fault.Remove()
				again := w.tagging(t, etag) // a client that never got its answer
				if again != id {
					t.Errorf("the same request made job %s and then %s", id, again)
				}
				j := w.wait(t, id, types.JobStatusComplete)
				if p := j.ProgressSummary; *p.TotalNumberOfTasks != n || *p.NumberOfTasksSucceeded != n-1 || *p.NumberOfTasksFailed != 1 {
					t.Errorf("progress: %+v", p)
				}
				w.report(t, id, n-1, 1)
			})
		}
	}
}

func TestALostLeaseIsANewStart(t *testing.T) {
	t.Parallel()
	w, store, etag := seeded(t, 2500)
	gate := s3test.NewGate()
	fault := store.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 1000}, s3test.Block(gate))
	id := w.tagging(t, etag)
	<-gate.Arrived()
	if err := w.service.LoseLease(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate.Open()
	fault.Remove()
	w.wait(t, id, types.JobStatusComplete)
	w.report(t, id, 2499, 1)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w, _, _ := seeded(t, 1)
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		if status, body := get(t, w.service.Endpoint()+path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := get(t, w.service.Endpoint()+"/v20180820/jobs"); status != 403 {
		t.Errorf("unsigned request: %d", status)
	}
}

func TestWhatKeepsAServiceFromStarting(t *testing.T) {
	t.Parallel()
	w, _, _ := seeded(t, 1)

	taken := w.config
	taken.DataDir, taken.Listen = t.TempDir(), strings.TrimPrefix(w.service.Endpoint(), "http://")
	_, err := service.Start(t.Context(), taken)
	if _, ok := errors.AsType[*service.ListenError](err); !ok {
		t.Errorf("port taken: %v", err)
	}
	_, err = service.Start(t.Context(), w.config)
	if _, ok := errors.AsType[*service.DataError](err); !ok {
		t.Errorf("data directory taken: %v", err)
	}
	bad := w.config
	bad.Account, bad.Listen, bad.Store.SecretKey, bad.Retention = "1", "nowhere", "", -1
	_, err = service.Start(t.Context(), bad)
	for _, part := range []string{"account:", "listen:", "store:", "retention:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("problems lack %s %v", part, err)
		}
	}
}

// Not parallel: it looks at the goroutines of the whole process.
func TestStopLeavesNothingRunning(t *testing.T) {
	w, store, etag := seeded(t, 1200)
	gate := s3test.NewGate()
	store.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 600, Times: 1}, s3test.Block(gate))
	id := w.tagging(t, etag)
	<-gate.Arrived()
	gate.Open()
	if err := w.service.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	<-w.service.Done()
	if err := w.service.Err(); err != nil {
		t.Error(err)
	}
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range bytes.SplitSeq(all, []byte("\n\n")) {
		for _, ours := range []string{"schedule", "run", "plan", "service", "jobstore", "report", "operation"} {
			if bytes.Contains(stack, []byte("stevedore/internal/"+ours+".")) && !bytes.Contains(stack, []byte("_test.")) {
				t.Errorf("still running:\n%s", stack)
			}
		}
	}
	left, err := os.ReadDir(filepath.Join(w.config.DataDir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	w.restart(t)
	w.wait(t, id, types.JobStatusComplete)
	w.report(t, id, 1199, 1)
}
