package operation

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

const (
	streamPart = 16 << 20 // bytes of an object that are in memory at once, or more if it takes more than maxParts
	// streamMemory bounds the parts in memory of all tasks of a job, in bytes. Only
	// one part that is larger by itself, of an object above 2.5 TiB, may exceed it.
	streamMemory = 256 << 20
)

// stream reads the object from one store and writes it to another. Every part
// goes out with its Content-MD5; the whole is compared with what the source's
// store knows of it before it comes into being.
func (x *transfer) stream(ctx context.Context, memory *semaphore.Weighted) (parts int, err error) {
	if err := x.look(ctx); err != nil {
		return 0, err
	}
	algorithm, inherited := x.recipe.checksumOf(&x.head)
	parts, err = x.streamOnce(ctx, memory)
	if inherited && !x.bare && ctx.Err() == nil && refusesSum(err) {
		x.bare = true // there are stores that do not know the algorithm, and it was nobody's wish
		parts, err = x.streamOnce(ctx, memory)
	}
	if inherited && x.bare {
		x.remark = "without the " + string(algorithm) + " checksum of the source, which the store refuses"
	}
	return parts, err
}

// refusesSum reports whether a store may have refused what is written to it for
// its checksum.
func refusesSum(err error) bool {
	var status int
	if e, ok := errors.AsType[*resultError](err); ok {
		status = e.Status
	} else if e, ok := asStoreError(err); ok && e.Op != "GetObject" && e.Op != "HeadObject" {
		status = e.Status
	}
	return status == http.StatusBadRequest || status == http.StatusNotImplemented
}

// algorithm is that of the checksum that the object is written with, if any.
func (x *transfer) algorithm() job.ChecksumAlgorithm {
	algorithm, inherited := x.recipe.checksumOf(&x.head)
	if inherited && x.bare {
		return ""
	}
	return algorithm
}

func (x *transfer) streamOnce(ctx context.Context, memory *semaphore.Weighted) (parts int, err error) {
	proof := newProof(&x.head)
	size := partSize(x.head.Size, cmp.Or(x.env.PartSize, streamPart))
	if x.head.Size <= size {
		return 0, x.put(ctx, proof, memory)
	}
	return x.sendParts(ctx, proof, size, memory)
}

// fill takes n bytes of the source from offset on into memory. free gives the
// memory back. Every part is a GET of its own: one that waits while parts are
// written would keep a place among the requests that they may need themselves.
func (x *transfer) fill(ctx context.Context, offset, n int64, memory *semaphore.Weighted) (part []byte, free func(), err error) {
	weight := min(n, streamMemory)
	if err := memory.Acquire(ctx, weight); err != nil {
		return nil, nil, err
	}
	if part, err = x.read(ctx, offset, n); err != nil {
		memory.Release(weight)
		return nil, nil, err
	}
	return part, func() { memory.Release(weight) }, nil
}

// read reads n bytes of the source, which is still the one that was looked at.
func (x *transfer) read(ctx context.Context, offset, n int64) ([]byte, error) {
	length := n
	if n == x.head.Size {
		length = -1 // no range for all of it, or for nothing
	}
	body, info, err := x.env.Objects.Open(ctx, x.from, offset, length)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if info.Size != x.head.Size {
		return nil, x.refusal(http.StatusPreconditionFailed, "PreconditionFailed", "The source was changed while it was copied.")
	}
	part := make([]byte, n)
	_, err = io.ReadFull(body, part)
	return part, err
}

// put writes an object with one request.
func (x *transfer) put(ctx context.Context, proof *proof, memory *semaphore.Weighted) error {
	part, free, err := x.fill(ctx, 0, x.head.Size, memory)
	if err != nil {
		return err
	}
	defer free()
	proof.Write(part)
	if err := proof.check(x); err != nil {
		return err
	}
	req := objectstore.Request{
		Method: http.MethodPut, Bucket: x.to.Bucket, Key: []byte(x.to.Key), Body: objectstore.NewBody(part),
		Headers: slices.Concat(x.headers, x.checksum(part)),
	}
	var res objectstore.Result
	if x.client.Do(ctx, &req, &res); !res.OK() {
		return &resultError{res}
	}
	return nil
}

// sendParts writes an object in parts, while the next are being read.
func (x *transfer) sendParts(ctx context.Context, proof *proof, size int64, memory *semaphore.Weighted) (parts int, err error) {
	algorithm := x.algorithm()
	create, complete := checksumHeaders(algorithm)
	upload, err := objectstore.CreateMultipart(ctx, x.client, x.to, append(create, x.headers...)...)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = abort(ctx, upload, err)
		}
	}()
	parts = int((x.head.Size + size - 1) / size)
	uploaded := make([]objectstore.Uploaded, parts)
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	var unread error
	for i := range parts {
		offset := int64(i) * size
		part, free, err := x.fill(working, offset, min(size, x.head.Size-offset), memory)
		if err != nil {
			unread = err
			break
		}
		proof.Write(part)
		group.Go(func() error {
			defer free()
			var err error
			uploaded[i], err = upload.PutPart(working, i+1, bytes.NewReader(part), int64(len(part)), x.checksum(part)...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if unread != nil {
		return 0, unread
	}
	if err := proof.check(x); err != nil {
		return 0, err
	}
	return parts, x.complete(ctx, upload, uploaded, complete)
}

// checksum is the header for a body, if its object is to have a checksum.
func (x *transfer) checksum(body []byte) []objectstore.Header {
	algorithm := x.algorithm()
	if algorithm == "" {
		return nil
	}
	sum := newHash(algorithm)
	sum.Write(body)
	return []objectstore.Header{{Name: checksumHeader(algorithm), Value: base64.StdEncoding.EncodeToString(sum.Sum(nil))}}
}

// A resultError is a request that was not answered as it should be.
type resultError struct{ objectstore.Result }

func (e *resultError) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

func (e *resultError) Unwrap() error { return e.Err }

// A proof sums up what was read of an object, to be compared with what its store
// knows of it: a checksum over the whole, or an ETag that is the MD5 of the content.
type proof struct {
	hash.Hash
	want []byte
	name string
}

func newProof(h *objectstore.Head) *proof {
	if h.Get("x-amz-checksum-type") != "COMPOSITE" {
		for _, a := range []job.ChecksumAlgorithm{"CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1"} {
			value := h.Get(checksumHeader(a))
			sum := newHash(a)
			if want, err := base64.StdEncoding.DecodeString(value); err == nil && len(want) == sum.Size() && value != "" {
				return &proof{sum, want, string(a)}
			}
		}
	}
	p := &proof{Hash: md5.New(), name: "MD5"}
	// With a key of its own, an object has an ETag that is no MD5.
	encryption := h.Get("x-amz-server-side-encryption")
	if want, err := hex.DecodeString(h.ETag); err == nil && len(want) == md5.Size && !strings.HasPrefix(encryption, "aws:kms") {
		p.want = want
	}
	return p
}

// check fails if something else was read than was there.
func (p *proof) check(x *transfer) error {
	if got := p.Sum(nil); p.want != nil && !bytes.Equal(got, p.want) {
		return x.refusal(http.StatusInternalServerError, codeVerification,
			fmt.Sprintf("What was read of the source has the %s %x, its store says %x; nothing was written.", p.name, got, p.want))
	}
	return nil
}
