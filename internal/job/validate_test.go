package job

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// valid is the smallest spec that passes; cases change one thing.
func valid() *Spec {
	return &Spec{
		Operation: Operation{S3PutObjectTagging: &S3PutObjectTagging{TagSet: []Tag{}}},
		Manifest: &Manifest{
			Spec:     &ManifestSpec{Format: ManifestCSV, Fields: []Field{FieldBucket, FieldKey}},
			Location: &ManifestLocation{ObjectArn: "arn:aws:s3:::manifests/m one.csv", ETag: "60e460c9d1046e73f7dde5043ac3ae85"},
		},
		ClientRequestToken: "token",
		RoleArn:            "arn:aws:iam::123456789012:role/batch",
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := valid().Validate(); err != nil {
		t.Fatalf("the valid spec is refused: %v", err)
	}
	date := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	op := func(o Operation) func(*Spec) { return func(s *Spec) { s.Operation = o } }
	cp := func(change func(*S3PutObjectCopy)) func(*Spec) {
		return func(s *Spec) {
			c := &S3PutObjectCopy{TargetResource: "arn:aws:s3:::dest"}
			change(c)
			s.Operation = Operation{S3PutObjectCopy: c}
		}
	}
	generator := func(change func(*S3JobManifestGenerator)) func(*Spec) {
		return func(s *Spec) {
			g := &S3JobManifestGenerator{SourceBucket: "arn:aws:s3:::src"}
			change(g)
			s.Manifest, s.ManifestGenerator = nil, &ManifestGenerator{g}
		}
	}
	for name, c := range map[string]struct {
		change func(*Spec)
		want   string // part of the refusal, empty if the spec is fine
	}{
		"no operation":   {op(Operation{}), "Operation: must name one operation"},
		"two operations": {op(Operation{S3ReplicateObject: &S3ReplicateObject{}, S3DeleteObjectTagging: &S3DeleteObjectTagging{}}), "Operation: must name exactly one operation, names S3DeleteObjectTagging, S3ReplicateObject"},
		"no manifest":    {func(s *Spec) { s.Manifest = nil }, "Manifest: is required"},
		"two manifests": {func(s *Spec) {
			s.ManifestGenerator = &ManifestGenerator{&S3JobManifestGenerator{SourceBucket: "arn:aws:s3:::b"}}
		}, "ManifestGenerator: must not be given together"},
		"empty generator":   {func(s *Spec) { s.Manifest, s.ManifestGenerator = nil, &ManifestGenerator{} }, "ManifestGenerator.S3JobManifestGenerator: is required"},
		"no token":          {func(s *Spec) { s.ClientRequestToken = "" }, "ClientRequestToken: is required"},
		"long token":        {func(s *Spec) { s.ClientRequestToken = strings.Repeat("x", 65) }, "ClientRequestToken: has 65 characters"},
		"long description":  {func(s *Spec) { s.Description = strings.Repeat("é", 257) }, "Description: has 257 characters"},
		"full description":  {func(s *Spec) { s.Description = strings.Repeat("é", 256) }, ""},
		"negative priority": {func(s *Spec) { s.Priority = -1 }, "Priority: -1 is outside"},
		"role":              {func(s *Spec) { s.RoleArn = "x" }, "RoleArn: "},
		"fields":            {func(s *Spec) { s.Manifest.Spec.Fields = nil }, "Manifest.Spec.Fields: must contain Bucket"},
		"key twice":         {func(s *Spec) { s.Manifest.Spec.Fields = []Field{FieldBucket, FieldKey, FieldKey} }, "Manifest.Spec.Fields: contains Key 2 times"},
		"ignore twice":      {func(s *Spec) { s.Manifest.Spec.Fields = []Field{"Ignore", "Key", "Ignore", "Bucket"} }, ""},
		"unknown field":     {func(s *Spec) { s.Manifest.Spec.Fields = []Field{"Bucket", "Key", "Size"} }, `Manifest.Spec.Fields[2]: "Size" is not one of`},
		"inventory":         {func(s *Spec) { s.Manifest.Spec = &ManifestSpec{Format: ManifestInventory} }, ""},
		"generated format":  {func(s *Spec) { s.Manifest.Spec.Format = "S3InventoryReport_CSV_20211130" }, "Manifest.Spec.Format: a generated manifest is given as S3InventoryReport_CSV_20161130"},
		"bucket, no key":    {func(s *Spec) { s.Manifest.Location.ObjectArn = "arn:aws:s3:::manifests" }, "Manifest.Location.ObjectArn: "},
		"no arn":            {func(s *Spec) { s.Manifest.Location.ObjectArn = "s3://manifests/m.csv" }, `ObjectArn: "s3://manifests/m.csv" is not the ARN of an object (arn:aws:s3:::<bucket>/<key>)`},
		"access point": {func(s *Spec) {
			s.Manifest.Location.ObjectArn = "arn:aws:s3:us-east-1:123456789012:accesspoint/ap/object/m.csv"
		}, "Manifest.Location.ObjectArn: "},
		"no etag":        {func(s *Spec) { s.Manifest.Location.ETag = "" }, "Manifest.Location.ETag: is required"},
		"quotes only":    {func(s *Spec) { s.Manifest.Location.ETag = `W/""` }, "Manifest.Location.ETag: ETag format is invalid"},
		"etag, space":    {func(s *Spec) { s.Manifest.Location.ETag = `"60e4 60c9"` }, "Manifest.Location.ETag: ETag format is invalid"},
		"etag, line":     {func(s *Spec) { s.Manifest.Location.ETag = "60e4\n60c9" }, "Manifest.Location.ETag: ETag format is invalid"},
		"etag, around":   {func(s *Spec) { s.Manifest.Location.ETag = `W/"60e4"` + "\n" }, ""},
		"etag, quote":    {func(s *Spec) { s.Manifest.Location.ETag = `60e4"60c9` }, "Manifest.Location.ETag: ETag format is invalid"},
		"etag, long":     {func(s *Spec) { s.Manifest.Location.ETag = strings.Repeat("e", 1025) }, "Manifest.Location.ETag: has 1025 characters"},
		"report members": {func(s *Spec) { s.Report.Enabled = true }, "Report.Bucket: is required"},
		"report": {func(s *Spec) {
			s.Report = Report{Enabled: true, Bucket: "arn:aws:s3:::r", Format: ReportCSV, ReportScope: AllTasks}
		}, ""},
		"report owner": {func(s *Spec) { s.Report.ExpectedBucketOwner = "12" }, "Report.ExpectedBucketOwner: "},
		"51 tags": {func(s *Spec) {
			s.Tags = make([]Tag, 51)
			for i := range s.Tags {
				s.Tags[i].Key = strings.Repeat("k", i+1)
			}
		}, "Tags: has 51 tags"},
		"tag twice":           {func(s *Spec) { s.Tags = []Tag{{Key: "a"}, {Key: "a"}} }, `Tags: has the key "a" more than once`},
		"tag characters":      {func(s *Spec) { s.Tags = []Tag{{Key: "a", Value: "<"}} }, "Tags[0].Value: "},
		"no tag set":          {op(Operation{S3PutObjectTagging: &S3PutObjectTagging{}}), "Operation.S3PutObjectTagging.TagSet: is required"},
		"acl nothing":         {op(Operation{S3PutObjectAcl: &S3PutObjectAcl{&AccessControlPolicy{}}}), "must give either"},
		"acl owner":           {op(Operation{S3PutObjectAcl: &S3PutObjectAcl{&AccessControlPolicy{AccessControlList: &AccessControlList{}}}}), "AccessControlList.Owner: is required"},
		"retention half":      {op(Operation{S3PutObjectRetention: &S3PutObjectRetention{Retention: &Retention{RetainUntilDate: &date}}}), "must give both"},
		"retention removed":   {op(Operation{S3PutObjectRetention: &S3PutObjectRetention{Retention: &Retention{}}}), ""},
		"retention absent":    {op(Operation{S3PutObjectRetention: &S3PutObjectRetention{}}), "Retention: is required"},
		"hold absent":         {op(Operation{S3PutObjectLegalHold: &S3PutObjectLegalHold{LegalHold: &LegalHold{}}}), "LegalHold.Status: is required"},
		"composite crc64":     {op(Operation{S3ComputeObjectChecksum: &S3ComputeObjectChecksum{ChecksumAlgorithm: "CRC64NVME", ChecksumType: "COMPOSITE"}}), "COMPOSITE is not defined"},
		"composite default":   {op(Operation{S3ComputeObjectChecksum: &S3ComputeObjectChecksum{ChecksumType: "COMPOSITE"}}), "COMPOSITE is not defined"},
		"checksum default":    {op(Operation{S3ComputeObjectChecksum: &S3ComputeObjectChecksum{}}), ""},
		"restore negative":    {op(Operation{S3InitiateRestoreObject: &S3InitiateRestoreObject{ExpirationInDays: new(int32(-1))}}), "ExpirationInDays: -1 is outside"},
		"restore tier":        {op(Operation{S3InitiateRestoreObject: &S3InitiateRestoreObject{GlacierJobTier: "EXPEDITED"}}), "GlacierJobTier: "},
		"encryption":          {op(Operation{S3UpdateObjectEncryption: &S3UpdateObjectEncryption{&ObjectEncryption{&UpdateSSEKMS{KMSKeyArn: "alias/my-key-that-is-long"}}}}), "KMSKeyArn: "},
		"lambda no arn":       {op(Operation{LambdaInvoke: &LambdaInvoke{}}), "FunctionArn: is required"},
		"lambda arguments":    {op(Operation{LambdaInvoke: &LambdaInvoke{FunctionArn: "f", UserArguments: map[string]string{"a": ""}}}), "need InvocationSchemaVersion 2.0"},
		"lambda no arguments": {op(Operation{LambdaInvoke: &LambdaInvoke{FunctionArn: "f", InvocationSchemaVersion: "2.0", UserArguments: map[string]string{}}}), "UserArguments: has 0 items"},
		"lambda":              {op(Operation{LambdaInvoke: &LambdaInvoke{FunctionArn: "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST", InvocationSchemaVersion: "2.0", UserArguments: map[string]string{"a": ""}}}), ""},
		"copy":                {cp(func(*S3PutObjectCopy) {}), ""},
		"copy target":         {cp(func(c *S3PutObjectCopy) { c.TargetResource = "" }), "TargetResource: is required"},
		"copy express":        {cp(func(c *S3PutObjectCopy) { c.TargetResource = "arn:aws:s3express:us-east-1:123456789012:bucket/b" }), "directory buckets"},
		"copy class":          {cp(func(c *S3PutObjectCopy) { c.StorageClass = "COLD" }), `StorageClass: "COLD" is not one of`},
		"copy grant write": {cp(func(c *S3PutObjectCopy) {
			c.AccessControlGrants = []Grant{{&Grantee{TypeIdentifier: "id", Identifier: "a"}, "WRITE"}}
		}), "WRITE cannot be granted"},
		"copy grants, canned": {cp(func(c *S3PutObjectCopy) {
			c.CannedAccessControlList = "private"
			c.AccessControlGrants = []Grant{{&Grantee{TypeIdentifier: "id", Identifier: "a"}, "READ"}}
		}), "must not be given together"},
		"copy lock": {cp(func(c *S3PutObjectCopy) { c.ObjectLockMode = "GOVERNANCE" }), "must be given together"},
		"copy metadata line": {cp(func(c *S3PutObjectCopy) {
			c.NewObjectMetadata = &ObjectMetadata{UserMetadata: map[string]string{"a": "x\r\ny: z"}}
		}), "control characters"},
		"copy metadata name": {cp(func(c *S3PutObjectCopy) {
			c.NewObjectMetadata = &ObjectMetadata{UserMetadata: map[string]string{"a b": "x"}}
		}), "cannot be part of a header name"},
		"copy metadata case": {cp(func(c *S3PutObjectCopy) {
			c.NewObjectMetadata = &ObjectMetadata{UserMetadata: map[string]string{"a": "x", "A": "y"}}
		}), "differ only by case"},
		"generator":        {generator(func(*S3JobManifestGenerator) {}), ""},
		"generator output": {generator(func(g *S3JobManifestGenerator) { g.EnableManifestOutput = true }), "ManifestOutputLocation: is required"},
		"two prefixes": {generator(func(g *S3JobManifestGenerator) {
			g.Filter = &GeneratorFilter{KeyNameConstraint: &KeyNameConstraint{MatchAnyPrefix: []string{"a", "b"}}}
		}), "MatchAnyPrefix: has 2 items, must have exactly 1"},
		"empty prefix": {generator(func(g *S3JobManifestGenerator) {
			g.Filter = &GeneratorFilter{KeyNameConstraint: &KeyNameConstraint{MatchAnyPrefix: []string{""}}}
		}), "MatchAnyPrefix[0]: must not be empty"},
		"two encryptions": {generator(func(g *S3JobManifestGenerator) {
			g.Filter = &GeneratorFilter{MatchAnyObjectEncryption: []ObjectEncryptionFilter{{SSES3: &SSES3{}, SSEC: &SSEC{}}}}
		}), "must name exactly one of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := valid()
			c.change(s)
			err := s.Validate()
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if _, ok := errors.AsType[*InvalidError](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestInvalidErrorIsBounded(t *testing.T) {
	t.Parallel()
	s := valid()
	s.Operation.S3PutObjectTagging.TagSet = make([]Tag, 10_000)
	if err := s.Validate(); err == nil || len(err.Error()) > 2000 || !strings.Contains(err.Error(), "more") {
		t.Errorf("got %.300v", err)
	}
}

// TestTags proves that every constraint in a tag is one Check understands.
func TestTags(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || typ == reflect.TypeFor[time.Time]() {
			return
		}
		seen[typ] = true
		for f := range typ.Fields() {
			for r := range strings.SplitSeq(f.Tag.Get("check"), ",") {
				name, value, _ := strings.Cut(r, "=")
				switch name {
				case "":
				case "len", "keylen", "items", "range":
					if low, high := parseBounds(value); !strings.Contains(value, "..") || low > high {
						t.Errorf("%s.%s: bad bounds %q", typ.Name(), f.Name, value)
					}
				case "pattern":
					if p := patternNamed(value); value != "tag" && p.re == tagPattern() {
						t.Errorf("%s.%s: unknown pattern %q", typ.Name(), f.Name, value)
					}
				default:
					t.Errorf("%s.%s: unknown rule %q", typ.Name(), f.Name, name)
				}
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[Spec]())
	if len(seen) < 30 {
		t.Errorf("walked only %d types", len(seen))
	}
}

func TestSpecJSONKeepsEmptyAndAbsentApart(t *testing.T) {
	t.Parallel()
	for _, s := range []*Spec{
		{Operation: Operation{S3PutObjectTagging: &S3PutObjectTagging{TagSet: []Tag{}}}},
		{Operation: Operation{S3PutObjectCopy: &S3PutObjectCopy{NewObjectTagging: []Tag{}}}, Tags: []Tag{}},
		{Operation: Operation{S3PutObjectCopy: &S3PutObjectCopy{}}},
		{Operation: Operation{S3PutObjectRetention: &S3PutObjectRetention{Retention: &Retention{}, BypassGovernanceRetention: new(false)}}},
	} {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var got Spec
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&got, s) {
			t.Errorf("%s: came back as %+v", data, got)
		}
	}
}

func TestFailIsClipped(t *testing.T) {
	t.Parallel()
	r := Fail("C", "line\nbreak "+strings.Repeat("é", 300))
	if n := len([]rune(r.FailureReason)); n != 256 {
		t.Errorf("got %d characters, want 256", n)
	}
	if strings.ContainsAny(r.FailureReason, "\r\n") {
		t.Error("the reason has line breaks")
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	var a, b Tally
	for i := range 100 {
		a.Fail(strings.Repeat("c", i%50+1), 403, "bucket/key")
	}
	b.Succeeded, b.Retried = 7, 3
	b.Fail("c", 404, "bucket/other")
	var sum Tally
	sum.Add(a)
	sum.Add(b)
	if sum.Succeeded != 7 || sum.Failed != 101 || sum.Retried != 3 || sum.Executed() != 108 {
		t.Errorf("got %+v", sum)
	}
	var n int64
	for _, c := range sum.Codes {
		n += c.Count
		if len(c.Samples) > maxSamples {
			t.Errorf("%d samples kept", len(c.Samples))
		}
	}
	if n != 101 || len(sum.Codes) > maxCodes+1 {
		t.Errorf("%d failures under %d codes, want 101 under at most %d", n, len(sum.Codes), maxCodes+1)
	}
}

func FuzzARNs(f *testing.F) {
	f.Add("arn:aws:s3:::manifests/dir/m one.csv")
	f.Add("arn:aws:s3:::b")
	f.Fuzz(func(t *testing.T, arn string) {
		bucket, key, ok := ObjectOf(arn)
		if ok && (bucket == "" || key == "" || !strings.HasSuffix(arn, ":"+bucket+"/"+key)) {
			t.Errorf("%q: got %q, %q", arn, bucket, key)
		}
		if name := BucketName(arn); name != "" && ok {
			t.Errorf("%q names both a bucket and an object", arn)
		}
	})
}
