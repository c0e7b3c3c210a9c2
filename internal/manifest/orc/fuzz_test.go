package orc_test

import "testing"

// FuzzRead reads files that may be anything: see exercise.
func FuzzRead(f *testing.F) {
	for _, compression := range []uint64{none, zlib, snap, lz4, zst} {
		for _, version2 := range []bool{false, true} {
			tb := inventory(f, 30)
			tb.compression, tb.version2, tb.perStripe = compression, version2, 20
			f.Add(tb.encode(f))
		}
	}
	f.Fuzz(exercise)
}
