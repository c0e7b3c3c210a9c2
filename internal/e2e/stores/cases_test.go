//go:build stores

package stores

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// trials are all of them. The first of an operation is its plain case.
func trials() []trial {
	return slices.Concat(functions(), copies(), acls(), taggings(), restores(), holds(), retentions(), replications(), checksums(), encryptions())
}

// is compares what was read back with what was wanted and with what was before.
func is[T comparable](got, want, before T, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s", errUnreadable, reason(err))
	case got == want:
		return nil
	case got == before:
		return errNothing
	}
	return fmt.Errorf("got %v, want %v", got, want)
}

func s3tags(pairs ...string) (tags []types.S3Tag) {
	tags = []types.S3Tag{} // empty is not absent
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, types.S3Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return tags
}

// written is tags as text.
func written(tags map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, k+"="+tags[k])
	}
	return strings.Join(list, "&")
}

// hasTags reads tags back.
func hasTags(want string) func(*world, object, string, row) error {
	return func(w *world, o object, _ string, _ row) error {
		tags, err := w.tags(context.Background(), o)
		return is(written(tags), want, "from=source", err)
	}
}

func taggings() []trial {
	set := func(pairs ...string) func(*world, string) types.JobOperation {
		return func(*world, string) types.JobOperation {
			return types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{TagSet: s3tags(pairs...)}}
		}
	}
	remove := func(*world, string) types.JobOperation {
		return types.JobOperation{S3DeleteObjectTagging: &types.S3DeleteObjectTaggingOperation{}}
	}
	const put, del = "S3PutObjectTagging", "S3DeleteObjectTagging"
	return []trial{
		{operation: put, parameter: "two tags", op: set("a", "1", "b", "x y+z"), effect: hasTags("a=1&b=x y+z")},
		{operation: put, parameter: "empty TagSet", op: set(), effect: hasTags("")},
		{operation: put, parameter: "tags beyond ASCII", op: set("größe", "日本"), effect: hasTags("größe=日本")},
		{operation: put, parameter: "old version", in: "versioned", versions: old, op: set("a", "1"), effect: hasTags("a=1")},
		{operation: put, parameter: "current version by its id", in: "versioned", versions: current, op: set("a", "1"), effect: hasTags("a=1")},
		{operation: put, parameter: "no VersionId, bucket with versions", in: "versioned", op: set("a", "1"), effect: hasTags("a=1")},
		{operation: del, parameter: "plain", op: remove, effect: hasTags("")},
		{operation: del, parameter: "old version", in: "versioned", versions: old, op: remove, effect: hasTags("")},
		{operation: del, parameter: "current version by its id", in: "versioned", versions: current, op: remove, effect: hasTags("")},
		{operation: del, parameter: "no VersionId, bucket with versions", in: "versioned", op: remove, effect: hasTags("")},
	}
}

const allUsers = "http://acs.amazonaws.com/groups/global/AllUsers"

// readable reads back whether everybody may read an object.
func readable(w *world, o object, _ string, _ row) error {
	out, err := w.s3.GetObjectAcl(context.Background(), &s3.GetObjectAclInput{Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID()})
	if err != nil {
		return fmt.Errorf("%w: %s", errUnreadable, reason(err))
	}
	if slices.ContainsFunc(out.Grants, func(g s3types.Grant) bool {
		return g.Grantee != nil && aws.ToString(g.Grantee.URI) == allUsers && g.Permission == s3types.PermissionRead
	}) {
		return nil
	}
	return errNothing
}

