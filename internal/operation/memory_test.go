package operation_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
	"stevedore/internal/operation"
)

// probed is a store that UpdateObjectEncryption works with, or nothing does. It
// counts the probes.
type probed struct {
	works  bool
	probes int
	body   []byte
}

func (p *probed) client() operation.Client {
	return clientFunc(func(req *objectstore.Request, res *objectstore.Result) {
		*res = objectstore.Result{Status: http.StatusOK, Attempts: 1}
		switch {
		case !strings.HasPrefix(string(req.Key), ".stevedore-probe/"):
		case req.Query == "encryption":
			p.probes++
			if !p.works {
				res.Status, res.Code = http.StatusNotImplemented, "NotImplemented"
			}
		case req.Method == http.MethodPut:
			p.body = req.Body.Bytes
		case req.Method == http.MethodGet:
			res.Body = p.body
			if p.works {
				res.Header = []objectstore.Header{{Name: sse, Value: "aws:kms"}, {Name: sse + "-aws-kms-key-id", Value: kmsKey}}
			}
		}
	})
}

func accessTo(t *testing.T) *objectstore.Access {
	t.Helper()
	store, err := objectstore.New(objectstore.Config{Endpoint: "http://127.0.0.1:1", Credentials: credentials.NewStaticCredentialsProvider("a", "s", "")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	a, err := objectstore.NewAccess(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestMemory counts the probes of jobs that come after each other.
func TestMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &probed{works: true}
		check := func(name string, m *operation.Recollection, bucket string, works bool, probes int) {
			t.Helper()
			store.works, store.probes = works, 0
			o, err := operation.New(job.Operation{S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{
				ObjectEncryption: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: kmsKey}},
			}}, operation.Env{Client: store.client(), Job: new(job.Job), Memory: m})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if out := task(t, o, bucket, "k", ""); out.Failed == works {
					t.Errorf("%s: got %+v", name, out)
				}
			}
			if store.probes != probes {
				t.Errorf("%s: %d probes, want %d", name, store.probes, probes)
			}
		}
		memory, access := new(operation.Memory), accessTo(t)
		known := memory.Of(access)
		check("nothing works", known, "b", false, 1)
		check("still nothing", known, "b", false, 1)
		check("mended", known, "b", true, 1)
		check("another job", known, "b", true, 0)
		check("limited", memory.Of(access.Limited(objectstore.NewLimiter(objectstore.Limits{}))), "b", true, 0)
		check("no memory", nil, "b", true, 1)
		check("another bucket", known, "c", true, 1)
		check("another store", memory.Of(accessTo(t)), "b", true, 1)
		time.Sleep(10*time.Minute - time.Second)
		check("a while later", known, "b", true, 0)
		time.Sleep(2 * time.Second)
		check("too late", known, "b", true, 1)
		for i := range 1200 { // it is bounded, and what came last is known
			check("many", known, fmt.Sprint(i), true, 1)
		}
		check("the last", known, "1199", true, 0)
		if n := memory.Len(); n > 1000 {
			t.Errorf("%d are remembered", n)
		}
	})
}

// TestMemoryOfKeys: what works with one key says nothing of another.
func TestMemoryOfKeys(t *testing.T) {
	t.Parallel()
	known := new(operation.Memory).Of(accessTo(t))
	store := &probed{works: true}
	for i, key := range []*job.UpdateSSEKMS{
		{KMSKeyArn: kmsKey},
		{KMSKeyArn: strings.Replace(kmsKey, "us-east-1", "us-west-1", 1)},
		{KMSKeyArn: kmsKey, BucketKeyEnabled: new(true)},
	} {
		o, err := operation.New(job.Operation{S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{
			ObjectEncryption: &job.ObjectEncryption{SSEKMS: key},
		}}, operation.Env{Client: store.client(), Job: new(job.Job), Memory: known})
		if err != nil {
			t.Fatal(err)
		}
		task(t, o, "b", "k", "")
		if store.probes != i+1 {
			t.Errorf("%d probes, want %d", store.probes, i+1)
		}
	}
}
