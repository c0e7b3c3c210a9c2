package operation

import (
	"net/http"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// newPutRetention sets until when and how firmly every object is kept: PUT
// ?retention. Without mode and date it removes the retention (operations.md
// section 7).
func newPutRetention(p *job.S3PutObjectRetention, c Client) Operation {
	d := newDocument("Retention")
	d.optional("Mode", string(p.Retention.Mode))
	if until := p.Retention.RetainUntilDate; until != nil {
		d.text("RetainUntilDate", isoDate(*until))
	}
	req := objectstore.Request{Method: http.MethodPut, Query: "retention", Body: d.body("Retention")}
	if bypass := p.BypassGovernanceRetention; bypass != nil && *bypass {
		req.Headers = []objectstore.Header{{Name: "x-amz-bypass-governance-retention", Value: "true"}}
	}
	return newLocked(c, req)
}

// isoDate is a date as S3 writes it in documents and in the headers of Object Lock.
func isoDate(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }
