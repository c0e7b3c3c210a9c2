package doctor

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"

	"stevedore/internal/objectstore"
)

// maxSkew is how far the clocks may differ before S3 refuses signatures.
const maxSkew = 15 * time.Minute

// check notes a check, and returns an error if it did not hold.
func (e *exam) check(name string, res *objectstore.Result, detail string) error {
	if res.OK() {
		e.report.Checks = append(e.report.Checks, Check{Name: name, OK: true, Detail: detail})
		return nil
	}
	text := cmp.Or(res.Message, http.StatusText(res.Status))
	if res.Status == 0 && res.Err != nil {
		text = res.Err.Error()
	}
	text = strings.TrimSpace(answer(res.Status, res.Code) + " " + text)
	e.report.Checks = append(e.report.Checks, Check{Name: name, Detail: text})
	return &CheckError{Check: name, Status: res.Status, Code: res.Code, Text: text}
}

// answer is an HTTP status with the code of the store.
func answer(status int, code string) string {
	if status == 0 {
		return code
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, code))
}

// admit makes the checks without which nothing else makes sense.
func (e *exam) admit(ctx context.Context) error {
	e.progress("checks")
	began := time.Now()
	first := e.call(ctx, objectstore.Request{Method: http.MethodGet, OnBucket: true, Query: "list-type=2&max-keys=1"})
	if first.Status == 0 {
		return e.check("endpoint", first, "")
	}
	_ = e.check("endpoint", new(objectstore.Result{Status: http.StatusOK}), "answers "+e.config.Endpoint)
	if err := e.clock(first, began); err != nil {
		return err
	}
	if badCredentials(first) {
		return e.check("credentials", first, "")
	}
	_ = e.check("credentials", new(objectstore.Result{Status: http.StatusOK}), "accepted")
	if err := e.admitBucket(ctx, first); err != nil {
		return err
	}
	if err := e.admitObject(ctx); err != nil {
		return err
	}
	e.features(ctx)
	return nil
}

// clock compares the time of the store with ours.
func (e *exam) clock(res *objectstore.Result, began time.Time) error {
	theirs, err := http.ParseTime(header(res, "date"))
	if err != nil {
		return e.check("clock", new(objectstore.Result{Status: http.StatusOK}), "the store does not tell its time")
	}
	ours := began.Add(time.Since(began) / 2)
	skew := theirs.Sub(ours).Round(time.Second)
	if max(skew, -skew) < maxSkew && res.Code != "RequestTimeTooSkewed" {
		return e.check("clock", new(objectstore.Result{Status: http.StatusOK}), fmt.Sprintf("differs by %s", max(skew, -skew)))
	}
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	return e.check("clock", new(objectstore.Result{
		Status: res.Status, Code: "RequestTimeTooSkewed", Message: fmt.Sprintf("the store is %s %s this machine", max(skew, -skew), way),
	}), "")
}

// badCredentials reports whether the store does not know who asks, whatever about.
func badCredentials(res *objectstore.Result) bool {
	switch res.Code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId",
		"AuthorizationHeaderMalformed", "TokenRefreshRequired", "CredentialsError":
		return true
	}
	return res.Status == http.StatusUnauthorized
}

// admitBucket makes sure that there is a bucket that can be listed. listed is the
// answer to the first listing of it.
func (e *exam) admitBucket(ctx context.Context, listed *objectstore.Result) error {
	if e.config.Create {
		if listed.Code != "NoSuchBucket" && listed.Code != "NotFound" {
			return e.check("bucket", new(objectstore.Result{
				Status: http.StatusConflict, Code: "BucketAlreadyExists",
				Message: "there is a bucket " + e.bucket + " already, and it would be removed at the end; without --create it can be used",
			}), "")
		}
		detail, err := e.create(ctx)
		if err != nil {
			return err
		}
		listed = e.call(ctx, objectstore.Request{Method: http.MethodGet, OnBucket: true, Query: "list-type=2&max-keys=1"})
		return e.check("bucket", listed, detail)
	}
	var page struct {
		XMLName xml.Name `xml:"ListBucketResult"`
	}
	switch {
	case listed.Code == "NoSuchBucket", listed.Status == http.StatusNotFound:
		return e.check("bucket", listed, "")
	case !listed.OK(): // who may not list may still read and write
		e.report.Checks = append(e.report.Checks, Check{Name: "bucket", Detail: "cannot be listed: " + answer(listed.Status, listed.Code)})
		return nil
	case xml.Unmarshal(listed.Body, &page) != nil:
		return e.check("bucket", new(objectstore.Result{Status: http.StatusInternalServerError, Code: "NotS3", Message: "the answer to a listing is none of S3"}), "")
	}
	return e.check("bucket", listed, "can be listed")
}

