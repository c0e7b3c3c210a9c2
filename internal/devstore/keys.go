//go:build !slim

package devstore

import (
	"strings"

	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
)

// aliased reports whether the file system would take key for another: it drops
// empty segments and those of dots, so "a//b" would be the object "a/b". A
// slash at the end is part of the name of a directory object.
func aliased(key string) bool {
	if key == "" {
		return false
	}
	first := true
	for segment := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		switch {
		case segment == "", segment == ".", segment == "..":
			return true
		case first && segment == posix.MetaTmpDir: // where versitygw gathers uploads
			return true
		}
		first = false
	}
	return false
}

// refuseKey is the answer to a request for a key that is aliased.
func refuseKey(key string) s3err.S3Error {
	return invalid("Key", key, "The development store keeps objects as files: a key must not have an empty segment, "+
		"a segment of dots, or begin with a slash or "+posix.MetaTmpDir+".")
}
