package job

import (
	"errors"
	"strings"
	"testing"
)

func TestOptionsOfTags(t *testing.T) {
	t.Parallel()
	check := func(key, value string, want Options) {
		t.Helper()
		tags := []Tag{{Key: "team", Value: "x"}, {Key: key, Value: value}, {Key: "stevedore", Value: "no option"}}
		s := valid()
		s.Tags = tags
		if err := errors.Join(s.Validate(), ValidateTags(tags)); err != nil {
			t.Errorf("%s=%s: %v", key, value, err)
		}
		if got, err := OptionsOf(tags); got != want || err != nil {
			t.Errorf("%s=%s: got %+v, %v, want %+v", key, value, got, err, want)
		}
		if got := (&Job{Tags: tags}).Summary().Options; got != want {
			t.Errorf("%s=%s: summary has %+v, want %+v", key, value, got, want)
		}
	}
	check("other", "1", Options{})
	check(TagMaxConcurrency, "1", Options{MaxConcurrency: 1})
	check(TagMaxConcurrency, "10000", Options{MaxConcurrency: 10_000})
	check(TagMaxRequestsPerSecond, "0.01", Options{MaxRequestsPerSecond: 0.01})
	check(TagMaxRequestsPerSecond, "2.5", Options{MaxRequestsPerSecond: 2.5})
	check(TagMaxRequestsPerSecond, "1000000", Options{MaxRequestsPerSecond: 1e6})
	check(TagVerify, "sample", Options{Verify: VerifySample})
	check(TagVerify, "all", Options{Verify: VerifyAll})
	check(TagManifest, "lenient", Options{Lenient: true})
	check(TagParent, "0f8c6d1e-1111-4222-8333-444455556666", Options{Parent: "0f8c6d1e-1111-4222-8333-444455556666"})

	refuse := func(key, value, want string) {
		t.Helper()
		tags := []Tag{{Key: TagVerify, Value: "all"}, {Key: key, Value: value}}
		if key == TagVerify {
			tags[0] = Tag{Key: TagMaxConcurrency, Value: "3"}
		}
		s := valid()
		s.Tags = tags
		for _, err := range []error{s.Validate(), ValidateTags(tags)} {
			if bad, ok := errors.AsType[*InvalidError](err); !ok || len(bad.Problems) != 1 || bad.Problems[0].Member != "Tags[1]" || !strings.Contains(err.Error(), want) {
				t.Errorf("%s=%s: got %v, want %s", key, value, err, want)
			}
		}
		got, err := OptionsOf(tags)
		if err == nil || got == (Options{}) || got.MaxRequestsPerSecond != 0 {
			t.Errorf("%s=%s: got %+v, %v, want the other option", key, value, got, err)
		}
	}
	for _, value := range []string{"", "0", "-1", "0.009", "1000001", "fast", "NaN", "Inf", " 1"} {
		refuse(TagMaxRequestsPerSecond, value, TagMaxRequestsPerSecond+`: "`+value+`" is not a number from 0.01 to 1000000`)
	}
	for _, value := range []string{"", "0", "-1", "1.5", "10001", "many", "99999999999999999999"} {
		refuse(TagMaxConcurrency, value, TagMaxConcurrency+`: "`+value+`" is not a whole number from 1 to 10000`)
	}
	for _, value := range []string{"", "ALL", "none", "true"} {
		refuse(TagVerify, value, TagVerify+`: "`+value+`" is not sample or all`)
	}
	for _, value := range []string{"", "strict", "Lenient"} {
		refuse(TagManifest, value, TagManifest+`: the value "`+value+`" is not known; the only one is written lenient, in lower case`)
	}
	for _, value := range []string{"", "no job", "abcd", "0f8c6d1e-1111-4222-8333-4444555566667"} {
		refuse(TagParent, value, TagParent+`: "`+value+`" is not the id of a job`)
	}
	refuse("stevedore:max-request-per-second", "1", "there is no such option, only "+TagManifest+", "+TagMaxConcurrency)
	refuse("stevedore:", "1", "there is no such option")
}
