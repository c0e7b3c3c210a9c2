package generate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stevedore/internal/job"
)

// corpus returns objects whose keys are of the kinds that people have: numbers, hexadecimal, dates, UUIDs, odd characters.
func corpus(seed uint64, n int) []item {
	r := rand.New(rand.NewPCG(seed, 2))
	items := make([]item, n)
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range items {
		it := &items[i]
		switch k := r.IntN(100); {
		case k < 35:
			it.key = fmt.Sprintf("img/%010d.jpg", i)
		case k < 55:
			it.key = fmt.Sprintf("%08x/%08x", r.Uint32(), i)
		case k < 75:
			it.key = day.Add(time.Duration(r.IntN(400*24))*time.Hour).Format("logs/2006/01/02/15/") + strconv.Itoa(i) + ".gz"
		case k < 85:
			it.key = fmt.Sprintf("IMG/%08X-%04X-4%03X", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12)) + strconv.Itoa(i)
		case k < 95:
			it.key = fmt.Sprintf("b c/%d+ü 漢&<>\"',%%20é\n\t/%d", r.IntN(50), i)
		default:
			it.key = strings.Repeat("deep/", 1+r.IntN(60)) + "\U0001F600" + strconv.Itoa(i)
		}
		it.size = int64(r.IntN(20)) * 1000
		it.modified = day.Add(time.Duration(r.IntN(1000)) * time.Hour)
		it.class = []string{"", "", "STANDARD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"}[r.IntN(7)]
		it.encryption = []string{"", "AES256", "aws:kms", "aws:kms:dsse", "customer"}[r.IntN(5)]
		if strings.HasPrefix(it.encryption, "aws:kms") {
			it.kmsKey = kmsKeys[r.IntN(len(kmsKeys))]
			it.bucketKey = it.encryption == "aws:kms" && r.IntN(2) == 0
		}
		it.replication = []string{"", "", "COMPLETED", "FAILED", "REPLICA", "PENDING"}[r.IntN(6)]
		it.gone = r.IntN(200) == 0
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	return items
}

var kmsKeys = []string{
	"arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
	"arn:aws:kms:us-east-1:123456789012:key/66666666-7777-8888-9999-000000000000",
}

// versioned makes a history of some of the items: versions from before, delete markers, null versions.
func versioned(seed uint64, items []item) (out []item) {
	r := rand.New(rand.NewPCG(seed, 3))
	for _, it := range items {
		n := 1 + max(0, r.IntN(6)-2)
		if r.IntN(500) == 0 {
			n = 300 + r.IntN(1000)
		}
		for v := range n {
			version := it
			version.version = fmt.Sprintf("v%06d", 999_999-v)
			if v == n-1 && r.IntN(3) == 0 {
				version.version = "null"
			}
			version.latest = v == 0
			version.marker = r.IntN(8) == 0
			version.size += int64(v)
			if version.marker {
				version.size, version.class = 0, ""
			}
			out = append(out, version)
		}
	}
	return out
}

// randomFilter returns a filter that some of the items pass, mostly.
func randomFilter(r *rand.Rand, items []item) *job.GeneratorFilter {
	if r.IntN(40) == 0 {
		return nil
	}
	f := &job.GeneratorFilter{}
	maybe := func(perCent int, set func()) {
		if r.IntN(100) < perCent {
			set()
		}
	}
	some := items[r.IntN(len(items))]
	part := func() string {
		runes := []rune(some.key)
		from := r.IntN(len(runes))
		return string(runes[from:min(len(runes), from+1+r.IntN(3))])
	}
	maybe(60, func() {
		f.KeyNameConstraint = &job.KeyNameConstraint{}
		maybe(70, func() {
			runes := []rune(some.key)
			f.KeyNameConstraint.MatchAnyPrefix = []string{string(runes[:1+r.IntN(min(len(runes), 8))])}
		})
		maybe(30, func() {
			runes := []rune(some.key)
			f.KeyNameConstraint.MatchAnySuffix = []string{string(runes[max(0, len(runes)-1-r.IntN(3)):])}
		})
		maybe(30, func() { f.KeyNameConstraint.MatchAnySubstring = []string{part()} })
	})
	maybe(25, func() { f.CreatedAfter = new(some.modified.Add(time.Duration(r.IntN(3)-1) * time.Nanosecond)) })
	maybe(25, func() { f.CreatedBefore = new(items[r.IntN(len(items))].modified) })
	maybe(25, func() { f.ObjectSizeGreaterThanBytes = new(some.size + int64(r.IntN(3)) - 1) })
	maybe(25, func() { f.ObjectSizeLessThanBytes = new(items[r.IntN(len(items))].size) })
	maybe(20, func() {
		all := job.StorageClass("").Values()
		for range 1 + r.IntN(3) {
			f.MatchAnyStorageClass = append(f.MatchAnyStorageClass, job.StorageClass(all[r.IntN(len(all))]))
		}
	})
	maybe(15, func() {
		f.MatchAnyObjectEncryption = []job.ObjectEncryptionFilter{[]job.ObjectEncryptionFilter{
			{SSES3: &job.SSES3{}},
			{SSEKMS: &job.SSEKMSFilter{}},
			{SSEKMS: &job.SSEKMSFilter{KmsKeyArn: kmsKeys[0]}},
			{SSEKMS: &job.SSEKMSFilter{KmsKeyArn: kmsKeys[1], BucketKeyEnabled: new(true)}},
			{SSEKMS: &job.SSEKMSFilter{BucketKeyEnabled: new(false)}},
			{DSSEKMS: &job.DSSEKMSFilter{}},
			{DSSEKMS: &job.DSSEKMSFilter{KmsKeyArn: kmsKeys[1]}},
			{SSEC: &job.SSEC{}},
			{NOTSSE: &job.NotSSE{}},
		}[r.IntN(9)]}
	})
	maybe(12, func() {
		all := job.ReplicationStatus("").Values()
		for range 1 + r.IntN(2) {
			f.ObjectReplicationStatuses = append(f.ObjectReplicationStatuses, job.ReplicationStatus(all[r.IntN(len(all))]))
		}
	})
	maybe(20, func() { f.EligibleForReplication = new(r.IntN(2) == 0) })
	return f
}

