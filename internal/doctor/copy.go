package doctor

import (
	"context"
	"net/http"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

const copyName = "S3PutObjectCopy"

// copyOf is an operation that copies beside the sources, below to/.
func (e *exam) copyOf(change func(*job.S3PutObjectCopy)) job.Operation {
	p := &job.S3PutObjectCopy{TargetResource: "arn:aws:s3:::" + e.bucket, TargetKeyPrefix: e.prefix + "to"}
	if change != nil {
		change(p)
	}
	return job.Operation{S3PutObjectCopy: p}
}

// copied is where copyOf puts the copy of p.
func (e *exam) copied(p *patient) *patient {
	return &patient{key: e.prefix + "to/" + p.key, content: p.content}
}

// onCopy looks at the copy: first whether it has the bytes of its source.
func onCopy(effect func(context.Context, *exam, *patient, job.Outcome) verdict) func(context.Context, *exam, *patient, job.Outcome) verdict {
	return func(ctx context.Context, e *exam, p *patient, out job.Outcome) verdict {
		dst := e.copied(p)
		switch res := e.get(ctx, dst.key, ""); {
		case !res.OK() && res.Code != "InvalidObjectState":
			return ignored("there is no copy: " + answer(res.Status, res.Code))
		case res.OK() && string(res.Body) != p.content:
			return dangerous("the copy has other bytes than its source")
		}
		return effect(ctx, e, dst, out)
	}
}

func anything(context.Context, *exam, *patient, job.Outcome) verdict { return works("") }

// described is a scratch object with everything that describes content.
func described() []objectstore.Header {
	return []objectstore.Header{
		{Name: "cache-control", Value: "max-age=60"},
		{Name: "content-type", Value: "text/x-doctor"},
		{Name: "x-amz-meta-doctor", Value: "source"},
	}
}

func (e *exam) copies(ctx context.Context) {
	e.progress(copyName)
	aged := e.scratch("aged") // a few seconds old when it is wanted
	e.put(ctx, aged)
	for _, t := range e.copyTrials() {
		t.operation, t.effect = copyName, onCopy(t.effect)
		e.try(ctx, &t)
	}
	if e.config.KMSKey == "" && ctx.Err() == nil {
		e.find(copyName, "SSEAwsKmsKeyId", untested("no key was given"))
	}
	for _, t := range e.lockedCopies() {
		if !e.locked && ctx.Err() == nil {
			e.find(copyName, t.parameter, untested("the bucket has no Object Lock"))
			continue
		}
		t.operation, t.effect = copyName, onCopy(t.effect)
		e.try(ctx, &t)
	}
	e.conditions(ctx, aged)
	e.parts(ctx)
}

func (e *exam) copyTrials() []trial {
	redirect := "/elsewhere"
	meta := &job.ObjectMetadata{
		ContentType: "text/x-new", CacheControl: "no-store", UserMetadata: map[string]string{"doctor": "new"},
	}
	public := []job.Grant{{Grantee: &job.Grantee{TypeIdentifier: job.GranteeURI, Identifier: everybody}, Permission: job.PermissionRead}}
	sse := func(a job.SSEAlgorithm) *job.ObjectMetadata { return &job.ObjectMetadata{SSEAlgorithm: a} }
	trials := []trial{
		{op: e.copyOf(nil), effect: anything},
		{parameter: "current of several versions", two: true, op: e.copyOf(nil), effect: anything},
		{parameter: "VersionId", old: true, op: e.copyOf(nil), effect: anything},
		{parameter: "metadata kept", put: described(), op: e.copyOf(nil), effect: all(
			heads("content-type", "text/x-doctor"), heads("cache-control", "max-age=60"), heads("x-amz-meta-doctor", "source"))},
		{parameter: "tags kept", put: tagged(), op: e.copyOf(nil), effect: hasTags(job.Tag{Key: "from", Value: "source"})},
		{parameter: "NewObjectMetadata", put: described(), op: e.copyOf(func(p *job.S3PutObjectCopy) { p.NewObjectMetadata = meta }), effect: all(
			heads("content-type", "text/x-new"), heads("cache-control", "no-store"), heads("x-amz-meta-doctor", "new"))},
		{parameter: "NewObjectTagging", put: tagged(), op: e.copyOf(func(p *job.S3PutObjectCopy) { p.NewObjectTagging = []job.Tag{{Key: "a", Value: "b c"}} }), effect: hasTags(job.Tag{Key: "a", Value: "b c"})},
		{parameter: "NewObjectTagging, empty", put: tagged(), op: e.copyOf(func(p *job.S3PutObjectCopy) { p.NewObjectTagging = []job.Tag{} }), effect: hasTags()},
		{parameter: "StorageClass", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.StorageClass = "STANDARD_IA" }), effect: heads("x-amz-storage-class", "STANDARD_IA")},
		{parameter: "CannedAccessControlList", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.CannedAccessControlList = "public-read" }), effect: isPublic},
		{parameter: "AccessControlGrants", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.AccessControlGrants = public }), effect: isPublic},
		{parameter: "SSEAlgorithm AES256", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.NewObjectMetadata = sse(job.SSEAlgorithmAES256) }), effect: heads("x-amz-server-side-encryption", "AES256")},
		{parameter: "SSEAlgorithm KMS", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.NewObjectMetadata = sse(job.SSEAlgorithmKMS) }), effect: heads("x-amz-server-side-encryption", "aws:kms")},
		{parameter: "BucketKeyEnabled", op: e.copyOf(func(p *job.S3PutObjectCopy) {
			p.NewObjectMetadata, p.BucketKeyEnabled = sse(job.SSEAlgorithmKMS), new(true)
		}), effect: heads("x-amz-server-side-encryption-bucket-key-enabled", "true")},
		{parameter: "RedirectLocation", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.RedirectLocation = redirect }), effect: heads("x-amz-website-redirect-location", redirect)},
		{parameter: "ChecksumAlgorithm SHA256", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.ChecksumAlgorithm = "SHA256" }), effect: heads("x-amz-checksum-sha256")},
		{parameter: "ChecksumAlgorithm CRC64NVME", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.ChecksumAlgorithm = "CRC64NVME" }), effect: heads("x-amz-checksum-crc64nvme")},
	}
	if key := e.config.KMSKey; key != "" {
		trials = append(trials, trial{
			parameter: "SSEAwsKmsKeyId", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.SSEAwsKmsKeyId = key }),
			effect: heads("x-amz-server-side-encryption", "aws:kms"),
		})
	}
	return trials
}