// create makes the bucket, with Object Lock and ACLs if the store has them.
func (e *exam) create(ctx context.Context) (detail string, err error) {
	req := objectstore.Request{Method: http.MethodPut, OnBucket: true, Body: objectstore.NewBody(nil)}
	if r := e.config.Region; r != "" && r != "us-east-1" {
		req.Body = objectstore.NewBody([]byte(`<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>` +
			escaped(r) + `</LocationConstraint></CreateBucketConfiguration>`))
	}
	lock := objectstore.Header{Name: "x-amz-bucket-object-lock-enabled", Value: "true"}
	acls := objectstore.Header{Name: "x-amz-object-ownership", Value: "ObjectWriter"}
	var res *objectstore.Result
	for _, req.Headers = range [][]objectstore.Header{{lock, acls}, {lock}, {acls}, nil} {
		if res = e.call(ctx, req); res.OK() {
			e.report.Created = true
			return "created", nil
		}
		if res.Status == 0 || res.Code == "AccessDenied" {
			break
		}
	}
	return "", e.check("bucket", res, "")
}

// escaped is text for an XML document.
func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// admitObject makes sure that objects can be written, read and deleted.
func (e *exam) admitObject(ctx context.Context) error {
	p := e.scratch("first")
	if err := e.check("write", e.put(ctx, p), "objects can be written"); err != nil {
		return err
	}
	res := e.get(ctx, p.key, "")
	if err := e.check("read", res, "objects can be read"); err != nil {
		return err
	}
	if string(res.Body) != p.content {
		return e.check("read", new(objectstore.Result{Status: http.StatusInternalServerError, Code: "OtherBytes", Message: "an object has other bytes than were written"}), "")
	}
	return e.check("delete", e.call(ctx, objectstore.Request{Method: http.MethodDelete, Key: []byte(p.key)}), "objects can be deleted")
}

// features finds out what the bucket has. In a bucket of our own versions are
// switched on.
func (e *exam) features(ctx context.Context) {
	status, err := e.store.Versioning(ctx, e.bucket)
	if err == nil && status == "" && e.report.Created {
		e.call(ctx, objectstore.Request{
			Method: http.MethodPut, OnBucket: true, Query: "versioning",
			Body: objectstore.NewBody([]byte(`<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`)),
		})
		status, err = e.store.Versioning(ctx, e.bucket)
	}
	c := Check{Name: "versioning", OK: true, Detail: cmp.Or(status, "off")}
	if err != nil {
		c.OK, c.Detail = false, "cannot be asked for: "+err.Error()
	}
	e.versioned = status == "Enabled"
	e.report.Checks = append(e.report.Checks, c)

	res := e.call(ctx, objectstore.Request{Method: http.MethodGet, OnBucket: true, Query: "object-lock"})
	var lock struct {
		XMLName xml.Name `xml:"ObjectLockConfiguration"`
		Enabled string   `xml:"ObjectLockEnabled"`
	}
	e.locked = res.OK() && xml.Unmarshal(res.Body, &lock) == nil && lock.Enabled == "Enabled"
	c = Check{Name: "Object Lock", OK: true, Detail: "on"}
	if !e.locked {
		c.Detail = strings.TrimSpace("off " + res.Code)
	}
	e.report.Checks = append(e.report.Checks, c)
}
