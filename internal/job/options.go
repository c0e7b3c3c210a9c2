package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// OptionPrefix begins the keys of the tags that tell this server how to run a
// job. The API of jobs has no member for it, and tags are the one thing of a job
// that any client can set and change while it runs.
const OptionPrefix = "stevedore:"

// The tags that are options.
const (
	TagMaxRequestsPerSecond = OptionPrefix + "max-requests-per-second"
	TagMaxConcurrency       = OptionPrefix + "max-concurrency"
	TagVerify               = OptionPrefix + "verify"
	TagManifest             = OptionPrefix + "manifest"
	TagParent               = OptionPrefix + "parent" // for people and tools only
)

// Options is what the tags of a job say about how to run it. Zero: nothing.
type Options struct {
	MaxRequestsPerSecond float64 `json:",omitzero"` // attempts at the object store; 0: no bound
	MaxConcurrency       int     `json:",omitzero"` // requests in flight; 0: no bound
	Verify               Verify  `json:",omitzero"`
	Lenient              bool    `json:",omitzero"` // the manifest is read leniently
	Parent               string  `json:",omitzero"` // id of the job whose failed tasks this one is for
}

// lenient is the value of TagManifest.
const lenient = "lenient"

// Verify says of which tasks the effect is read back.
type Verify string

// The values of Verify; empty means of none.
const (
	VerifySample Verify = "sample"
	VerifyAll    Verify = "all"
)

// bounds of options: beyond them lies a slip of the pen.
const (
	minRate        = 0.01 // one request in 100 seconds
	maxRate        = 1_000_000
	maxConcurrency = 10_000
)

// OptionsOf reads the options among tags. The error is an *InvalidError that
// names every tag that cannot be understood; the options are those of the others.
func OptionsOf(tags []Tag) (Options, error) {
	c := &checker{}
	o := c.options(tags)
	if len(c.problems) > 0 {
		return o, &InvalidError{c.problems}
	}
	return o, nil
}

func (c *checker) options(tags []Tag) (o Options) {
	for i, t := range tags {
		if !strings.HasPrefix(t.Key, OptionPrefix) {
			continue
		}
		bad := func(format string, args ...any) {
			c.addf(fmt.Sprintf("Tags[%d]", i), "%s: %s", shorten(t.Key), fmt.Sprintf(format, args...))
		}
		switch t.Key {
		case TagMaxRequestsPerSecond:
			n, err := strconv.ParseFloat(t.Value, 64)
			if err != nil || math.IsNaN(n) || n < minRate || n > maxRate {
				bad("%q is not a number from %g to %d, such as 100 or 0.5", shorten(t.Value), minRate, maxRate)
				continue
			}
			o.MaxRequestsPerSecond = n
		case TagMaxConcurrency:
			n, err := strconv.Atoi(t.Value)
			if err != nil || n < 1 || n > maxConcurrency {
				bad("%q is not a whole number from 1 to %d", shorten(t.Value), maxConcurrency)
				continue
			}
			o.MaxConcurrency = n
		case TagVerify:
			switch v := Verify(t.Value); v {
			case VerifySample, VerifyAll:
				o.Verify = v
			default:
				bad("%q is not %s or %s", shorten(t.Value), VerifySample, VerifyAll)
			}
		case TagManifest:
			if t.Value != lenient {
				bad("the value %q is not known; the only one is written %s, in lower case", shorten(t.Value), lenient)
			}
			o.Lenient = t.Value == lenient
		case TagParent:
			if !jobIDPattern().MatchString(t.Value) {
				bad("%q is not the id of a job", shorten(t.Value))
				continue
			}
			o.Parent = t.Value
		default:
			bad("there is no such option, only %s", strings.Join([]string{
				TagManifest, TagMaxConcurrency, TagMaxRequestsPerSecond, TagParent, TagVerify,
			}, ", "))
		}
	}
	return o
}