func (e *exam) lockedCopies() []trial {
	until := time.Now().Add(locking).Truncate(time.Second)
	return []trial{
		{parameter: "ObjectLockLegalHoldStatus", op: e.copyOf(func(p *job.S3PutObjectCopy) { p.ObjectLockLegalHoldStatus = "ON" }), effect: heads("x-amz-object-lock-legal-hold", "ON")},
		{parameter: "ObjectLockMode", op: e.copyOf(func(p *job.S3PutObjectCopy) {
			p.ObjectLockMode, p.ObjectLockRetainUntilDate = "GOVERNANCE", &until
		}), effect: heads("x-amz-object-lock-mode", "GOVERNANCE")},
	}
}

// all has several effects looked at; the first that is not there counts.
func all(effects ...func(context.Context, *exam, *patient, job.Outcome) verdict) func(context.Context, *exam, *patient, job.Outcome) verdict {
	return func(ctx context.Context, e *exam, p *patient, out job.Outcome) verdict {
		for _, effect := range effects {
			if v := effect(ctx, e, p, out); v.is != Works {
				return v
			}
		}
		return works("")
	}
}

// conditions tries constraints that do not hold: nothing may be copied.
func (e *exam) conditions(ctx context.Context, p *patient) {
	h, err := objectstore.HeadFull(ctx, e, e.object(p))
	for _, c := range []struct {
		parameter string
		change    func(*job.S3PutObjectCopy)
	}{
		{"UnModifiedSinceConstraint", func(p *job.S3PutObjectCopy) { p.UnModifiedSinceConstraint = new(h.LastModified.Add(-time.Hour)) }},
		{"ModifiedSinceConstraint", func(p *job.S3PutObjectCopy) { p.ModifiedSinceConstraint = new(h.LastModified.Add(time.Second)) }},
	} {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			e.find(copyName, c.parameter, unreadable(err))
			continue
		}
		if c.parameter == "ModifiedSinceConstraint" {
			e.later(ctx, h, 2*time.Second) // a date in the future would be no condition
		}
		e.find(copyName, c.parameter, e.condition(ctx, p, e.copyOf(c.change)))
	}
}

// later waits until an object is of some age, by the clock of its store.
func (e *exam) later(ctx context.Context, h objectstore.Head, age time.Duration) {
	now, err := http.ParseTime(h.Get("date"))
	if err != nil {
		now = time.Now()
	}
	if missing := h.LastModified.Add(age).Sub(now); missing > 0 {
		wait(ctx, time.Now().Add(min(missing, age)))
	}
}

func (e *exam) condition(ctx context.Context, p *patient, op job.Operation) verdict {
	out, err := e.operate(ctx, op, p.key, "")
	if reason := e.intact(ctx, p); reason != "" {
		return dangerous(reason)
	}
	switch {
	case err != nil:
		return failure(err)
	case !out.Failed:
		return ignored("copied all the same")
	case out.HTTPStatus == http.StatusPreconditionFailed, out.HTTPStatus == http.StatusNotModified:
		return works("")
	}
	return verdict{is: Refused, code: answer(out.HTTPStatus, out.Code)}
}

// parts tries the way of large objects: parts that the store copies itself.
func (e *exam) parts(ctx context.Context) {
	p := e.scratch("parts")
	e.put(ctx, p)
	dst := &patient{key: e.prefix + "to/" + p.key, content: p.content[10:20]}
	if ctx.Err() != nil {
		return
	}
	e.find(copyName, "in parts, above the store's limit", e.copyPart(ctx, p, dst, ""))
	if ctx.Err() != nil {
		return
	}
	v := e.copyPart(ctx, p, dst, `"00000000000000000000000000000000"`)
	switch {
	case v.is == Works:
		v = ignored("copied although the source has another ETag")
	case v.is == Refused && v.code == "412 PreconditionFailed":
		v = works("")
	}
	e.find(copyName, "in parts, source unchanged", v)
}

// copyPart makes dst of ten bytes in the middle of p.
func (e *exam) copyPart(ctx context.Context, p, dst *patient, etag string) verdict {
	u, err := objectstore.CreateMultipart(ctx, e, e.object(dst))
	if err != nil {
		return storeError(err)
	}
	part, err := u.CopyPart(ctx, 1, objectstore.Object{Bucket: e.bucket, Key: p.key, ETag: etag}, 10, 10)
	if err == nil {
		_, err = u.Complete(ctx, []objectstore.Uploaded{part})
	}
	if err != nil {
		v := storeError(err)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
		defer cancel()
		if err := u.Abort(ending); err != nil {
			v.detail = "and the upload cannot be aborted"
		}
		return v
	}
	res := e.get(ctx, dst.key, "")
	if !res.OK() {
		return ignored("there is no copy: " + answer(res.Status, res.Code))
	}
	if string(res.Body) != dst.content {
		return dangerous("the copy has other bytes than its source")
	}
	return works("")
}

// abortTime bounds giving up one upload.
const abortTime = 30 * time.Second
