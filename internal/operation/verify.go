package operation

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// sampleEvery is of how many tasks one is verified where a job wants a sample.
const sampleEvery = 100

// verified reads the effect of tasks back. There are stores that answer 200 and do
// nothing; a job that asks for it by tag (job.TagVerify) does not believe them.
type verified struct {
	Operation
	client Client
	every  int64
	tasks  atomic.Int64
	effect effect
}

// An effect says what is missing of what a task should have done, nil if nothing.
// An *objectstore.Error says that it could not be read back.
type effect func(ctx context.Context, c Client, t *Task) error

// A reader is an operation that knows itself how its effect is read back.
type reader interface {
	readBack(ctx context.Context, c Client, t *Task) error
}

// missing says that an effect is not there.
type missing struct{ text string }

func (e *missing) Error() string { return e.text }

func missingf(format string, args ...any) error { return &missing{fmt.Sprintf(format, args...)} }

// verify has the effects of o read back as its job asks for it, where that can be.
func verify(o Operation, op job.Operation, env Env) Operation {
	if env.Job == nil {
		return o
	}
	options, _ := job.OptionsOf(env.Job.Tags) // the others were refused when they were set
	v := &verified{Operation: o, client: env.Client, effect: effectOf(op)}
	if r, ok := o.(reader); ok {
		v.effect = r.readBack
	}
	switch {
	case v.effect == nil:
		return o
	case options.Verify == job.VerifyAll:
		v.every = 1
	case options.Verify == job.VerifySample:
		v.every = sampleEvery
	default:
		return o
	}
	if p, ok := o.(Prechecker); ok {
		return &verifiedLock{v, p}
	}
	return v
}

// verifiedLock is verified for operations that look at buckets first.
type verifiedLock struct {
	*verified
	Prechecker
}

// Do implements Operation.
func (v *verified) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	turn := (v.tasks.Add(1)-1)%v.every == 0
	if err := v.Operation.Do(ctx, t, s, out); err != nil || out.Failed || !turn {
		return err
	}
	err := v.effect(ctx, v.client, t)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if objectstore.Interrupted(err) || errors.Is(err, objectstore.ErrClosed) {
		return err
	}
	text := "The store answered that it was done, but " + err.Error()
	if e, ok := errors.AsType[*objectstore.Error](err); ok {
		text = fmt.Sprintf("The store answered that it was done, but it cannot be read back: %s %d %s", e.Op, e.Status, e.Code)
	}
	*out = job.Outcome{
		Failed: true, HTTPStatus: http.StatusInternalServerError, Code: codeVerification, Message: oneLine(text), Attempts: out.Attempts,
	}
	return nil
}

// effectOf is how the effect of op is read back, nil for the operations of which
// it is not.
func effectOf(op job.Operation) effect {
	switch {
	case op.S3PutObjectTagging != nil:
		return tagsAre(op.S3PutObjectTagging.TagSet, sourceOf)
	case op.S3DeleteObjectTagging != nil:
		return tagsAre(nil, sourceOf)
	case op.S3PutObjectAcl != nil:
		p := op.S3PutObjectAcl.AccessControlPolicy
		if p.AccessControlList != nil {
			return grantsAre(p.AccessControlList.Grants, sourceOf)
		}
		return cannedIs(p.CannedAccessControlList, sourceOf)
	case op.S3PutObjectLegalHold != nil:
		return holdIs(string(op.S3PutObjectLegalHold.LegalHold.Status))
	case op.S3PutObjectRetention != nil:
		return retentionIs(op.S3PutObjectRetention.Retention)
	case op.S3PutObjectCopy != nil:
		return copyIs(op.S3PutObjectCopy)
	case op.S3InitiateRestoreObject != nil:
		return isRestored
	}
	return nil
}

// which names the object to look at.
type which func(t *Task) objectstore.Object

func tagsAre(tags []job.Tag, of which) effect {
	want := tagMap(tags)
	return func(ctx context.Context, c Client, t *Task) error {
		got, err := tagsOf(ctx, c, of(t))
		if err == nil && !maps.Equal(tagMap(got), want) {
			err = missingf("the object has not the %d tags that it should have", len(want))
		}
		return err
	}
}

