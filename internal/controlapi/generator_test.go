package controlapi_test

import (
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"pgregory.net/rapid"
)

// generator makes legal inputs of CreateJob by reflection over the SDK's types,
// so that a member the SDK gains is generated too; what the types do not say
// (which strings are legal where, what goes with what) stands below.
type generator struct {
	r   *rapid.T
	all bool // give every member that may be given
}

// required holds the members that must be given, as the SDK documents them or
// our rules demand.
func required(name string) bool {
	switch name {
	case "S3JobManifestGenerator.SourceBucket",
		"S3ManifestOutputLocation.Bucket", "S3ManifestOutputLocation.ManifestFormat",
		"SSEKMSEncryption.KeyId",
		"LambdaInvokeOperation.FunctionArn",
		"S3CopyObjectOperation.TargetResource",
		"S3SetObjectAclOperation.AccessControlPolicy", "S3AccessControlList.Owner",
		"S3Grant.Grantee", "S3Grant.Permission", "S3Grantee.TypeIdentifier", "S3Grantee.Identifier",
		"S3SetObjectTaggingOperation.TagSet", "S3Tag.Key", "S3Tag.Value",
		"S3SetObjectLegalHoldOperation.LegalHold", "S3ObjectLockLegalHold.Status",
		"S3SetObjectRetentionOperation.Retention",
		"S3UpdateObjectEncryptionOperation.ObjectEncryption", "ObjectEncryption.SSEKMS", "S3UpdateObjectEncryptionSSEKMS.KMSKeyArn",
		"JobManifest.Spec", "JobManifest.Location", "JobManifestSpec.Format",
		"JobManifestLocation.ObjectArn", "JobManifestLocation.ETag":
		return true
	default:
		return false
	}
}

func pick[T any](g *generator, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(g.r, label)
}

func (g *generator) maybe(label string) bool {
	return g.all || rapid.Bool().Draw(g.r, label)
}

// createJob makes a legal request for one operation.
func (g *generator) createJob(operation string) *s3control.CreateJobInput {
	in := &s3control.CreateJobInput{
		AccountId:          new(account),
		ClientRequestToken: new(g.match("token", `[!-~]{1,50}`)),
		Operation:          &types.JobOperation{},
		Priority:           new(rapid.Int32Range(0, 1<<31-1).Draw(g.r, "priority")),
		RoleArn:            new("arn:aws:iam::" + account + ":role/" + g.text("role", 1, 64)),
		Report:             g.report(),
	}
	g.fill(reflect.ValueOf(in.Operation).Elem().FieldByName(operation), operation)
	g.mend(in.Operation)
	if g.maybe("confirmation") {
		in.ConfirmationRequired = new(rapid.Bool().Draw(g.r, "confirm"))
	}
	if g.maybe("description") {
		in.Description = new(g.text("description", 1, 256))
	}
	if g.maybe("tags") {
		in.Tags = g.tags("tags", 50)
	}
	if rapid.Bool().Draw(g.r, "generate") {
		in.ManifestGenerator = &types.JobManifestGeneratorMemberS3JobManifestGenerator{Value: g.manifestGenerator()}
	} else {
		in.Manifest = new(types.JobManifest)
		g.fill(reflect.ValueOf(in.Manifest).Elem(), "JobManifest")
		g.mendManifest(in.Manifest.Spec)
	}
	return in
}

func (g *generator) report() *types.JobReport {
	r := &types.JobReport{Enabled: g.maybe("report")}
	if r.Enabled || rapid.Bool().Draw(g.r, "more of the report") {
		g.fill(reflect.ValueOf(r).Elem(), "JobReport")
	}
	if r.Enabled {
		r.Bucket, r.Format, r.ReportScope = new("arn:aws:s3:::reports"), types.JobReportFormatReportCsv20180820, types.JobReportScopeAllTasks
	}
	return r
}

func (g *generator) manifestGenerator() types.S3JobManifestGenerator {
	var m types.S3JobManifestGenerator
	g.fill(reflect.ValueOf(&m).Elem(), "S3JobManifestGenerator")
	if m.ManifestOutputLocation == nil {
		m.EnableManifestOutput = false
	} else if e := m.ManifestOutputLocation.ManifestEncryption; e != nil && e.SSEKMS != nil && e.SSES3 != nil {
		if rapid.Bool().Draw(g.r, "kms") {
			e.SSES3 = nil
		} else {
			e.SSEKMS = nil
		}
	}
	return m
}