func acls() []trial {
	canned := func(*world, string) types.JobOperation {
		return types.JobOperation{S3PutObjectAcl: &types.S3SetObjectAclOperation{
			AccessControlPolicy: &types.S3AccessControlPolicy{CannedAccessControlList: types.S3CannedAccessControlListPublicRead},
		}}
	}
	grants := func(w *world, _ string) types.JobOperation {
		return types.JobOperation{S3PutObjectAcl: &types.S3SetObjectAclOperation{AccessControlPolicy: &types.S3AccessControlPolicy{
			AccessControlList: &types.S3AccessControlList{Owner: &types.S3ObjectOwner{ID: &w.owner}, Grants: []types.S3Grant{
				{Grantee: &types.S3Grantee{TypeIdentifier: types.S3GranteeTypeIdentifierGroup, Identifier: aws.String(allUsers)}, Permission: types.S3PermissionRead},
				{Grantee: &types.S3Grantee{TypeIdentifier: types.S3GranteeTypeIdentifierCanonical, Identifier: &w.owner}, Permission: types.S3PermissionFullControl},
			}},
		}}}
	}
	const operation = "S3PutObjectAcl"
	return []trial{
		{operation: operation, parameter: "CannedAccessControlList", op: canned, effect: readable},
		{operation: operation, parameter: "AccessControlList with grants", op: grants, effect: readable},
		{operation: operation, parameter: "old version", in: "versioned", versions: old, op: canned, effect: readable},
		{operation: operation, parameter: "no VersionId, bucket with versions", in: "versioned", op: grants, effect: readable},
	}
}

func restores() []trial {
	restore := func(*world, string) types.JobOperation {
		return types.JobOperation{S3InitiateRestoreObject: &types.S3InitiateRestoreObjectOperation{
			ExpirationInDays: aws.Int32(2), GlacierJobTier: types.S3GlacierJobTierStandard,
		}}
	}
	archive := func(in *s3.PutObjectInput) { in.StorageClass = s3types.StorageClassGlacier }
	restored := func(w *world, o object, _ string, _ row) error {
		h, err := w.head(context.Background(), o)
		if err != nil {
			return fmt.Errorf("%w: %s", errUnreadable, reason(err))
		}
		if aws.ToString(h.Restore) == "" {
			return errNothing
		}
		return nil
	}
	const operation = "S3InitiateRestoreObject"
	return []trial{
		{operation: operation, parameter: "object in GLACIER", put: archive, op: restore, effect: restored},
		{operation: operation, parameter: "old version", in: "versioned", versions: old, put: archive, op: restore, effect: restored},
		{operation: operation, parameter: "object that is not archived", op: restore, refusal: []string{"InvalidObjectState"}},
	}
}

// held reads back whether there is a legal hold.
func held(want bool) func(*world, object, string, row) error {
	return func(w *world, o object, _ string, _ row) error {
		ctx := context.Background()
		h, err := w.head(ctx, o)
		if err != nil {
			return fmt.Errorf("%w: %s", errUnreadable, reason(err))
		}
		got := h.ObjectLockLegalHoldStatus == s3types.ObjectLockLegalHoldStatusOn
		if !got { // some heads tell nothing of old versions
			out, err := w.s3.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID()})
			got = err == nil && out.LegalHold != nil && out.LegalHold.Status == s3types.ObjectLockLegalHoldStatusOn
		}
		return is(got, want, !want, nil)
	}
}

func holds() []trial {
	hold := func(status types.S3ObjectLockLegalHoldStatus) func(*world, string) types.JobOperation {
		return func(*world, string) types.JobOperation {
			return types.JobOperation{S3PutObjectLegalHold: &types.S3SetObjectLegalHoldOperation{LegalHold: &types.S3ObjectLockLegalHold{Status: status}}}
		}
	}
	begin := func(w *world, o object) error {
		_, err := w.s3.PutObjectLegalHold(context.Background(), &s3.PutObjectLegalHoldInput{
			Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID(), LegalHold: &s3types.ObjectLockLegalHold{Status: s3types.ObjectLockLegalHoldStatusOn},
		})
		return err
	}
	const operation = "S3PutObjectLegalHold"
	return []trial{
		{operation: operation, parameter: "ON", in: "locked", op: hold("ON"), effect: held(true)},
		{operation: operation, parameter: "ON, old version", in: "locked", versions: old, op: hold("ON"), effect: held(true)},
		{operation: operation, parameter: "OFF", in: "locked", versions: current, before: begin, op: hold("OFF"), effect: held(false), elsewhere: true},
		{operation: operation, parameter: "bucket without Object Lock", op: hold("ON"), failure: "ObjectLockNotEnabled"},
	}
}

