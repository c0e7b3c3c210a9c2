package operation

import (
	"context"
	"net/http"
	"strconv"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// restore asks for every archived object to be brought back for some days: POST
// ?restore. A task is done when the store has accepted; it does not wait for the
// data (operations.md section 5).
type restore struct{ onObject }

func newRestore(p *job.S3InitiateRestoreObject, c Client) Operation {
	d := newDocument("RestoreRequest")
	if p.ExpirationInDays != nil { // the Intelligent-Tiering archive wants none
		d.text("Days", strconv.Itoa(int(*p.ExpirationInDays)))
	}
	if tier := tierName(p.GlacierJobTier); tier != "" {
		d.WriteString("<GlacierJobParameters>")
		d.text("Tier", tier)
		d.WriteString("</GlacierJobParameters>")
	}
	return &restore{onObject{c, objectstore.Request{Method: http.MethodPost, Query: "restore", Body: d.body("RestoreRequest")}}}
}

// tierName is what S3 calls a tier of the job API.
func tierName(t job.Tier) string {
	switch t {
	case "BULK":
		return "Bulk"
	case "STANDARD":
		return "Standard"
	}
	return ""
}

// Do implements Operation. A request repeated because its answer was lost may
// find the restore it has started itself: that is no failure.
func (o *restore) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	err := o.onObject.Do(ctx, t, s, out)
	if err == nil && s.res.Doubt && out.Code == "RestoreAlreadyInProgress" {
		*out = job.Outcome{HTTPStatus: http.StatusOK, Message: success, Attempts: out.Attempts}
	}
	return err
}