func (g *generator) mendManifest(s *types.JobManifestSpec) {
	if s.Format == types.JobManifestFormatS3BatchOperationsCsv20180820 {
		s.Fields = rapid.Permutation([]types.JobManifestFieldName{"Bucket", "Key", "Ignore", "Ignore", "VersionId"}).Draw(g.r, "fields")
	}
}

// mend makes the members of an operation agree with each other.
func (g *generator) mend(o *types.JobOperation) {
	if c := o.S3PutObjectCopy; c != nil {
		if len(c.AccessControlGrants) > 0 && rapid.Bool().Draw(g.r, "grants") {
			c.CannedAccessControlList = ""
		} else {
			c.AccessControlGrants = nil
		}
		for i := range c.AccessControlGrants {
			if c.AccessControlGrants[i].Permission == types.S3PermissionWrite {
				c.AccessControlGrants[i].Permission = types.S3PermissionRead
			}
		}
		if c.ObjectLockMode == "" || c.ObjectLockRetainUntilDate == nil {
			c.ObjectLockMode, c.ObjectLockRetainUntilDate = "", nil
		}
		if m := c.NewObjectMetadata; m != nil && c.SSEAwsKmsKeyId != nil && m.SSEAlgorithm == types.S3SSEAlgorithmAes256 {
			m.SSEAlgorithm = types.S3SSEAlgorithmKms
		}
	}
	if a := o.S3PutObjectAcl; a != nil {
		p := a.AccessControlPolicy
		switch {
		case p.AccessControlList != nil && (p.CannedAccessControlList == "" || rapid.Bool().Draw(g.r, "list")):
			p.CannedAccessControlList = ""
		case p.CannedAccessControlList == "":
			p.CannedAccessControlList = types.S3CannedAccessControlListPrivate
		default:
			p.AccessControlList = nil
		}
	}
	if r := o.S3PutObjectRetention; r != nil && (r.Retention.Mode == "" || r.Retention.RetainUntilDate == nil) {
		r.Retention = &types.S3Retention{}
	}
	if c := o.S3ComputeObjectChecksum; c != nil && c.ChecksumType == types.ComputeObjectChecksumTypeComposite &&
		(c.ChecksumAlgorithm == "" || c.ChecksumAlgorithm == types.ComputeObjectChecksumAlgorithmCrc64nvme) {
		c.ChecksumAlgorithm = types.ComputeObjectChecksumAlgorithmSha1
	}
	if l := o.LambdaInvoke; l != nil && l.UserArguments != nil {
		l.InvocationSchemaVersion = new("2.0")
	}
}

// fill fills v, a member at path Type.Field or the value of a type.
func (g *generator) fill(v reflect.Value, name string) {
	if values := v.MethodByName("Values"); v.Kind() == reflect.String && values.IsValid() {
		all := values.Call(nil)[0]
		v.Set(all.Index(rapid.IntRange(0, all.Len()-1).Draw(g.r, name)))
		return
	}
	switch v.Interface().(type) {
	case time.Time: // the SDK sends milliseconds
		v.Set(reflect.ValueOf(time.UnixMilli(rapid.Int64Range(-1e13, 1e14).Draw(g.r, name)).UTC()))
		return
	case []types.S3Tag:
		v.Set(reflect.ValueOf(g.tags(name, 20)))
		return
	case []types.ObjectEncryptionFilter:
		v.Set(reflect.ValueOf([]types.ObjectEncryptionFilter{g.encryptionFilter()}))
		return
	case map[string]string:
		v.Set(reflect.ValueOf(g.entries(name)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		g.fill(v.Elem(), name)
	case reflect.Struct:
		for f, member := range v.Fields() {
			if at := v.Type().Name() + "." + f.Name; f.IsExported() && (required(at) || g.maybe(at)) {
				g.fill(member, at)
			}
		}
	case reflect.Slice:
		n := rapid.IntRange(1, 3).Draw(g.r, name)
		if strings.HasPrefix(name, "KeyNameConstraint.") {
			n = 1
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			g.fill(v.Index(i), name)
		}
	case reflect.String:
		v.SetString(g.stringFor(name))
	case reflect.Bool:
		v.SetBool(g.all || rapid.Bool().Draw(g.r, name))
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32Range(0, 1<<31-1).Draw(g.r, name)))
	case reflect.Int64:
		v.SetInt(rapid.Int64Range(0, 1<<63-1).Draw(g.r, name))
	default:
		g.r.Fatalf("%s is a %s, which the generator cannot make", name, v.Type())
	}
}

