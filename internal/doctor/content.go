package doctor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

func (e *exam) restores(ctx context.Context) {
	const name = "S3InitiateRestoreObject"
	e.progress(name)
	op := job.Operation{S3InitiateRestoreObject: &job.S3InitiateRestoreObject{ExpirationInDays: new(int32(1)), GlacierJobTier: "STANDARD"}}
	archive := []objectstore.Header{{Name: "x-amz-storage-class", Value: "GLACIER"}}
	archived := func(ctx context.Context, e *exam, p *patient) (verdict, bool) {
		v := heads("x-amz-storage-class", "GLACIER")(ctx, e, p, job.Outcome{})
		return untested("the store has no archive: " + v.detail), v.is == Works
	}
	e.try(ctx, &trial{operation: name, put: archive, before: archived, op: op, effect: heads("x-amz-restore")})
	e.try(ctx, &trial{operation: name, parameter: "VersionId", old: true, put: archive, before: archived, op: op, effect: heads("x-amz-restore")})
	if ctx.Err() != nil {
		return
	}
	p := e.scratch("not-archived")
	e.put(ctx, p)
	v := ignored("accepted for an object that is not archived")
	out, err := e.operate(ctx, op, p.key, "")
	switch reason := e.intact(ctx, p); {
	case reason != "":
		v = dangerous(reason)
	case err != nil:
		v = failure(err)
	case out.Failed && out.Code == "InvalidObjectState":
		v = works("refused, as it must be")
	case out.Failed:
		v = verdict{is: Refused, code: answer(out.HTTPStatus, out.Code)}
	}
	e.find(name, "not archived", v)
}

// firstPart is the size of a part that is not the last: the least that S3 takes.
const firstPart = 5 << 20

func (e *exam) checksums(ctx context.Context) {
	const name = "S3ComputeObjectChecksum"
	e.progress(name)
	compute := func(a job.ChecksumAlgorithm, t job.ChecksumType) job.Operation {
		return job.Operation{S3ComputeObjectChecksum: &job.S3ComputeObjectChecksum{ChecksumAlgorithm: a, ChecksumType: t}}
	}
	says := func(_ context.Context, _ *exam, p *patient, out job.Outcome) verdict {
		sum := sha256.Sum256([]byte(p.content))
		if strings.Contains(out.Message, base64.StdEncoding.EncodeToString(sum[:])) ||
			strings.Contains(strings.ToLower(out.Message), hex.EncodeToString(sum[:])) {
			return works("")
		}
		return dangerous("the checksum is that of other bytes")
	}
	e.try(ctx, &trial{operation: name, parameter: "FULL_OBJECT", op: compute("SHA256", "FULL_OBJECT"), effect: says})
	e.try(ctx, &trial{operation: name, parameter: "VersionId", op: compute("SHA256", "FULL_OBJECT"), old: true, effect: says})

	if ctx.Err() != nil {
		return
	}
	key, v := e.upload(ctx)
	if v.is == Works {
		out, err := e.operate(ctx, compute("SHA256", "COMPOSITE"), key, "")
		switch {
		case err != nil:
			v = failure(err)
		case out.Failed:
			v = verdict{is: Refused, code: answer(out.HTTPStatus, out.Code), detail: "the store does not tell the parts of an object"}
		}
	}
	e.find(name, "COMPOSITE", v)
}

// upload makes an object of two parts.
func (e *exam) upload(ctx context.Context) (key string, v verdict) {
	p := e.scratch("two-parts")
	u, err := objectstore.CreateMultipart(ctx, e, e.object(p))
	if err != nil {
		return "", storeError(err)
	}
	var parts []objectstore.Uploaded
	for i, size := range []int{firstPart, 1000} {
		var part objectstore.Uploaded
		body := bytes.Repeat([]byte(strconv.Itoa(i)), size)
		if part, err = u.PutPart(ctx, i+1, bytes.NewReader(body), int64(size)); err != nil {
			break
		}
		parts = append(parts, part)
	}
	if err == nil {
		_, err = u.Complete(ctx, parts)
	}
	if err != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
		defer cancel()
		_ = u.Abort(ending) // whatever is left is listed at the end
		return "", storeError(err)
	}
	return p.key, works("")
}

