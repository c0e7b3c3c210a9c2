package operation

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"stevedore/internal/objectstore"
)

// parts returns the sizes of the parts that an object was uploaded in, in their
// order, and pins it to the version and the ETag that they are of. One that was put
// in one piece has one part. HEAD ?partNumber tells of the parts one by one. A store
// that does not know it may still list them (GetObjectAttributes).
func (o *checksum) parts(ctx context.Context, object *objectstore.Object, s *Scratch) ([]int64, error) {
	first, err := o.part(ctx, *object, 1, s)
	if e, ok := errors.AsType[*objectstore.Error](err); ok && knowsNoParts(e.Status) {
		return o.listed(ctx, object)
	}
	if err != nil {
		return nil, err
	}
	object.ETag, object.VersionID = first.etag, cmp.Or(object.VersionID, first.version)
	if first.parts == 0 && partsOf(first.etag) > 1 {
		return o.listed(ctx, object)
	}
	sizes := []int64{first.size}
	for n := 2; n <= min(first.parts, maxParts); n++ {
		next, err := o.part(ctx, *object, n, s)
		if err != nil {
			return nil, err
		}
		if next.etag != first.etag { // a store that ignores If-Match
			return nil, objectError(*object, http.StatusPreconditionFailed, "PreconditionFailed", "the object was overwritten while it was read")
		}
		sizes = append(sizes, next.size)
	}
	return sizes, nil
}

// knowsNoParts reports whether a store refuses a request with partNumber because of
// it. 412 can mean nothing else where no condition was sent.
func knowsNoParts(status int) bool {
	return slices.Contains([]int{
		http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable,
		http.StatusNotImplemented,
	}, status)
}

// listed is parts by GetObjectAttributes. It tells of the parts only where they have
// checksums of their own, and many stores take it for GetObject.
func (o *checksum) listed(ctx context.Context, object *objectstore.Object) ([]int64, error) {
	head, err := objectstore.HeadFull(ctx, o.env.Client, *object)
	if err != nil {
		return nil, err
	}
	object.ETag, object.VersionID = head.ETag, cmp.Or(object.VersionID, head.VersionID)
	count := partsOf(head.ETag)
	if count == 0 {
		return []int64{head.Size}, nil
	}
	untold := objectError(*object, http.StatusNotImplemented, "NotImplemented",
		fmt.Sprintf("the store tells the sizes of the object's %d parts neither by HEAD with partNumber nor by GetObjectAttributes", count))
	var sizes []int64
	for marker := 0; len(sizes) < count; marker = len(sizes) {
		page, err := o.attributes(ctx, *object, marker)
		if err != nil {
			return nil, err
		}
		if page == nil || len(page.Parts) == 0 || len(sizes)+len(page.Parts) > count || page.ETag != "" && page.ETag != head.ETag {
			return nil, untold
		}
		for _, p := range page.Parts {
			sizes = append(sizes, p.Size)
		}
	}
	return sizes, nil
}

// partList is a page of GetObjectAttributes.
type partList struct {
	XMLName xml.Name `xml:"GetObjectAttributesResponse"`
	ETag    string
	Parts   []struct{ Size int64 } `xml:"ObjectParts>Part"`
}

// attributes asks for the parts of an object behind marker. It returns nil if the
// store knows no such call.
func (o *checksum) attributes(ctx context.Context, object objectstore.Object, marker int) (*partList, error) {
	req := objectstore.Request{
		Method: http.MethodGet, Bucket: object.Bucket, Key: []byte(object.Key), VersionID: []byte(object.VersionID), Query: "attributes",
		Headers: []objectstore.Header{
			{Name: "range", Value: "bytes=0-0"}, // where it is taken for GetObject
			{Name: "x-amz-max-parts", Value: "1000"},
			{Name: "x-amz-object-attributes", Value: "ETag,ObjectParts"},
			{Name: "x-amz-part-number-marker", Value: strconv.Itoa(marker)},
		},
	}
	var res objectstore.Result
	o.env.Client.Do(ctx, &req, &res)
	if res.Interrupted() {
		return nil, &interrupted{res.Err}
	}
	var page partList
	switch {
	case res.OK() && xml.Unmarshal(res.Body, &page) == nil:
		page.ETag = strings.Trim(page.ETag, `"`)
		return &page, nil
	case res.OK(), res.Status > 0 && res.Status < 500, res.Status == http.StatusNotImplemented:
		return nil, nil
	}
	return nil, &objectstore.Error{
		Op: "GetObjectAttributes", Bucket: object.Bucket, Key: object.Key, Status: res.Status, Code: res.Code, Message: res.Message,
		Err: res.Err, Attempts: res.Attempts,
	}
}

// partHead is what HEAD ?partNumber tells.
type partHead struct {
	size          int64 // of the part
	parts         int   // of the object; 0: it was put in one piece, or the store does not tell
	etag, version string
}

func (o *checksum) part(ctx context.Context, object objectstore.Object, number int, s *Scratch) (partHead, error) {
	s.req = objectstore.Request{
		Method: http.MethodHead, Bucket: object.Bucket, Key: []byte(object.Key), VersionID: []byte(object.VersionID),
		Query: "partNumber=" + strconv.Itoa(number), KeepHeader: true,
	}
	s.headers = s.headers[:0]
	if object.ETag != "" {
		s.headers = append(s.headers, objectstore.Header{Name: "if-match", Value: `"` + object.ETag + `"`})
	}
	s.req.Headers = s.headers
	r := &s.res
	if o.env.Client.Do(ctx, &s.req, r); r.Interrupted() {
		return partHead{}, &interrupted{r.Err}
	}
	if !r.OK() {
		return partHead{}, &objectstore.Error{
			Op: "HeadObject", Bucket: object.Bucket, Key: object.Key, Status: r.Status, Code: r.Code, Message: r.Message, Err: r.Err, Attempts: r.Attempts,
		}
	}
	var h partHead
	var err error
	for _, header := range r.Header {
		switch header.Name {
		case "content-length":
			h.size, err = strconv.ParseInt(header.Value, 10, 64)
		case "x-amz-mp-parts-count":
			h.parts, _ = strconv.Atoi(header.Value)
		case "etag":
			h.etag = strings.Trim(strings.TrimPrefix(header.Value, "W/"), `"`)
		case "x-amz-version-id":
			h.version = header.Value
		}
	}
	if err != nil || h.size < 0 {
		return partHead{}, objectError(object, http.StatusNotImplemented, "NotImplemented", "the store does not tell the size of a part")
	}
	return h, nil
}

// partsOf is the number of parts that an ETag tells of, 0 if it tells nothing.
func partsOf(etag string) int {
	_, count, _ := strings.Cut(etag, "-")
	n, _ := strconv.Atoi(count)
	return n
}
