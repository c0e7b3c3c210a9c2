package operation

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"stevedore/internal/objectstore"
)

// probePrefix is where objects are made to find out what a store does with a
// request. They are deleted at once.
const probePrefix = ".stevedore-probe/"

// encrypting is how the objects of a bucket can be given another key.
type encrypting struct {
	way way
	key string // as the store knows it, for byCopy
}

type way int

const (
	byUpdate way = iota + 1 // UpdateObjectEncryption does what it says
	byCopy                  // only a copy onto itself does
	byNothing
)

// A probe tries the calls that change an encryption on an object of its own.
// There are stores that take PUT ?encryption for the new content of the object;
// no object of anybody else is put at that risk.
type probe struct {
	client   Client
	object   objectstore.Object
	content  []byte
	wanted   *updateEncryption
	versions []string // all that have come up
}

// ask finds out what can be done in a bucket. An error says that this could not
// be found out.
func (o *updateEncryption) ask(ctx context.Context, bucket string) (_ *encrypting, err error) {
	id := rand.Text()
	p := &probe{
		client: o.env.Client, wanted: o, content: []byte("stevedore probe " + id),
		object: objectstore.Object{Bucket: bucket, Key: probePrefix + id},
	}
	defer p.remove(ctx)
	if err := p.write(ctx); err != nil {
		return nil, err
	}
	updates, err := p.updates(ctx)
	if err != nil || updates {
		return &encrypting{way: byUpdate}, err
	}
	for _, key := range keyNames(o.key) {
		if err := p.write(ctx); err != nil { // it may be anything by now
			return nil, err
		}
		copies, unknown, err := p.copies(ctx, key)
		if err != nil || copies {
			return &encrypting{byCopy, key}, err
		}
		if !unknown {
			break
		}
	}
	return &encrypting{way: byNothing}, nil
}

// keyNames are the names that a key may have: the ARN, which the job API demands,
// and what stands in it behind key/, for stores whose keys have plain names.
func keyNames(arn string) []string {
	if _, name, ok := strings.Cut(arn, ":key/"); ok && name != "" {
		return []string{arn, name}
	}
	return []string{arn}
}

// unknownKey reports whether a store says that it has no such key.
func unknownKey(code string) bool {
	return code == "KMS.NotFoundException" || code == "kms:KeyNotFound"
}

// do sends a request about the object.
func (p *probe) do(ctx context.Context, req objectstore.Request) (objectstore.Result, error) {
	req.Bucket, req.Key, req.KeepHeader = p.object.Bucket, []byte(p.object.Key), true
	var res objectstore.Result
	p.client.Do(ctx, &req, &res)
	if id := headerOf(res.Header, "x-amz-version-id"); id != "" && !slices.Contains(p.versions, id) {
		p.versions = append(p.versions, id)
	}
	if passing := res.Status < 300 || res.Status >= 500 && res.Status != http.StatusNotImplemented ||
		res.Status == http.StatusTooManyRequests || res.Status == http.StatusForbidden; !res.OK() && passing {
		return res, &resultError{res}
	}
	return res, nil
}

func headerOf(headers []objectstore.Header, name string) string {
	h := objectstore.Head{Header: headers}
	return h.Get(name)
}

func (p *probe) write(ctx context.Context) error {
	res, err := p.do(ctx, objectstore.Request{Method: http.MethodPut, Body: objectstore.NewBody(p.content)})
	if err == nil && !res.OK() {
		err = &resultError{res}
	}
	return err
}

// updates reports whether UpdateObjectEncryption changes the encryption and
// nothing else. An ETag in the answer is that of an object just written.
func (p *probe) updates(ctx context.Context) (bool, error) {
	before := slices.Clone(p.versions)
	res, err := p.do(ctx, p.wanted.req)
	if err != nil || !res.OK() {
		return false, err
	}
	written := headerOf(res.Header, "etag") != ""
	kept, err := p.kept(ctx)
	return kept && !written && slices.Equal(before, p.versions), err
}

// copies reports whether a copy onto itself changes the encryption, or else whether
// the store knows no such key.
func (p *probe) copies(ctx context.Context, key string) (copies, unknown bool, err error) {
	req := objectstore.Request{Method: http.MethodPut, ErrorIn200: true, Headers: append(p.wanted.headers(key),
		objectstore.Header{Name: copySource, Value: objectstore.CopySource(p.object.Bucket, []byte(p.object.Key), nil)})}
	res, err := p.do(ctx, req)
	if tooLarge(&res) {
		return true, false, nil // a store that copies next to nothing; what becomes of each object is looked at
	}
	if unknownKey(res.Code) {
		return false, true, nil
	}
	if err != nil || !res.OK() {
		return false, false, err
	}
	copies, err = p.kept(ctx)
	return copies, false, err
}

// kept reads the object back: is its content the same, and its encryption the one wanted?
func (p *probe) kept(ctx context.Context) (bool, error) {
	res, err := p.do(ctx, objectstore.Request{Method: http.MethodGet})
	if err != nil || !res.OK() {
		return false, err
	}
	return bytes.Equal(res.Body, p.content) && p.wanted.encrypted(res.Header), nil
}

// remove deletes the object, with all its versions, also when ctx has ended.
func (p *probe) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	for _, version := range p.versions {
		_, _ = p.do(ctx, objectstore.Request{Method: http.MethodDelete, VersionID: []byte(version)})
	}
	if len(p.versions) == 0 {
		_, _ = p.do(ctx, objectstore.Request{Method: http.MethodDelete})
	}
}

// encrypted reports whether headers of an object tell of the encryption wanted. A
// store may name the key by its ID alone, in an ARN of its own kind, or not at all.
func (o *updateEncryption) encrypted(headers []objectstore.Header) bool {
	if headerOf(headers, "x-amz-server-side-encryption") != "aws:kms" {
		return false
	}
	key := headerOf(headers, "x-amz-server-side-encryption-aws-kms-key-id")
	name := func(key string) string { return key[strings.LastIndexAny(key, ":/")+1:] }
	if strings.Contains(key, ":key/") && strings.Contains(o.key, ":key/") {
		return key == o.key
	}
	return key == "" || name(key) == name(o.key)
}

// unable is how a task ends where nothing can be done.
func unable(bucket string) error {
	return &objectstore.Error{
		Op: "UpdateObjectEncryption", Bucket: bucket, Status: http.StatusNotImplemented, Code: "NotImplemented",
		Message: fmt.Sprintf("The store knows no UpdateObjectEncryption, and a copy of an object in %s is not encrypted with the key either", bucket),
	}
}