// wanted says, in other words than the package, whether an item passes.
func wanted(it *item, f *job.GeneratorFilter) bool {
	if f == nil {
		return true
	}
	head := func() bool { return !it.gone && !it.marker }
	if n := f.KeyNameConstraint; n != nil {
		for _, s := range n.MatchAnyPrefix {
			if strings.Index(it.key, s) != 0 {
				return false
			}
		}
		for _, s := range n.MatchAnySuffix {
			if i := strings.LastIndex(it.key, s); i < 0 || i+len(s) != len(it.key) {
				return false
			}
		}
		for _, s := range n.MatchAnySubstring {
			if len(strings.Split(it.key, s)) == 1 {
				return false
			}
		}
	}
	switch {
	case f.CreatedAfter != nil && it.modified.Sub(*f.CreatedAfter) <= 0,
		f.CreatedBefore != nil && it.modified.Sub(*f.CreatedBefore) >= 0,
		f.ObjectSizeGreaterThanBytes != nil && it.size <= *f.ObjectSizeGreaterThanBytes,
		f.ObjectSizeLessThanBytes != nil && it.size >= *f.ObjectSizeLessThanBytes:
		return false
	}
	if list := f.MatchAnyStorageClass; list != nil {
		class := it.class
		if class == "" {
			class = "STANDARD"
		}
		if !strings.Contains("|"+strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", "|"), "[]")+"|", "|"+class+"|") {
			return false
		}
	}
	for _, e := range f.MatchAnyObjectEncryption {
		want, key := "", ""
		var bucketKey *bool
		switch {
		case e.SSES3 != nil:
			want = "AES256"
		case e.SSEKMS != nil:
			want, key, bucketKey = "aws:kms", e.SSEKMS.KmsKeyArn, e.SSEKMS.BucketKeyEnabled
		case e.DSSEKMS != nil:
			want, key = "aws:kms:dsse", e.DSSEKMS.KmsKeyArn
		case e.SSEC != nil:
			want = "customer"
		}
		if !head() || it.encryption != want || key != "" && it.kmsKey != key || bucketKey != nil && it.bucketKey != *bucketKey {
			return false
		}
	}
	if list := f.ObjectReplicationStatuses; list != nil {
		status := it.replication
		if status == "" {
			status = "NONE"
		}
		if !head() || it.encryption == "customer" || !slices.Contains(list, job.ReplicationStatus(status)) {
			return false
		}
	}
	return f.EligibleForReplication == nil || !*f.EligibleForReplication || eligible(it.key, it.version)
}

// eligible stands for the rules of a replication configuration.
func eligible(key, version string) bool { return (len(key)+len(version))%3 != 0 }

// model is what is to be listed.
func model(b *bucket, f *job.GeneratorFilter, all bool) map[row]bool {
	want := make(map[row]bool)
	for i := range b.items {
		it := &b.items[i]
		if b.versioning != "" {
			markers := all && f != nil && f.EligibleForReplication != nil && *f.EligibleForReplication
			if !all && !it.latest || it.marker && !markers {
				continue
			}
		}
		if wanted(it, f) {
			want[row{it.key, it.version}] = true
		}
	}
	return want
}

// size is the number of keys that tests over a whole bucket list: STEVEDORE_GENERATE_KEYS, or as many as take seconds.
func size(tb testing.TB) int {
	tb.Helper()
	if text := os.Getenv("STEVEDORE_GENERATE_KEYS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
	if testing.Short() || raceEnabled {
		return 5_000
	}
	return 30_000
}
