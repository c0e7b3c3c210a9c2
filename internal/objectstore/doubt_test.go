package objectstore_test

import (
	"testing"

	"stevedore/internal/objectstore"
	"stevedore/internal/objectstore/objectstoretest"
)

// TestDoubt tells what may have had its effect before from what cannot.
func TestDoubt(t *testing.T) {
	t.Parallel()
	check := func(name string, want bool, actions ...objectstoretest.Action) {
		t.Helper()
		s3, store := start(t, objectstoretest.Config{}, nil)
		s3.Put("b", "k", "x")
		if res := do(t, store, tag("k")); !res.OK() || res.Doubt { // so that a connection is kept
			t.Errorf("%s: without a fault: %+v", name, res)
		}
		for _, a := range actions {
			s3.Fault(objectstoretest.Match{Op: "PutObjectTagging", Times: 1}, a)
		}
		var res objectstore.Result
		for range 2 { // the second time there is nothing to doubt
			if store.Do(t.Context(), tag("k"), &res); res.Doubt != want {
				t.Errorf("%s: got %+v, want doubt %t", name, res, want)
			}
			want = false
		}
	}
	refused := objectstoretest.Status(409, "RestoreAlreadyInProgress")
	check("refused at once", false, refused)
	check("slow down", false, objectstoretest.SlowDown(), refused)
	check("lost", true, objectstoretest.ResetAfter(), refused)
	check("lost, then slow down", true, objectstoretest.ResetAfter(), objectstoretest.SlowDown(), refused)
	check("500", true, objectstoretest.Status(500, "InternalError"), refused)
	check("502 of a proxy", true, objectstoretest.Status(502, ""), refused)
}
