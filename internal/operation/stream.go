package operation

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
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
	body, info, err := x.env.Objects.Open(ctx, x.from, 0, -1)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	if info.Size != x.head.Size {
		return 0, x.refusal(http.StatusPreconditionFailed, "PreconditionFailed", "The source was changed while it was copied.")
	}
	proof := newProof(&x.head)
	source := io.TeeReader(body, proof)
	size := partSize(x.head.Size, cmp.Or(x.env.PartSize, streamPart))
	if x.head.Size <= size {
		return 0, x.put(ctx, source, proof, memory)
	}
	return x.sendParts(ctx, source, proof, size, memory)
}

// fill takes the next n bytes of the source into memory. free gives the memory back.
func fill(ctx context.Context, source io.Reader, n int64, memory *semaphore.Weighted) (part []byte, free func(), err error) {
	weight := min(n, streamMemory)
	if err := memory.Acquire(ctx, weight); err != nil {
		return nil, nil, err
	}
	part = make([]byte, n)
	if _, err := io.ReadFull(source, part); err != nil {
		memory.Release(weight)
		return nil, nil, err
	}
	return part, func() { memory.Release(weight) }, nil
}

// put writes an object with one request.
func (x *transfer) put(ctx context.Context, source io.Reader, proof *proof, memory *semaphore.Weighted) error {
	part, free, err := fill(ctx, source, x.head.Size, memory)
	if err != nil {
		return err
	}
	defer free()
	if err := proof.check(x); err != nil {
		return err
	}
	req := objectstore.Request{
		Method: http.MethodPut, Bucket: x.to.Bucket, Key: []byte(x.to.Key), Body: objectstore.NewBody(part),
		Headers: append(x.headers, x.checksum(part)...),
	}
	var res objectstore.Result
	if x.client.Do(ctx, &req, &res); !res.OK() {
		return &resultError{res}
	}
	return nil
}

// sendParts writes an object in parts, while the next are being read.
func (x *transfer) sendParts(ctx context.Context, source io.Reader, proof *proof, size int64, memory *semaphore.Weighted) (parts int, err error) {
	algorithm, _ := x.recipe.checksumOf(&x.head)
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
		part, free, err := fill(working, source, min(size, x.head.Size-int64(i)*size), memory)
		if err != nil {
			unread = err
			break
		}
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
	algorithm, _ := x.recipe.checksumOf(&x.head)
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
