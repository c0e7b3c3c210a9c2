package operation

import "testing"

// TestPartSize keeps how objects are divided that are too large to be made in a test, up to the largest that S3 has.
func TestPartSize(t *testing.T) {
	t.Parallel()
	const (
		mib     = int64(1) << 20
		gib     = 1 << 10 * mib
		tib     = 1 << 10 * gib
		largest = maxParts * 5 * gib // 48.8 TiB
	)
	for _, c := range []struct {
		name        string
		size, limit int64 // limit: what the store did not copy with one request; 0: unknown
		part, parts int64
	}{
		{"5 GiB and a byte", 5*gib + 1, 0, 128 * mib, 41},
		{"5 GiB, limit 5 GiB", 5 * gib, 5 * gib, 128 * mib, 40},
		{"5 GiB, limit 128 MiB", 5 * gib, 128 * mib, 64 * mib, 80},
		{"5 GiB, limit 100 MiB", 5 * gib, 100 * mib, 64 * mib, 80},
		{"5 GiB, limit 20 MiB", 5 * gib, 20 * mib, 16 * mib, 320},
		{"10,000 parts", maxParts * 128 * mib, 0, 128 * mib, 10_000},
		{"and a byte more", maxParts*128*mib + 1, 0, 129 * mib, 9_923},
		{"5 TiB", 5 * tib, 0, 525 * mib, 9_987},
		{"5 TiB, limit 5 GiB", 5 * tib, 5 * gib, 525 * mib, 9_987},
		{"5 TiB, limit 1 GiB", 5 * tib, gib, 525 * mib, 9_987},
		{"48.8 TiB", largest, 0, 5 * gib, 10_000},
		{"a byte less", largest - 1, 0, 5 * gib, 10_000},
	} {
		x := transfer{env: new(Env), limit: c.limit}
		if !x.shrink() {
			t.Errorf("%s: parts cannot be made small enough", c.name)
		}
		part := partSize(c.size, x.part())
		if parts := (c.size + part - 1) / part; part != c.part || parts != c.parts {
			t.Errorf("%s: %d parts of %d bytes, want %d of %d", c.name, parts, part, c.parts, c.part)
		}
		if parts := (c.size + part - 1) / part; parts > maxParts || part > 5*gib || c.limit > 0 && part >= c.limit {
			t.Errorf("%s: no store takes %d parts of %d bytes", c.name, parts, part)
		}
	}

	// No part is smaller than stores take, whatever the limit.
	x := transfer{env: new(Env), limit: leastPart}
	if x.shrink() || x.part() < leastPart {
		t.Errorf("parts of %d bytes", x.part())
	}
	// What goes through our memory is as large as it must be.
	for size, want := range map[int64]int64{5 * gib: streamPart, 5 * tib: 525 * mib, largest: 5 * gib} {
		if got := partSize(size, streamPart); got != want {
			t.Errorf("%d bytes: parts of %d, want %d", size, got, want)
		}
	}
}
