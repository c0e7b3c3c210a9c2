package operation

import (
	"net/http"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// newPutLegalHold puts every object under a legal hold or ends it: PUT
// ?legal-hold (operations.md section 6).
func newPutLegalHold(p *job.LegalHold, c Client) Operation {
	d := newDocument("LegalHold")
	d.text("Status", string(p.Status))
	return newLocked(c, objectstore.Request{Method: http.MethodPut, Query: "legal-hold", Body: d.body("LegalHold")})
}
