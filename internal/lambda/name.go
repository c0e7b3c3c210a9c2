package lambda

import (
	"cmp"
	"regexp"
	"sync"
)

// A Name is a function's, taken apart. What its text left out is empty.
type Name struct {
	Partition, Region, Account string
	Function                   string
	Qualifier                  string // version or alias, such as $LATEST
}

// namePattern is the API model's, with names for the parts.
//
//nolint:gochecknoglobals // a constant in all but name
var namePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\A(?:arn:(aws[a-zA-Z-]*)?:lambda:)?` +
		`(?:([a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?(?:(\d{12}):)?(?:function:)?` +
		`([a-zA-Z0-9-_]+)(?::(\$LATEST|[a-zA-Z0-9-_]+))?\z`)
})

// ParseName takes a FunctionArn apart: a full or partial ARN or a plain name, each
// with or without a qualifier. It answers false if text is none of them.
func ParseName(text string) (Name, bool) {
	m := namePattern().FindStringSubmatch(text)
	if m == nil {
		return Name{}, false
	}
	return Name{Partition: m[1], Region: m[2], Account: m[3], Function: m[4], Qualifier: m[5]}, true
}

// ARN is the full ARN, without the qualifier, of a function that belongs to
// account in region unless its name says otherwise.
func (n Name) ARN(region, account string) string {
	return "arn:" + cmp.Or(n.Partition, "aws") + ":lambda:" + cmp.Or(n.Region, region) + ":" +
		cmp.Or(n.Account, account) + ":function:" + n.Function
}

// keys are the names in the configuration that text may mean, the most exact first.
func (n Name) keys(text string) []string {
	qualified, arn := n.Function, n.ARN("", "")
	if n.Qualifier != "" {
		qualified += ":" + n.Qualifier
	}
	return []string{text, arn, qualified, n.Function, anyFunction}
}