// retained reads back retention as text.
func retained(mode s3types.ObjectLockMode, until time.Time, modeBefore s3types.ObjectLockMode, untilBefore time.Time) func(*world, object, string, row) error {
	text := func(mode s3types.ObjectLockMode, until time.Time) string {
		if mode == "" {
			return "none"
		}
		return string(mode) + " until " + until.UTC().Format(time.RFC3339)
	}
	return func(w *world, o object, _ string, _ row) error {
		ctx := context.Background()
		h, err := w.head(ctx, o)
		if err != nil {
			return fmt.Errorf("%w: %s", errUnreadable, reason(err))
		}
		if h.ObjectLockMode == "" { // some heads tell nothing of old versions
			out, err := w.s3.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID()})
			if err == nil && out.Retention != nil {
				h.ObjectLockMode, h.ObjectLockRetainUntilDate = s3types.ObjectLockMode(out.Retention.Mode), out.Retention.RetainUntilDate
			}
		}
		return is(text(h.ObjectLockMode, aws.ToTime(h.ObjectLockRetainUntilDate)), text(mode, until), text(modeBefore, untilBefore), nil)
	}
}

func retentions() []trial {
	day := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	week := day.Add(6 * 24 * time.Hour)
	var never time.Time
	retain := func(mode types.S3ObjectLockRetentionMode, until *time.Time, bypass bool) func(*world, string) types.JobOperation {
		return func(*world, string) types.JobOperation {
			op := &types.S3SetObjectRetentionOperation{Retention: &types.S3Retention{Mode: mode, RetainUntilDate: until}}
			if bypass {
				op.BypassGovernanceRetention = aws.Bool(true)
			}
			return types.JobOperation{S3PutObjectRetention: op}
		}
	}
	governed := func(w *world, o object) error {
		_, err := w.s3.PutObjectRetention(context.Background(), &s3.PutObjectRetentionInput{
			Bucket: &o.bucket, Key: &o.key, VersionId: o.versionID(),
			Retention: &s3types.ObjectLockRetention{Mode: s3types.ObjectLockRetentionModeGovernance, RetainUntilDate: &week},
		})
		return err
	}
	const operation = "S3PutObjectRetention"
	const governance, compliance = s3types.ObjectLockModeGovernance, s3types.ObjectLockModeCompliance
	return []trial{
		{operation: operation, parameter: "GOVERNANCE", in: "locked", op: retain("GOVERNANCE", &day, false), effect: retained(governance, day, "", never)},
		{operation: operation, parameter: "COMPLIANCE", in: "locked", op: retain("COMPLIANCE", &day, false), effect: retained(compliance, day, "", never)},
		{operation: operation, parameter: "old version", in: "locked", versions: old, op: retain("GOVERNANCE", &day, false), effect: retained(governance, day, "", never)},
		{
			operation: operation, parameter: "shorter, with bypass", in: "locked", before: governed, versions: current, elsewhere: true,
			op: retain("GOVERNANCE", &day, true), effect: retained(governance, day, governance, week),
		},
		{
			operation: operation, parameter: "shorter, without bypass", in: "locked", before: governed, versions: current,
			op: retain("GOVERNANCE", &day, false), refusal: []string{"AccessDenied", "InvalidRequest"}, // MinIO has its own
		},
		{
			operation: operation, parameter: "removal, with bypass", in: "locked", before: governed, versions: current, elsewhere: true,
			op: retain("", nil, true), effect: retained("", never, governance, week),
		},
		{operation: operation, parameter: "bucket without Object Lock", op: retain("GOVERNANCE", &day, false), failure: "ObjectLockNotEnabled"},
	}
}

func replications() []trial {
	replicate := func(*world, string) types.JobOperation {
		return types.JobOperation{S3ReplicateObject: &types.S3ReplicateObjectOperation{}}
	}
	configure := func(w *world) error {
		// Where this is refused, the job has to say what is missing.
		_, _ = w.s3.PutBucketReplication(context.Background(), &s3.PutBucketReplicationInput{
			Bucket: aws.String("replicated"), ReplicationConfiguration: &s3types.ReplicationConfiguration{
				Role: aws.String(role), Rules: []s3types.ReplicationRule{{
					ID: aws.String("all"), Priority: aws.Int32(1), Status: s3types.ReplicationRuleStatusEnabled,
					Filter: &s3types.ReplicationRuleFilter{Prefix: aws.String("")}, Destination: &s3types.Destination{Bucket: aws.String("arn:aws:s3:::replica")},
					DeleteMarkerReplication: &s3types.DeleteMarkerReplication{Status: s3types.DeleteMarkerReplicationStatusDisabled},
				}},
			},
		})
		return nil
	}
	arrived := func(w *world, o object, _ string, _ row) error {
		return w.isCopy(object{bucket: "replica", key: o.key}, o.body, "text/x-source", "source", "from=source")
	}
	const operation = "S3ReplicateObject"
	return []trial{
		{operation: operation, parameter: "configuration of the bucket", in: "replicated", versions: current, setup: configure, op: replicate, effect: arrived, elsewhere: true},
		{operation: operation, parameter: "configuration of the role", in: "configured", versions: current, op: replicate, effect: arrived, elsewhere: true},
		{operation: operation, parameter: "bucket without a configuration", in: "versioned", versions: current, op: replicate, refusal: []string{"SrcBucketReplicationConfigMissing"}},
	}
}

