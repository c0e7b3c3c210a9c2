package operation

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/semaphore"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// replicate brings every object to where the replication configuration of its
// bucket says (operations.md section 8). S3 has no call for that which others
// could make, so it is done by copies.
//
// A copy is always the newest version of its key. Only the current version of a
// source can be replicated like that: an old one would become current.
type replicate struct {
	env      Env
	configs  buckets[ReplicationConfig]
	versions buckets[string] // versioning of buckets
	apart    func(one, other string) bool
	memory   *semaphore.Weighted
}

func newReplicate(env Env) Operation {
	o := &replicate{env: env, memory: semaphore.NewWeighted(streamMemory)}
	if stores, ok := env.Objects.(interface{ Same(one, other string) bool }); ok {
		o.apart = func(one, other string) bool { return !stores.Same(one, other) }
	}
	return o
}

// A reason is why an object is not replicated, in the words of S3's reports.
type reason struct{ code, message string }

func (r *reason) Error() string { return r.code + ": " + r.message }

const (
	configMissing = "SrcBucketReplicationConfigMissing"
	notEligible   = "SrcObjectNotEligible"
)

// Do implements Operation.
func (o *replicate) Do(ctx context.Context, t *Task, _ *Scratch, out *job.Outcome) error {
	ctx, cancel := o.env.untilDrained(ctx)
	defer cancel()
	err := o.replicate(ctx, t)
	if r, ok := err.(*reason); ok { //nolint:errorlint // ours, never wrapped
		// S3 reports all of them with this status.
		*out = job.Outcome{Failed: true, HTTPStatus: http.StatusInternalServerError, Code: r.code, Message: oneLine(r.message), Attempts: 1}
		return nil
	}
	x := transfer{}
	if err := x.end(ctx, "", 0, 1, err, out); err != nil {
		return err
	}
	if !out.Failed {
		out.Message = "success" // as S3 reports it
	}
	return nil
}

