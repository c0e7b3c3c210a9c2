package objectstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/objectstore"
)

// piped is a store in a bubble of synctest: requests go through net.Pipe to answer, which gets the number of each.
func piped(t *testing.T, answer func(n int) string, change func(*objectstore.Config)) *objectstore.Store {
	t.Helper()
	var n atomic.Int32
	cfg := objectstore.Config{
		Endpoint: "http://s3.test", Credentials: &rotating{keys: []aws.Credentials{{AccessKeyID: "a", SecretAccessKey: "s"}}},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer func() { _ = server.Close() }()
				for in := bufio.NewReader(server); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if _, err := io.WriteString(server, answer(int(n.Add(1)))); err != nil {
						return
					}
				}
			}()
			return client, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	return open(t, cfg)
}

func answerOf(status int, headers ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: 0\r\n%s\r\n", status, strings.Join(headers, "\r\n")+map[bool]string{true: "\r\n"}[len(headers) > 0])
}

func TestBackoffGrowsWithFullJitter(t *testing.T) {
	t.Parallel()
	longest := make([]time.Duration, 6)
	shortest := time.Hour
	for range 60 {
		synctest.Test(t, func(t *testing.T) {
			last, n := time.Now(), 0
			store := piped(t, func(int) string {
				wait := time.Since(last)
				last = time.Now()
				longest[n] = max(longest[n], wait)
				if n == 1 {
					shortest = min(shortest, wait)
				}
				n++
				return answerOf(503)
			}, func(c *objectstore.Config) {
				c.MaxAttempts, c.BackoffBase, c.BackoffCap = 6, time.Second, 5*time.Second
			})
			defer store.Close()
			if res := do(t, store, tag("k")); res.Attempts != 6 || res.Code != "ServiceUnavailable" {
				t.Errorf("%+v", res)
			}
		})
	}
	if longest[0] != 0 {
		t.Errorf("waited %v before the first attempt", longest[0])
	}
	for i, limit := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		if got := longest[i+1]; got > limit || got < limit/2 { // 60 draws below the half: 2^-60
			t.Errorf("longest wait before attempt %d is %v, want up to %v", i+2, got, limit)
		}
	}
	if shortest > 500*time.Millisecond {
		t.Errorf("shortest wait is %v: no full jitter", shortest)
	}
}

func TestRetryAfterIsHonouredUpToTheCap(t *testing.T) {
	t.Parallel()
	check := func(header string, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			store := piped(t, func(n int) string {
				if n == 1 {
					return answerOf(503, header)
				}
				return answerOf(200)
			}, func(c *objectstore.Config) { c.BackoffBase = time.Nanosecond })
			defer store.Close()
			begin := time.Now()
			res := do(t, store, tag("k"))
			if got := time.Since(begin).Round(time.Second); got != want || !res.OK() || res.Attempts != 2 {
				t.Errorf("%s: %v, want %v; %+v", header, got, want, res)
			}
		})
	}
	check("Retry-After: 7", 7*time.Second)
	check("Retry-After: 3600", 20*time.Second)
	check("Retry-After: soon", 0)
}

func TestRetryingEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := piped(t, func(int) string { return answerOf(503, "Retry-After: 20") }, func(c *objectstore.Config) {
			c.MaxAttempts, c.MaxRetryTime = 1000, time.Minute
		})
		defer store.Close()
		begin := time.Now()
		res := do(t, store, tag("k"))
		if got := time.Since(begin); got > time.Minute || res.Attempts != 4 || res.Interrupted() || res.Status != 503 {
			t.Errorf("after %v: %+v", got, res)
		}
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dialled atomic.Int32
		store := piped(t, func(int) string { return answerOf(200) }, func(c *objectstore.Config) {
			dial := c.Dial
			c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled.Add(1)
				return dial(ctx, network, address)
			}
		})
		defer store.Close()
		check := func(pause time.Duration, want int32) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if res := do(t, store, tag("k")); !res.OK() || dialled.Load() != want {
				t.Errorf("after %v: %d dialled, want %d; %+v", pause, dialled.Load(), want, res)
			}
		}
		check(0, 1)
		check(time.Second, 1)
		check(20*time.Second, 1)
		check(2*time.Minute, 2)
	})
}

func TestUnaskedAnswersAreNotBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := piped(t, func(n int) string {
			if n == 1 { // a second answer that nobody has asked for
				return answerOf(200) + answerOf(404)
			}
			return answerOf(204)
		}, nil)
		defer store.Close()
		if res := do(t, store, tag("k")); res.Status != 200 {
			t.Errorf("first: %+v", res)
		}
		if res := do(t, store, tag("k")); res.Status != 204 {
			t.Errorf("second: %+v", res)
		}
	})
}
