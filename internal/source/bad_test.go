package source_test

import (
	"errors"
	"strings"
	"testing"

	"stevedore/internal/job"
	"stevedore/internal/manifest"
	"stevedore/internal/manifest/manifesttest"
	"stevedore/internal/objectstore"
	"stevedore/internal/source"
)

// Every bad manifest says what is wrong and where, in as many characters as the API has for it.
func TestBadManifests(t *testing.T) {
	t.Parallel()
	bads := manifesttest.Bads("b")
	if len(bads) < 40 {
		t.Errorf("only %d bad manifests", len(bads))
	}
	names := map[string]bool{}
	for _, bad := range bads {
		if names[bad.Name] {
			t.Errorf("%s is there twice", bad.Name)
		}
		names[bad.Name] = true
		s := store{}
		for key, object := range bad.Objects {
			s["b/"+key] = object
		}
		src, err := source.Locate(t.Context(), s, source.Spec{
			Format: bad.Format, Fields: bad.Fields,
			Object: objectstore.Object{Bucket: "b", Key: bad.Key, ETag: s.etag(bad.Key)},
		})
		if err == nil {
			var rows []string
			if rows, err = all(t, src); err == nil && len(rows) == 0 {
				continue // for the planner to refuse
			}
		}
		failed, ok := errors.AsType[*job.FailedError](err)
		if !ok {
			t.Errorf("%s: error %v, want a *job.FailedError", bad.Name, err)
			continue
		}
		if got := failed.Reason; got.FailureCode != bad.Code || !strings.Contains(got.FailureReason, bad.Reason) {
			t.Errorf("%s: got %+v, want %s, %q", bad.Name, got, bad.Code, bad.Reason)
		}
		if _, ok := errors.AsType[*manifest.Error](err); ok != (bad.Code == job.CodeInvalidManifest) {
			t.Errorf("%s: error %#v does not tell bad content", bad.Name, err)
		}
		t.Logf("%s: %s", bad.Name, failed)
	}
}
