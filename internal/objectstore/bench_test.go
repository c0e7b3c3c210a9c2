package objectstore_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/objectstore"
)

// nothing answers any request of at most one body line with 200, as cheaply as a goroutine can.
func nothing(b *testing.B) string {
	b.Helper()
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReaderSize(c, 8<<10)
				for {
					if _, err := in.Peek(1); err != nil { // the client sends a request with one write
						return
					}
					if _, err := in.Discard(in.Buffered()); err != nil {
						return
					}
					if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-amz-request-id: 0123456789ABCDEF\r\n\r\n")); err != nil {
						return
					}
				}
			})
		}
	})
	b.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// BenchmarkDo measures a PutObjectTagging from 64 goroutines. Against the server in process, CPU and allocations of both
// sides count; STEVEDORE_BENCH_ENDPOINT names another store, such as a null store in C, and then they are the client's
// alone.
func BenchmarkDo(b *testing.B) {
	endpoint := os.Getenv("STEVEDORE_BENCH_ENDPOINT")
	if endpoint == "" {
		endpoint = nothing(b)
	}
	store, err := objectstore.New(objectstore.Config{
		Endpoint: endpoint,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secretsecret"}, nil
		}),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	b.ReportAllocs()
	b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		req := objectstore.Request{Method: "PUT", Bucket: "bench", Query: "tagging", Body: objectstore.NewBody([]byte(tags))}
		key := []byte("data/" + strings.Repeat("x", 20) + "-0000000000.bin")
		var res objectstore.Result
		for pb.Next() {
			for i := len(key) - 5; ; i-- { // another key each time
				if key[i]++; key[i] <= '9' {
					break
				}
				key[i] = '0'
			}
			req.Key = key
			if store.Do(b.Context(), &req, &res); !res.OK() {
				b.Errorf("%+v", res)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

// cpu is what the process has used so far, user and system.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
