package objectstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// TestCredentialsAreRenewedInTime follows the clock: renewed early, kept while there is nothing better, never used after
// they have expired.
func TestCredentialsAreRenewedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, broken, life := 0, false, time.Hour
		source := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			if asked++; broken {
				return aws.Credentials{}, errors.New("out of order")
			}
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s", CanExpire: true, Expires: time.Now().Add(life)}, nil
		})
		cache := cached(source, 0)
		check := func(later time.Duration, wantAsked int, wantErr bool) {
			t.Helper()
			time.Sleep(later)
			asked = 0
			for range 3 {
				keys, err := cache.Retrieve(t.Context())
				if (err != nil) != wantErr || err == nil && keys.AccessKeyID != "a" {
					t.Errorf("%+v, %v", keys, err)
				}
			}
			if asked != wantAsked {
				t.Errorf("asked %d times, want %d", asked, wantAsked)
			}
		}
		check(0, 1, false)
		check(54*time.Minute, 0, false)
		check(2*time.Minute, 1, false) // 56 minutes old
		broken = true
		check(56*time.Minute, 1, false) // the old ones, once asked in vain
		check(20*time.Second, 0, false)
		check(20*time.Second, 1, false)
		check(5*time.Minute, 3, true) // expired
		broken, life = false, time.Minute
		check(0, 1, false)
		check(39*time.Second, 0, false)
		check(2*time.Second, 1, false)

		forever := cached(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			if asked++; broken {
				return aws.Credentials{}, errors.New("out of order")
			}
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "s"}, nil
		}), time.Minute)
		cache = forever
		check(0, 1, false)
		check(59*time.Second, 0, false)
		check(2*time.Second, 1, false)
		broken = true
		check(10*time.Hour, 1, false)
	})
}