func encryptions() []trial {
	encrypt := func(*world, string) types.JobOperation {
		return types.JobOperation{S3UpdateObjectEncryption: &types.S3UpdateObjectEncryptionOperation{
			ObjectEncryption: &types.ObjectEncryption{SSEKMS: &types.S3UpdateObjectEncryptionSSEKMS{KMSKeyArn: aws.String(keyARN)}},
		}}
	}
	encrypted := func(w *world, o object, _ string, _ row) error {
		h, err := w.head(context.Background(), o)
		if err != nil {
			return fmt.Errorf("%w: %s", errUnreadable, reason(err))
		}
		if h.ServerSideEncryption != s3types.ServerSideEncryptionAwsKms {
			return errNothing
		}
		tags, err := w.tags(context.Background(), o)
		return is(written(tags)+" "+h.Metadata["origin"]+" "+aws.ToString(h.ContentType), "from=source source text/x-source", "", err)
	}
	const operation = "S3UpdateObjectEncryption"
	return []trial{
		{operation: operation, parameter: "SSE-KMS", op: encrypt, effect: encrypted},
		{operation: operation, parameter: "no VersionId, bucket with versions", in: "versioned", op: encrypt, effect: encrypted},
		{operation: operation, parameter: "old version", in: "versioned", versions: old, op: encrypt, effect: encrypted},
		{operation: operation, parameter: "bucket with Object Lock", in: "locked", op: encrypt, effect: encrypted},
	}
}

func functions() []trial {
	call := func(name string, args map[string]string) func(*world, string) types.JobOperation {
		return func(*world, string) types.JobOperation {
			return types.JobOperation{LambdaInvoke: &types.LambdaInvokeOperation{
				FunctionArn:             aws.String("arn:aws:lambda:us-east-1:" + account + ":function:" + name),
				InvocationSchemaVersion: aws.String("2.0"), UserArguments: args,
			}}
		}
	}
	confirm := map[string]string{"confirm": "permanently delete"}
	deleted := func(w *world, o object, _ string, _ row) error {
		_, err := w.head(context.Background(), o)
		if err == nil {
			return errNothing
		}
		if r := reason(err); !strings.HasPrefix(r, "404") && !strings.HasPrefix(r, "405") {
			return err
		}
		return nil
	}
	told := func(_ *world, o object, _ string, r row) error {
		if want := fmt.Sprintf(`"size":%d,`, len(o.body)); !strings.Contains(r.message, want) || !strings.Contains(r.message, strings.Trim(o.etag, `"`)) {
			return fmt.Errorf("no %s and ETag in %s", want, r.message)
		}
		return nil
	}
	const operation = "LambdaInvoke"
	return []trial{
		{operation: operation, parameter: "stevedore-head-object", op: call("stevedore-head-object", nil), effect: told},
		{operation: operation, parameter: "stevedore-head-object, old version", in: "versioned", versions: old, op: call("stevedore-head-object", nil), effect: told, elsewhere: true},
		{
			operation: operation, parameter: "stevedore-merge-tags",
			op: call("stevedore-merge-tags", map[string]string{"add.stage": "done"}), effect: hasTags("from=source&stage=done"),
		},
		{operation: operation, parameter: "stevedore-delete-object", op: call("stevedore-delete-object", confirm), effect: deleted, gone: true},
		{
			operation: operation, parameter: "stevedore-delete-object, old version", in: "versioned", versions: old,
			op: call("stevedore-delete-object", confirm), effect: deleted, gone: true,
		},
	}
}