// stringFor makes a legal value of a member that is no enumeration.
func (g *generator) stringFor(name string) string {
	_, field, _ := strings.Cut(name, ".")
	switch {
	case strings.HasPrefix(field, "Expected"):
		return g.match(name, `[0-9]{12}`)
	case name == "JobManifestLocation.ObjectArn":
		return "arn:aws:s3:::b/" + g.text(name, 1, 200)
	case name == "JobManifestLocation.ETag":
		return g.match(name, `("|W/")?[!#-~é]{1,100}"?`)
	case field == "Bucket", field == "SourceBucket", field == "TargetResource":
		return "arn:aws:s3:::" + g.match(name, `[a-z][a-z0-9.-]{1,60}[a-z0-9]`)
	case field == "KMSKeyArn", field == "KmsKeyArn":
		return "arn:aws:kms:us-east-1:123456789012:key/" + g.match(name, `[a-zA-Z0-9-]{1,36}`)
	case field == "FunctionArn":
		return pick(g, name, "fn", "fn:$LATEST", "arn:aws:lambda:us-east-1:123456789012:function:f:1")
	case field == "InvocationSchemaVersion":
		return pick(g, name, "1.0", "2.0")
	case strings.HasPrefix(name, "S3ObjectMetadata."), field == "SSEAwsKmsKeyId", field == "RedirectLocation":
		return g.match(name, `[ -~é世]{1,100}`) // becomes a header of S3
	default:
		return g.text(name, 1, 250)
	}
}

func (g *generator) match(label, expr string) string {
	return rapid.StringMatching(expr).Draw(g.r, label)
}

// text is anything XML can carry, white space and markup included.
func (g *generator) text(label string, low, high int) string {
	runes := rapid.OneOf(
		rapid.RuneFrom([]rune("abcXYZ019 <>&'\"]]>\t\n\ré世🚢%+/=?")),
		rapid.Map(rapid.Int32Range(0x20, 0x7e), func(r int32) rune { return r }),
		rapid.Map(rapid.Int32Range(0xa0, 0xd7ff), func(r int32) rune { return r }),
		rapid.Map(rapid.Int32Range(0x10000, 0x10ffff), func(r int32) rune { return r }),
	)
	return rapid.StringOfN(runes, low, high, -1).Draw(g.r, label)
}

// tags makes tags of unlike keys; an empty list is one, too.
func (g *generator) tags(label string, most int) []types.S3Tag {
	const key, value = `[\p{L}\p{N}_.:/=+@ -]{1,64}`, `[\p{L}\p{N}_.:/=+@ -]{0,64}`
	low := 0
	if g.all {
		low = 1
	}
	return rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) types.S3Tag {
		return types.S3Tag{
			Key:   new(rapid.StringMatching(key).Draw(r, "key")),
			Value: new(rapid.StringMatching(value).Draw(r, "value")),
		}
	}), low, most, func(t types.S3Tag) string { return *t.Key }).Draw(g.r, label)
}

// entries makes user metadata, whose keys become header names, or arguments.
func (g *generator) entries(name string) map[string]string {
	value := rapid.StringMatching(`[ -~é]{0,50}`)
	if name == "S3ObjectMetadata.UserMetadata" {
		return rapid.MapOfN(rapid.StringMatching(`[a-z0-9-]{1,20}`), value, 1, 10).Draw(g.r, name)
	}
	return rapid.MapOfN(rapid.StringN(1, 20, 64).Filter(legalXML), value, 1, 10).Draw(g.r, name)
}

func legalXML(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0xd800 && r < 0xe000 || r == 0xfffd || r == 0xfffe || r == 0xffff
	})
}

// encryptionFilters holds one of each kind of filter.
func encryptionFilters() []types.ObjectEncryptionFilter {
	return []types.ObjectEncryptionFilter{
		&types.ObjectEncryptionFilterMemberDSSEKMS{},
		&types.ObjectEncryptionFilterMemberNOTSSE{},
		&types.ObjectEncryptionFilterMemberSSEC{},
		&types.ObjectEncryptionFilterMemberSSEKMS{},
		&types.ObjectEncryptionFilterMemberSSES3{},
	}
}

func (g *generator) encryptionFilter() types.ObjectEncryptionFilter {
	filter := pick(g, "encryption", encryptionFilters()...)
	g.fill(reflect.ValueOf(filter).Elem().FieldByName("Value"), "Value")
	return filter
}
