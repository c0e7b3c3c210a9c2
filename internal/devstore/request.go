//go:build !slim

package devstore

import (
	"context"
	"encoding/xml"
	"errors"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// requestKey is where attend leaves the request for the backend.
type requestKey struct{}

// requestOf returns the request that a backend call serves. versitygw hands its
// backend a part of what was asked; the rest is in the headers and the query.
func requestOf(ctx context.Context) fiber.Ctx {
	c, _ := ctx.Value(requestKey{}).(fiber.Ctx)
	return c
}

// attend is the middleware before all routes of versitygw: it keeps out keys
// that versitygw would take for others, and after the routes it serves what
// these refuse. They have verified the request by then.
func (b *backend) attend(c fiber.Ctx) error {
	path, err := url.PathUnescape(string(c.Request().URI().PathOriginal()))
	if err != nil {
		return c.Next() // versitygw says what is wrong
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if aliased(key) {
		return fail(c, refuseKey(key))
	}
	if err := b.strayed(c, bucket, key); err != nil {
		return fail(c, err)
	}
	c.RequestCtx().SetUserValue(requestKey{}, c)
	if err := c.Next(); err != nil {
		return err
	}
	query := c.Request().URI().QueryArgs()
	switch status := c.Response().StatusCode(); {
	case status == fiber.StatusNotImplemented && key == "" && query.Has("replication"):
		return b.serveReplication(c, bucket)
	case status == fiber.StatusBadRequest && key != "" && c.Method() == fiber.MethodPut && query.Has("retention"):
		return b.clearRetention(c, bucket, key)
	case status == fiber.StatusBadRequest && key != "" && c.Method() == fiber.MethodPut && query.Has("tagging"):
		return b.putTags(c, bucket, key)
	}
	return nil
}

// fail answers a request with an error.
func fail(c fiber.Ctx, err error) error {
	serr, ok := errors.AsType[s3err.S3Error](err)
	if !ok {
		serr = s3err.GetAPIError(s3err.ErrInternalError)
	}
	requestID, hostID := utils.EnsureRequestIDs(c)
	c.Response().Header.SetContentType(fiber.MIMEApplicationXML)
	return c.Status(serr.StatusCode()).Send(serr.XMLBody(requestID, hostID))
}

// succeed replaces the answer to a request by a good one.
func succeed(c fiber.Ctx, status int, body []byte) error {
	c.Response().ResetBody()
	if body != nil {
		c.Response().Header.SetContentType(fiber.MIMEApplicationXML)
	}
	return c.Status(status).Send(body)
}

// answer is the answer to a request in the guise of an error: the only one whose
// status and body versitygw leaves as the backend gives them.
type answer struct {
	status int
	body   []byte
}

func (a answer) Error() string               { return "answered" }
func (a answer) StatusCode() int             { return a.status }
func (a answer) BaseError() s3err.APIError   { return s3err.APIError{HTTPStatusCode: a.status} }
func (a answer) XMLBody(_, _ string) []byte  { return a.body }
func (a answer) HTMLBody(_, _ string) []byte { return a.body }

// parse reports whether document is the XML that into describes, and fills it in.
func parse(document []byte, into any) bool { return xml.Unmarshal(document, into) == nil }
