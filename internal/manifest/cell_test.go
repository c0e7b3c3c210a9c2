package manifest

import (
	"slices"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// sound is sure of exactly the keys that decode to ASCII and are not too long before.
func TestSound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{
			"a", "Z", "/", "-", "~", "!", "0", "photos/2024/", "%20", "%2B", "%2b", "+", "%00", "%7F", "%25", "%41",
			"%C3%A9", "%e6%97%a5", "%E6%97", "%80", "%8", "%2", "%", "%%", "%g0", "%0g", "%4@", "%`1", "%:0", "%1/",
		})
		var raw []byte
		for _, p := range rapid.SliceOfN(part, 0, 12).Draw(t, "parts") {
			raw = append(raw, p...)
		}
		if rapid.Bool().Draw(t, "long") {
			raw = append(slices.Repeat([]byte("x"), rapid.IntRange(maxKey-9, maxKey).Draw(t, "length")), raw...)
		}
		key, _, problem := decode(raw, nil)
		ascii := !slices.ContainsFunc(key, func(b byte) bool { return b >= utf8.RuneSelf })
		if got, want := sound(raw), problem == "" && ascii && len(raw) <= maxKey; got != want {
			t.Fatalf("%q: got %t, want %t: it decodes to %q, %s", raw, got, want, key, problem)
		}
	})
}

// Any two bytes behind a %, at each place of a word.
func TestSoundEachEscape(t *testing.T) {
	t.Parallel()
	for first := byte('!'); first <= '~'; first++ {
		for second := byte('!'); second <= '~'; second++ {
			for at := range 9 {
				raw := slices.Repeat([]byte{'x'}, 12)
				raw[at], raw[at+1], raw[at+2] = '%', first, second
				if got, want := sound(raw), '0' <= first && first <= '7' && isHex(second); got != want {
					t.Fatalf("%q: got %t, want %t", raw, got, want)
				}
			}
		}
	}
}
