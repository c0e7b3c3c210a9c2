package doctor

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stevedore/internal/objectstore"
)

const (
	// dischargeTime bounds cleaning up, which goes on after ctx has ended.
	dischargeTime = 2 * time.Minute
	// rounds bounds how often what is left is listed and deleted.
	rounds = 20
)

// discharge deletes everything that was made, and the bucket if that was.
func (e *exam) discharge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dischargeTime)
	defer cancel()
	e.progress("cleaning up")
	e.mu.Lock()
	made := make([]written, 0, len(e.written))
	for w := range e.written {
		made = append(made, w)
	}
	e.mu.Unlock()
	if len(made) > 0 {
		e.empty(ctx, made)
	}
	if e.report.Created {
		if res := e.call(ctx, objectstore.Request{Method: http.MethodDelete, OnBucket: true}); !res.OK() {
			e.leave("bucket %s: %s", e.bucket, answer(res.Status, res.Code))
		}
	}
}

func (e *exam) leave(format string, args ...any) {
	e.report.LeftBehind = append(e.report.LeftBehind, fmt.Sprintf(format, args...))
}

// empty deletes what was made: first what is known, then whatever a listing still
// shows, until it shows nothing more.
func (e *exam) empty(ctx context.Context, made []written) {
	slices.SortFunc(made, func(a, b written) int { return strings.Compare(a.key+"\x00"+a.version, b.key+"\x00"+b.version) })
	versions := map[string]bool{} // keys with versions that are known
	for _, w := range made {
		versions[w.key] = versions[w.key] || w.version != ""
	}
	for _, w := range made {
		if w.version != "" || !versions[w.key] {
			e.remove(ctx, w)
		}
	}
	var left []written
	listed := false
	for range rounds {
		var ok bool
		if left, ok = e.remaining(ctx); !ok {
			break
		}
		listed = true
		removed := 0
		for _, w := range left {
			if e.remove(ctx, w) {
				removed++
			}
		}
		if removed == 0 {
			break
		}
	}
	for _, w := range made {
		// What no listing shows is looked at; an operation has its own scratch objects.
		if ours := strings.HasPrefix(strings.TrimPrefix(w.key, "/"), e.prefix); !listed || !ours {
			if res := e.call(ctx, objectstore.Request{Method: http.MethodHead, Key: []byte(w.key), VersionID: []byte(w.version)}); res.OK() {
				left = append(left, w)
			}
		}
	}
	for _, w := range left {
		e.leave("object %q version %q", w.key, w.version)
	}
	e.abort(ctx)
}

// remove deletes a version, with its lock if need be.
func (e *exam) remove(ctx context.Context, w written) bool {
	req := objectstore.Request{Method: http.MethodDelete, Key: []byte(w.key), VersionID: []byte(w.version)}
	if e.locked {
		req.Headers = []objectstore.Header{{Name: "x-amz-bypass-governance-retention", Value: "true"}}
	}
	res := e.call(ctx, req)
	if !res.OK() && e.locked {
		e.call(ctx, objectstore.Request{
			Method: http.MethodPut, Key: req.Key, VersionID: req.VersionID, Query: "legal-hold", Body: objectstore.NewBody([]byte(holdOff)),
		})
		res = e.call(ctx, req)
	}
	return res.OK()
}

const holdOff = `<LegalHold xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>OFF</Status></LegalHold>`

// remaining lists what there is under our prefixes; ok is false if the store does
// not let us.
func (e *exam) remaining(ctx context.Context) (left []written, ok bool) {
	for _, prefix := range []string{e.prefix, "/" + e.prefix} {
		query := "encoding-type=url&prefix=" + string(objectstore.AppendValue(nil, prefix)) + "&versions="
		res := e.call(ctx, objectstore.Request{Method: http.MethodGet, OnBucket: true, Query: query})
		type version struct {
			Key       string
			VersionID string `xml:"VersionId"`
		}
		var page struct {
			XMLName  xml.Name  `xml:"ListVersionsResult"`
			Encoding string    `xml:"EncodingType"`
			Versions []version `xml:"Version"`
			Markers  []version `xml:"DeleteMarker"`
		}
		if !res.OK() || xml.Unmarshal(res.Body, &page) != nil {
			return nil, false
		}
		for _, v := range append(page.Versions, page.Markers...) {
			if page.Encoding == "url" {
				if key, err := url.QueryUnescape(v.Key); err == nil {
					v.Key = key
				}
			}
			// Nothing of anybody else's, whatever the store lists.
			if strings.HasPrefix(strings.TrimPrefix(v.Key, "/"), e.prefix) {
				left = append(left, written{v.Key, v.VersionID})
			}
		}
	}
	return left, true
}

// abort gives up all uploads that are left.
func (e *exam) abort(ctx context.Context) {
	res := e.call(ctx, objectstore.Request{
		Method: http.MethodGet, OnBucket: true, Query: "prefix=" + string(objectstore.AppendValue(nil, e.prefix)) + "&uploads=",
	})
	var page struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Uploads []struct {
			Key string
			ID  string `xml:"UploadId"`
		} `xml:"Upload"`
	}
	if !res.OK() || xml.Unmarshal(res.Body, &page) != nil {
		return // each was aborted by whoever began it
	}
	for _, u := range page.Uploads {
		if !strings.HasPrefix(u.Key, e.prefix) {
			continue
		}
		res := e.call(ctx, objectstore.Request{
			Method: http.MethodDelete, Key: []byte(u.Key), Query: "uploadId=" + string(objectstore.AppendValue(nil, u.ID)),
		})
		if !res.OK() && res.Code != "NoSuchUpload" {
			e.leave("multipart upload of %q: %s", u.Key, answer(res.Status, res.Code))
		}
	}
}
