package operation

import (
	"net/http"

	"stevedore/internal/objectstore"
)

// newDeleteTagging removes all tags of every object: DELETE ?tagging
// (operations.md section 4).
func newDeleteTagging(c Client) Operation {
	return &onObject{c, objectstore.Request{
		Method: http.MethodDelete,
		Query:  "tagging",
	}}
}