func (e *exam) encryptions(ctx context.Context) {
	const name = "S3UpdateObjectEncryption"
	e.progress(name)
	key := e.config.KMSKey
	if key == "" {
		key = noKey
	}
	encrypted := heads("x-amz-server-side-encryption", "aws:kms")
	if ctx.Err() != nil {
		return
	}
	p := e.scratch("encryption")
	var v verdict
	if res := e.put(ctx, p); !res.OK() {
		v = untested("the object cannot be made: " + answer(res.Status, res.Code))
	} else {
		res := e.call(ctx, objectstore.Request{
			Method: http.MethodPut, Key: []byte(p.key), VersionID: []byte(p.version), Query: "encryption",
			Body: objectstore.NewBody([]byte(`<ObjectEncryption xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><SSE-KMS><KMSKeyArn>` +
				escaped(key) + `</KMSKeyArn></SSE-KMS></ObjectEncryption>`)),
		})
		v = encrypted(ctx, e, p, job.Outcome{})
		if !res.OK() {
			v = refused(res)
		}
		// Neither the version nor, in a bucket with versions, what is current.
		current := &patient{key: p.key, content: p.content}
		for _, q := range []*patient{p, current} {
			if reason := e.intact(ctx, q); reason != "" {
				v = dangerous("taken for new content: " + reason)
			}
		}
	}
	if v.is == Refused && e.config.KMSKey == "" {
		v.detail = "with a key that nobody has"
	}
	e.find(name, "PUT ?encryption itself", v)

	op := job.Operation{S3UpdateObjectEncryption: &job.S3UpdateObjectEncryption{ObjectEncryption: &job.ObjectEncryption{SSEKMS: &job.UpdateSSEKMS{KMSKeyArn: key}}}}
	e.try(ctx, &trial{operation: name, parameter: "as jobs do it", op: op, effect: func(ctx context.Context, e *exam, p *patient, out job.Outcome) verdict {
		now := &patient{key: p.key} // it may be a new version
		v := encrypted(ctx, e, now, out)
		if v.is == Works && out.Message != "Successful" {
			v.detail, _, _ = strings.Cut(out.Message, ";")
		}
		return v
	}})
}

const replicationRules = `<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Role>arn:aws:iam::123456789012:role/doctor</Role>` +
	`<Rule><ID>doctor</ID><Priority>1</Priority><Status>Disabled</Status><Filter><Prefix>doctor/</Prefix></Filter>` +
	`<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>` +
	`<Destination><Bucket>arn:aws:s3:::BUCKET</Bucket></Destination></Rule></ReplicationConfiguration>`

// replications tries whether the store keeps rules, which is all that jobs need
// of it. In a bucket of somebody else's they are only looked at.
func (e *exam) replications(ctx context.Context) {
	const name, parameter = "S3ReplicateObject", "configuration of the bucket"
	e.progress(name)
	if ctx.Err() != nil {
		return
	}
	read := func() *objectstore.Result {
		return e.call(ctx, objectstore.Request{Method: http.MethodGet, OnBucket: true, Query: "replication"})
	}
	if !e.report.Created {
		switch res := read(); {
		case res.OK():
			e.find(name, parameter, works("there is one"))
		case res.Code == "ReplicationConfigurationNotFoundError":
			e.find(name, parameter, untested("there is none, and it is tried only in a bucket of the doctor's own (--create)"))
		default:
			e.find(name, parameter, refused(res))
		}
		return
	}
	rules := strings.Replace(replicationRules, "BUCKET", escaped(e.bucket), 1)
	res := e.call(ctx, objectstore.Request{Method: http.MethodPut, OnBucket: true, Query: "replication", Body: objectstore.NewBody([]byte(rules))})
	if !res.OK() {
		e.find(name, parameter, refused(res))
		return
	}
	v := works("")
	if back := read(); !back.OK() || !strings.Contains(string(back.Body), "<ID>doctor</ID>") {
		v = ignored("cannot be read back: " + answer(back.Status, back.Code))
	}
	e.call(ctx, objectstore.Request{Method: http.MethodDelete, OnBucket: true, Query: "replication"})
	e.find(name, parameter, v)
}
