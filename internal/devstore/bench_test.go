//go:build !slim

package devstore

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// BenchmarkPutObjectTagging says how fast a test or a demo may be on the
// development store; the SDK as its client has a good share in the cost.
func BenchmarkPutObjectTagging(b *testing.B) {
	const objects = 1000
	s, err := Start(b.Context(), Config{Dir: b.TempDir(), AccessKey: testKey, Secret: testSecret})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	c := newClient(b, s.Endpoint())
	createBucket(b, c, "bkt")
	for i := range objects {
		put(b, c, "bkt", strconv.Itoa(i), "x")
	}
	tagging := &types.Tagging{TagSet: []types.Tag{{Key: new("tier"), Value: new("cold")}}}
	var next atomic.Int64
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := strconv.FormatInt(next.Add(1)%objects, 10)
			_, err := c.PutObjectTagging(b.Context(), &s3.PutObjectTaggingInput{Bucket: new("bkt"), Key: &key, Tagging: tagging})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
}
