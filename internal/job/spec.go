package job

import "time"

// Spec is what CreateJob asked for. It never changes; what may change later
// (priority, tags) starts from it and lives in Job.
type Spec struct {
	ConfirmationRequired *bool              `json:",omitzero"` // nil means true: see NeedsConfirmation
	Operation            Operation          `required:"true"`
	Report               Report             `required:"true"`
	ClientRequestToken   string             `check:"len=1..64" required:"true"`
	Manifest             *Manifest          `json:",omitzero"`
	Description          string             `json:",omitzero" check:"len=1..256"`
	Priority             int32              `check:"range=0..2147483647" required:"true"`
	RoleArn              string             `check:"len=1..2048,pattern=role" required:"true"`
	Tags                 []Tag              `json:",omitzero"`
	ManifestGenerator    *ManifestGenerator `json:",omitzero"`
}

// NeedsConfirmation reports whether the job waits in Suspended for its user.
// Only an explicit false lets it run by itself (states.md section 3).
func (s *Spec) NeedsConfirmation() bool {
	return s.ConfirmationRequired == nil || *s.ConfirmationRequired
}

// Manifest says which list of objects to work through.
type Manifest struct {
	Spec     *ManifestSpec     `required:"true"`
	Location *ManifestLocation `required:"true"`
}

// ManifestSpec is a manifest's format and, for CSV, its columns in order.
type ManifestSpec struct {
	Format ManifestFormat `required:"true"`
	Fields []Field        `json:",omitzero"`
}

// ManifestLocation is the object that holds a manifest, pinned by its ETag.
type ManifestLocation struct {
	ObjectArn       string `check:"len=1..2000,pattern=s3Object" required:"true"`
	ObjectVersionId string `json:",omitzero" check:"len=1..2000"` //nolint:revive // the API's spelling
	ETag            string `check:"len=1..1024" required:"true"`
}

// Report says whether, where and of which tasks a completion report is written.
type Report struct {
	Bucket              string       `json:",omitzero" check:"len=1..128,pattern=s3"`
	Format              ReportFormat `json:",omitzero"`
	Enabled             bool         `required:"true"`
	Prefix              string       `json:",omitzero" check:"len=1..512"`
	ReportScope         ReportScope  `json:",omitzero"`
	ExpectedBucketOwner string       `json:",omitzero" check:"pattern=account"`
}

// ManifestGenerator makes the list of objects from a bucket.
type ManifestGenerator struct {
	S3JobManifestGenerator *S3JobManifestGenerator `json:",omitzero" required:"true"`
}

// S3JobManifestGenerator lists a bucket and keeps what passes the filter.
type S3JobManifestGenerator struct {
	ExpectedBucketOwner    string                  `json:",omitzero" check:"pattern=account"`
	SourceBucket           string                  `check:"len=1..128,pattern=s3" required:"true"`
	ManifestOutputLocation *ManifestOutputLocation `json:",omitzero"`
	Filter                 *GeneratorFilter        `json:",omitzero"`
	EnableManifestOutput   bool                    `required:"true"`
}

// ManifestOutputLocation is where a generated manifest is kept for the user.
type ManifestOutputLocation struct {
	ExpectedManifestBucketOwner string                  `json:",omitzero" check:"pattern=account"`
	Bucket                      string                  `check:"len=1..128,pattern=s3" required:"true"`
	ManifestPrefix              string                  `json:",omitzero" check:"len=1..512"`
	ManifestEncryption          *ManifestEncryption     `json:",omitzero"`
	ManifestFormat              GeneratedManifestFormat `required:"true"`
}

// ManifestEncryption is how a generated manifest is encrypted.
type ManifestEncryption struct {
	SSES3  *SSES3           `json:",omitzero" xml:"SSE-S3"`
	SSEKMS *SSEKMSKeyOption `json:",omitzero" xml:"SSE-KMS"`
}

// SSES3 asks for encryption with the store's own keys; it has no members.
type SSES3 struct{}

// SSEKMSKeyOption asks for encryption under a KMS key.
type SSEKMSKeyOption struct {
	KeyId string `check:"len=1..2000" required:"true"` //nolint:revive // the API's spelling
}

// GeneratorFilter keeps the objects that pass every condition given.
type GeneratorFilter struct {
	EligibleForReplication     *bool                    `json:",omitzero"`
	CreatedAfter               *time.Time               `json:",omitzero"`
	CreatedBefore              *time.Time               `json:",omitzero"`
	ObjectReplicationStatuses  []ReplicationStatus      `json:",omitzero"`
	KeyNameConstraint          *KeyNameConstraint       `json:",omitzero"`
	ObjectSizeGreaterThanBytes *int64                   `json:",omitzero"`
	ObjectSizeLessThanBytes    *int64                   `json:",omitzero"`
	MatchAnyStorageClass       []StorageClass           `json:",omitzero"`
	MatchAnyObjectEncryption   []ObjectEncryptionFilter `json:",omitzero" xml:",ObjectEncryption" check:"items=1..1"`
}

// KeyNameConstraint filters by parts of the decoded key; each list holds one
// string (the documentation's rule, tighter than the model's).
type KeyNameConstraint struct {
	MatchAnyPrefix    []string `json:",omitzero" check:"items=1..1,len=1..1024"`
	MatchAnySuffix    []string `json:",omitzero" check:"items=1..1,len=1..1024"`
	MatchAnySubstring []string `json:",omitzero" check:"items=1..1,len=1..1024"`
}

// ObjectEncryptionFilter keeps objects encrypted in one way: one member is set.
type ObjectEncryptionFilter struct {
	SSES3   *SSES3         `json:",omitzero" xml:"SSE-S3"`
	SSEKMS  *SSEKMSFilter  `json:",omitzero" xml:"SSE-KMS"`
	DSSEKMS *DSSEKMSFilter `json:",omitzero" xml:"DSSE-KMS"`
	SSEC    *SSEC          `json:",omitzero" xml:"SSE-C"`
	NOTSSE  *NotSSE        `json:",omitzero" xml:"NOT-SSE"`
}

// SSEKMSFilter keeps objects encrypted under SSE-KMS.
type SSEKMSFilter struct {
	KmsKeyArn        string `json:",omitzero" check:"len=20..2048,pattern=kmsKey"`
	BucketKeyEnabled *bool  `json:",omitzero"`
}

// DSSEKMSFilter keeps objects encrypted twice under KMS.
type DSSEKMSFilter struct {
	KmsKeyArn string `json:",omitzero" check:"len=20..2048,pattern=kmsKey"`
}

// SSEC keeps objects encrypted with the customer's own key; it has no members.
type SSEC struct{}

// NotSSE keeps objects that are not encrypted by the server; it has no members.
type NotSSE struct{}