func (o *replicate) replicate(ctx context.Context, t *Task) error {
	config, err := o.configs.get(ctx, t.Bucket, func(ctx context.Context) (*ReplicationConfig, error) { return o.ask(ctx, t.Bucket) })
	if err != nil {
		return err
	}
	if len(config.Rules) == 0 {
		return &reason{configMissing, "The source bucket has no replication configuration"}
	}
	versioned, err := o.versioned(ctx, t.Bucket)
	if err != nil {
		return err
	}
	if versioned && len(t.VersionID) == 0 {
		return &objectstore.Error{Status: http.StatusBadRequest, Code: "InvalidRequest", Message: "Task failed due to missing VersionId"}
	}
	from := sourceOf(t)
	head, err := objectstore.HeadFull(ctx, o.env.Client, from)
	if e, ok := asStoreError(err); ok && e.Status == http.StatusMethodNotAllowed {
		return o.marker(ctx, config, from)
	}
	if err != nil {
		return sourceReason(err)
	}
	if restored := strings.Contains(head.Get("x-amz-restore"), `ongoing-request="false"`); !restored &&
		(head.StorageClass == "GLACIER" || head.StorageClass == "DEEP_ARCHIVE" || head.Get("x-amz-archive-status") != "") {
		return &reason{notEligible, "Object is archived and has not been restored"}
	}
	if from.VersionID != "" && from.VersionID != "null" && head.VersionID != "" {
		current, err := objectstore.HeadFull(ctx, o.env.Client, objectstore.Object{Bucket: from.Bucket, Key: from.Key})
		if err != nil && !objectstore.NotFound(err) {
			return sourceReason(err)
		}
		if err != nil || current.VersionID != head.VersionID {
			return &reason{notEligible, "Object is not the current version: its copy would become current at the destination"}
		}
	}
	tags, err := tagsOf(ctx, o.env.Client, from)
	if e, ok := asStoreError(err); ok && e.Status == http.StatusForbidden {
		return &reason{"SrcGetTaggingNotPermitted", e.Message}
	}
	if err != nil {
		return err
	}
	rules := config.matching(from.Key, tags)
	if len(rules) == 0 {
		return &reason{notEligible, "Object is not eligible for replication"}
	}
	var first error
	for _, rule := range rules { // a destination that fails keeps nothing from the others
		if err := o.send(ctx, from, versioned, tags, rule); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// ask reads the replication configuration of a bucket, ours if the store has none.
func (o *replicate) ask(ctx context.Context, bucket string) (*ReplicationConfig, error) {
	req := objectstore.Request{Method: http.MethodGet, Bucket: bucket, OnBucket: true, Query: "replication"}
	var res objectstore.Result
	o.env.Client.Do(ctx, &req, &res)
	var answer struct {
		XMLName xml.Name `xml:"ReplicationConfiguration"`
		ReplicationConfig
	}
	switch {
	case res.OK() && xml.Unmarshal(res.Body, &answer) == nil && len(answer.Rules) > 0:
		return &answer.ReplicationConfig, nil
	case res.OK(), res.Status == http.StatusNotImplemented, res.Status == http.StatusMethodNotAllowed, res.Status == http.StatusBadRequest,
		res.Status == http.StatusNotFound && res.Code != "NoSuchBucket":
		config := o.env.Replication[bucket]
		return &config, nil
	}
	return nil, &resultError{res}
}

// versioned reports whether a bucket keeps versions. A store that does not say has none.
func (o *replicate) versioned(ctx context.Context, bucket string) (bool, error) {
	if o.env.Objects == nil {
		return false, nil
	}
	status, err := o.versions.get(ctx, bucket, func(ctx context.Context) (*string, error) {
		status, err := o.env.Objects.Versioning(ctx, bucket)
		if e, ok := asStoreError(err); ok && (e.Status == http.StatusNotImplemented || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusForbidden) {
			return new(""), nil
		}
		return &status, err
	})
	if err != nil {
		return false, err
	}
	return *status != "", nil
}

// sourceReason is what it means that a source cannot be looked at.
func sourceReason(err error) error {
	e, ok := asStoreError(err)
	switch {
	case ok && e.Status == http.StatusNotFound:
		return &reason{"SrcVersionNotFound", "The source object or version does not exist"}
	case ok && e.Status == http.StatusForbidden:
		return &reason{"SrcHeadObjectNotPermitted", e.Message}
	}
	return err
}

// marker replicates a delete marker, if it is what is current.
func (o *replicate) marker(ctx context.Context, config *ReplicationConfig, from objectstore.Object) error {
	if _, err := objectstore.HeadFull(ctx, o.env.Client, objectstore.Object{Bucket: from.Bucket, Key: from.Key}); !objectstore.NotFound(err) {
		if err != nil {
			return err
		}
		return &reason{notEligible, "Delete marker is not the current version"}
	}
	var rules []*ReplicationRule
	for _, rule := range config.matching(from.Key, nil) {
		if rule.markers() {
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 {
		return &reason{notEligible, "Delete marker is not eligible for replication"}
	}
	for _, rule := range rules {
		to := objectstore.Object{Bucket: job.BucketName(rule.Destination.Bucket), Key: from.Key}
		if _, err := objectstore.HeadFull(ctx, o.env.Client, to); objectstore.NotFound(err) {
			continue // is deleted there, or never was
		}
		req := objectstore.Request{Method: http.MethodDelete, Bucket: to.Bucket, Key: []byte(to.Key)}
		var res objectstore.Result
		if o.env.Client.Do(ctx, &req, &res); !res.OK() {
			if res.Status == http.StatusForbidden {
				return &reason{"DstDelObjNotPermitted", res.Message}
			}
			return &resultError{res}
		}
	}
	return nil
}

// readBack looks for the copy, or the lack of one, at every destination.
func (o *replicate) readBack(ctx context.Context, c Client, t *Task) error {
	config, err := o.configs.get(ctx, t.Bucket, func(ctx context.Context) (*ReplicationConfig, error) { return o.ask(ctx, t.Bucket) })
	if err != nil {
		return err
	}
	from := sourceOf(t)
	var tags []job.Tag
	head, err := objectstore.HeadFull(ctx, c, from)
	e, ok := asStoreError(err)
	marker := ok && e.Status == http.StatusMethodNotAllowed
	switch {
	case objectstore.NotFound(err):
		return nil // a source that is gone by now says nothing of its copies
	case err == nil:
		if tags, err = tagsOf(ctx, c, from); err != nil {
			return err
		}
	case !marker:
		return err
	}
	for _, rule := range config.matching(from.Key, tags) {
		x := &transfer{client: c, head: head, to: objectstore.Object{Bucket: job.BucketName(rule.Destination.Bucket), Key: from.Key}}
		if marker {
			_, err := objectstore.HeadFull(ctx, c, x.to)
			if rule.markers() && !objectstore.NotFound(err) {
				return cmp.Or(err, missingf("the object is still in %s", x.to.Bucket))
			}
			continue
		}
		there, err := x.isThere(ctx, tags)
		if err != nil {
			return err
		}
		if !there {
			return missingf("no copy like the object can be read in %s", x.to.Bucket)
		}
	}
	return nil
}

// replicaOf is metadata that names the source's ETag where that of the copy differs.
const replicaOf = "x-amz-meta-stevedore-replica-of"

// send copies the object to the destination of a rule, unless it is there.
func (o *replicate) send(ctx context.Context, from objectstore.Object, versioned bool, tags []job.Tag, rule *ReplicationRule) error {
	d := &rule.Destination
	to := objectstore.Object{Bucket: job.BucketName(d.Bucket), Key: from.Key}
	if versioned {
		kept, err := o.versioned(ctx, to.Bucket)
		if err != nil {
			return destinationReason(err)
		}
		if !kept {
			return &reason{"DstBucketUnversioned", "The destination bucket " + to.Bucket + " has no versioning"}
		}
	}
	r := recipe{content: true, redirect: true, lock: true, tags: true, class: d.StorageClass == ""}
	if d.StorageClass != "" {
		r.headers = append(r.headers, objectstore.Header{Name: "x-amz-storage-class", Value: d.StorageClass})
	}
	if key := d.Encryption.ReplicaKMSKeyID; key != "" {
		r.headers = append(r.headers, objectstore.Header{Name: "x-amz-server-side-encryption", Value: "aws:kms"},
			objectstore.Header{Name: "x-amz-server-side-encryption-aws-kms-key-id", Value: key})
	}
	x := &transfer{env: &o.env, client: o.env.Client, recipe: &r, from: from, to: to}
	if err := x.look(ctx); err != nil {
		return sourceReason(err)
	}
	if there, err := x.isThere(ctx, tags); err != nil || there {
		return destinationReason(err)
	}
	mark := objectstore.Header{Name: replicaOf, Value: x.head.ETag}
	if strings.Contains(x.head.ETag, "-") || d.Encryption.ReplicaKMSKeyID != "" || x.head.Size > streamPart {
		x.headers = append(x.headers, mark)
	}
	if o.apart != nil && o.apart(from.Bucket, to.Bucket) {
		_, err := x.stream(ctx, o.memory)
		return destinationReason(err)
	}
	large, err := x.copyWhole(ctx, x.head.Size, append(slices.Clone(x.headers),
		objectstore.Header{Name: "x-amz-metadata-directive", Value: "REPLACE"},
		objectstore.Header{Name: "x-amz-tagging-directive", Value: "REPLACE"})...)
	if large {
		if !slices.Contains(x.headers, mark) {
			x.headers = append(x.headers, mark)
		}
		_, err = x.inParts(ctx)
	}
	return destinationReason(err)
}

// isThere reports whether the destination is the source's copy already.
func (x *transfer) isThere(ctx context.Context, tags []job.Tag) (bool, error) {
	is, err := objectstore.HeadFull(ctx, x.client, x.to)
	if err != nil {
		if objectstore.NotFound(err) || objectstore.AccessDenied(err) {
			return false, nil // or it may not be read: copying once more does no harm
		}
		return false, err
	}
	if is.Size != x.head.Size || is.ETag != x.head.ETag && is.Get(replicaOf) != x.head.ETag {
		return false, nil
	}
	content := func(h *objectstore.Head) []objectstore.Header {
		list := slices.DeleteFunc(h.Content(), func(h objectstore.Header) bool { return h.Name == replicaOf })
		slices.SortFunc(list, func(a, b objectstore.Header) int { return strings.Compare(a.Name, b.Name) })
		return list
	}
	if !slices.Equal(content(&is), content(&x.head)) {
		return false, nil
	}
	theirs, err := tagsOf(ctx, x.client, x.to)
	if err != nil {
		return false, nil //nolint:nilerr // likewise
	}
	byKey := func(a, b job.Tag) int { return strings.Compare(a.Key, b.Key) }
	return slices.Equal(slices.SortedFunc(slices.Values(theirs), byKey), slices.SortedFunc(slices.Values(tags), byKey)), nil
}

// destinationReason is what it means that a copy was not made. What has no name
// among S3's reasons keeps its own.
func destinationReason(err error) error {
	var status int
	var op, code, message string
	if e, ok := errors.AsType[*resultError](err); ok {
		status, code, message = e.Status, e.Code, e.Message
	} else if e, ok := asStoreError(err); ok {
		op, status, code, message = e.Op, e.Status, e.Code, e.Message
	}
	switch {
	case code == "NoSuchBucket":
		return &reason{"DstBucketNotFound", message}
	case code == "NoSuchVersion", code == "NoSuchKey":
		return &reason{"SrcVersionNotFound", message}
	case code == "KMS.NotFoundException":
		return &reason{"DstKmsKeyNotFound", message}
	case strings.HasPrefix(code, "KMS."):
		return &reason{"DstKmsKeyInvalidState", message}
	case status != http.StatusForbidden, code == "InvalidObjectState":
		return err
	}
	switch op {
	case "GetObject":
		return &reason{"SrcGetObjectNotPermitted", message}
	case "CreateMultipartUpload":
		return &reason{"DstMultipartInitNotPermitted", message}
	case "UploadPart", "UploadPartCopy":
		return &reason{"DstMultipartPartUploadNotPermitted", message}
	case "CompleteMultipartUpload":
		return &reason{"DstMultipartCompleteNotPermitted", message}
	}
	return &reason{"DstPutObjectNotPermitted", message}
}