func tagMap(tags []job.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

// aclGrants reads who may do what, each as "grantee permission".
func aclGrants(ctx context.Context, c Client, o objectstore.Object) ([]string, error) {
	document, err := objectstore.GetACL(ctx, c, o)
	if err != nil {
		return nil, err
	}
	var acl struct {
		XMLName xml.Name `xml:"AccessControlPolicy"`
		Grants  []struct {
			Grantee    struct{ ID, URI string }
			Permission string
		} `xml:"AccessControlList>Grant"`
	}
	if err := xml.Unmarshal(document, &acl); err != nil {
		return nil, missingf("what the store tells of the ACL is none")
	}
	var grants []string
	for _, g := range acl.Grants {
		grants = append(grants, cmp.Or(g.Grantee.URI, g.Grantee.ID)+" "+g.Permission)
	}
	return grants, nil
}

// grantsAre looks for grants. One to an address is told back as one to an id, so
// it is not looked for.
func grantsAre(grants []job.Grant, of which) effect {
	return func(ctx context.Context, c Client, t *Task) error {
		got, err := aclGrants(ctx, c, of(t))
		for _, g := range grants {
			if err == nil && g.Grantee != nil && g.Grantee.TypeIdentifier != job.GranteeEmail &&
				!slices.Contains(got, g.Grantee.Identifier+" "+string(g.Permission)) {
				err = missingf("the ACL has no grant of %s to %s", g.Permission, g.Grantee.Identifier)
			}
		}
		return err
	}
}

const groups = "http://acs.amazonaws.com/groups/global/"

// cannedIs looks whether groups may do what a canned ACL lets them, and nothing
// else. What others mean shows nowhere.
func cannedIs(canned job.CannedAccessControlList, of which) effect {
	var want []string
	switch canned {
	case "private":
	case "public-read":
		want = []string{groups + "AllUsers READ"}
	case "public-read-write":
		want = []string{groups + "AllUsers READ", groups + "AllUsers WRITE"}
	case "authenticated-read":
		want = []string{groups + "AuthenticatedUsers READ"}
	default:
		return nil
	}
	return func(ctx context.Context, c Client, t *Task) error {
		got, err := aclGrants(ctx, c, of(t))
		if err != nil {
			return err
		}
		got = slices.DeleteFunc(got, func(g string) bool { return !strings.HasPrefix(g, groups) })
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return missingf("the ACL is not %s", canned)
		}
		return nil
	}
}

// lockDocument reads what an object's lock is; that there is none is no error.
// Stores call the root of the document by several names.
func lockDocument(ctx context.Context, c Client, t *Task, query string, into any) error {
	req := objectstore.Request{Method: http.MethodGet, Bucket: t.Bucket, Key: t.Key, VersionID: t.VersionID, Query: query}
	var res objectstore.Result
	c.Do(ctx, &req, &res)
	switch {
	case res.Interrupted():
		return res.Err
	case res.Code == "NoSuchObjectLockConfiguration", res.OK() && len(res.Body) == 0:
		return nil
	case !res.OK():
		return &resultError{res}
	}
	if err := xml.Unmarshal(res.Body, into); err != nil {
		return missingf("what the store tells of the %s is none", query)
	}
	return nil
}

func holdIs(status string) effect {
	return func(ctx context.Context, c Client, t *Task) error {
		var got struct{ Status string }
		if err := lockDocument(ctx, c, t, "legal-hold", &got); err != nil {
			return err
		}
		if cmp.Or(got.Status, "OFF") != status {
			return missingf("the legal hold is not %s", status)
		}
		return nil
	}
}

func retentionIs(r *job.Retention) effect {
	return func(ctx context.Context, c Client, t *Task) error {
		var got struct {
			Mode            string
			RetainUntilDate time.Time
		}
		err := lockDocument(ctx, c, t, "retention", &got)
		if _, nonsense := errors.AsType[*missing](err); nonsense { // there is a store that gives the object itself
			var head objectstore.Head
			head, err = objectstore.HeadFull(ctx, c, sourceOf(t))
			got.Mode = head.Get("x-amz-object-lock-mode")
			got.RetainUntilDate, _ = time.Parse(time.RFC3339, head.Get("x-amz-object-lock-retain-until-date"))
		}
		if err != nil {
			return err
		}
		if got.Mode != string(r.Mode) {
			return missingf("the retention mode is %q", got.Mode)
		}
		if r.RetainUntilDate != nil && !sameSecond(got.RetainUntilDate, *r.RetainUntilDate) {
			return missingf("the object is retained until %s", got.RetainUntilDate.UTC().Format(time.RFC3339))
		}
		return nil
	}
}

// sameSecond allows for stores that keep no fractions, whichever way they round.
func sameSecond(a, b time.Time) bool { return a.Sub(b).Abs() <= time.Second }

// isRestored looks for what a store says of a restore, under way or done.
func isRestored(ctx context.Context, c Client, t *Task) error {
	head, err := objectstore.HeadFull(ctx, c, sourceOf(t))
	if err == nil && head.Get("x-amz-restore") == "" {
		err = missingf("the object shows no restore")
	}
	return err
}
