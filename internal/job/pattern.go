package job

import (
	"regexp"
	"sync"
)

// The patterns of the API model, compiled when first needed.
//
//nolint:gochecknoglobals // constants in all but name
var (
	accountPattern   = lazy(`\d{12}`)
	rolePattern      = lazy(`arn:[^:]+:iam::\d{12}:role/.*`)
	s3Pattern        = lazy(`arn:[^:]+:s3:.*`)
	anyBucketPattern = lazy(`arn:[^:]+:(s3|s3express):.*`)
	kmsKeyPattern    = lazy(`arn:aws[a-zA-Z0-9-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+`)
	functionPattern  = lazy(`(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?`)
	jobIDPattern     = lazy(`[a-zA-Z0-9\-_]{5,36}`)
	tagPattern       = lazy(`[\p{L}\p{Z}\p{N}_.:/=+\-@]*`)
)

func lazy(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?s:` + expr + `)\z`) })
}
