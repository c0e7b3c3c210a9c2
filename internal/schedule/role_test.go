package schedule_test

import (
	"strings"
	"testing"

	"stevedore/internal/job"
	s3test "stevedore/internal/objectstore/objectstoretest"
)

// goneRole is why a job without a role fails in the tests.
func goneRole() job.FailureReason { return job.Fail("RoleGone", "The role is gone.") }

func TestAJobWhoseRoleIsGoneEnds(t *testing.T) {
	t.Parallel()
	isIndex := func(key string) bool { return strings.HasSuffix(key, "/manifest.json") }
	// Each job is caught at a request that its status makes.
	check := func(name string, match s3test.Match) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).run()
			keys := w.seed(40)
			gate := s3test.NewGate()
			// What a dead process had asked for is not done once the gate opens.
			w.s3.Fault(match, s3test.Block(gate).Then(s3test.ResetBefore()))
			id := w.create(w.spec(keys))
			w.arrived(gate)
			w.crash()
			gate.Open()
			w.roleGone = true
			w.run()
			j := w.awaitStatus(id, job.Failed)
			if w.reason(j) != goneRole() {
				t.Errorf("failure reasons %+v", j.FailureReasons)
			}
			if _, written := w.report(id); written {
				t.Error("there is a report")
			}
			if work, err := w.store.Work(t.Context(), id); err != nil || work.Chunks+work.Claims > 0 {
				t.Errorf("left in the job store: %+v, %v", work, err)
			}
		})
	}
	check("preparing", s3test.Match{Op: "GetObject", Bucket: "manifests", Times: 1})
	check("active", s3test.Match{Op: "PutObjectTagging", Skip: 20, Times: 1})
	check("completing", s3test.Match{Op: "PutObject", Bucket: "reports", Key: isIndex, Times: 1})
}

// A limit that would hold the job up for hours is lifted while it runs.
func TestTagsLimitAJobWhileItRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	gate := s3test.NewGate()
	w.s3.Fault(s3test.Match{Op: "PutObjectTagging", Times: 1}, s3test.Block(gate))
	spec := w.spec(w.seed(200))
	spec.Tags = []job.Tag{{Key: job.TagMaxRequestsPerSecond, Value: "0.01"}}
	id := w.create(spec)
	w.arrived(gate)
	gate.Open()
	if j := w.job(id); j.Status != job.Active || w.s3.Count("PutObjectTagging") > 1 {
		t.Errorf("job is %s after %d tasks; one may begin in 100 s", j.Status, w.s3.Count("PutObjectTagging"))
	}
	if err := w.desk.SetTags(t.Context(), account, region, id, []job.Tag{{Key: "team", Value: "any"}}); err != nil {
		t.Fatal(err)
	}
	w.awaitStatus(id, job.Complete)
	w.verify(id)
}
