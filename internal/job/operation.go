package job

import "time"

// OperationName is what ListJobs and policies call an operation.
type OperationName string

// The eleven operations of the API model.
const (
	LambdaInvokeName             OperationName = "LambdaInvoke"
	S3PutObjectCopyName          OperationName = "S3PutObjectCopy"
	S3PutObjectAclName           OperationName = "S3PutObjectAcl" //nolint:revive // the API's spelling
	S3PutObjectTaggingName       OperationName = "S3PutObjectTagging"
	S3DeleteObjectTaggingName    OperationName = "S3DeleteObjectTagging"
	S3InitiateRestoreObjectName  OperationName = "S3InitiateRestoreObject"
	S3PutObjectLegalHoldName     OperationName = "S3PutObjectLegalHold"
	S3PutObjectRetentionName     OperationName = "S3PutObjectRetention"
	S3ReplicateObjectName        OperationName = "S3ReplicateObject"
	S3ComputeObjectChecksumName  OperationName = "S3ComputeObjectChecksum"
	S3UpdateObjectEncryptionName OperationName = "S3UpdateObjectEncryption"
)

// Operation is what a job does to every object: exactly one member is set.
type Operation struct {
	LambdaInvoke             *LambdaInvoke             `json:",omitzero"`
	S3PutObjectCopy          *S3PutObjectCopy          `json:",omitzero"`
	S3PutObjectAcl           *S3PutObjectAcl           `json:",omitzero"` //nolint:revive // the API's spelling
	S3PutObjectTagging       *S3PutObjectTagging       `json:",omitzero"`
	S3DeleteObjectTagging    *S3DeleteObjectTagging    `json:",omitzero"`
	S3InitiateRestoreObject  *S3InitiateRestoreObject  `json:",omitzero"`
	S3PutObjectLegalHold     *S3PutObjectLegalHold     `json:",omitzero"`
	S3PutObjectRetention     *S3PutObjectRetention     `json:",omitzero"`
	S3ReplicateObject        *S3ReplicateObject        `json:",omitzero"`
	S3ComputeObjectChecksum  *S3ComputeObjectChecksum  `json:",omitzero"`
	S3UpdateObjectEncryption *S3UpdateObjectEncryption `json:",omitzero"`
}

// Names lists the operations that are set: exactly one in a valid Operation.
func (o Operation) Names() []OperationName {
	var set []OperationName
	add := func(present bool, name OperationName) {
		if present {
			set = append(set, name)
		}
	}
	add(o.LambdaInvoke != nil, LambdaInvokeName)
	add(o.S3PutObjectCopy != nil, S3PutObjectCopyName)
	add(o.S3PutObjectAcl != nil, S3PutObjectAclName)
	add(o.S3PutObjectTagging != nil, S3PutObjectTaggingName)
	add(o.S3DeleteObjectTagging != nil, S3DeleteObjectTaggingName)
	add(o.S3InitiateRestoreObject != nil, S3InitiateRestoreObjectName)
	add(o.S3PutObjectLegalHold != nil, S3PutObjectLegalHoldName)
	add(o.S3PutObjectRetention != nil, S3PutObjectRetentionName)
	add(o.S3ReplicateObject != nil, S3ReplicateObjectName)
	add(o.S3ComputeObjectChecksum != nil, S3ComputeObjectChecksumName)
	add(o.S3UpdateObjectEncryption != nil, S3UpdateObjectEncryptionName)
	return set
}

// Name is the name of the operation that is set, empty if none is.
func (o Operation) Name() OperationName {
	if set := o.Names(); len(set) > 0 {
		return set[0]
	}
	return ""
}

// LambdaInvoke calls a function once per object.
type LambdaInvoke struct {
	FunctionArn             string            `json:",omitzero" check:"len=1..1024,pattern=function" required:"true"`
	InvocationSchemaVersion string            `json:",omitzero" check:"len=1..64"`
	UserArguments           map[string]string `json:",omitzero" check:"items=1..10,keylen=1..64,len=0..1024"`
}

// S3PutObjectCopy copies every object with CopyObject.
type S3PutObjectCopy struct {
	TargetResource            string                    `json:",omitzero" check:"len=1..128,pattern=anyBucket" required:"true"`
	CannedAccessControlList   CannedAccessControlList   `json:",omitzero"`
	AccessControlGrants       []Grant                   `json:",omitzero"`
	MetadataDirective         MetadataDirective         `json:",omitzero"`
	ModifiedSinceConstraint   *time.Time                `json:",omitzero"`
	NewObjectMetadata         *ObjectMetadata           `json:",omitzero"`
	NewObjectTagging          []Tag                     `json:",omitzero"` // nil: keep the source's tags; empty: no tags
	RedirectLocation          string                    `json:",omitzero" check:"len=1..2048"`
	RequesterPays             *bool                     `json:",omitzero"`
	StorageClass              StorageClass              `json:",omitzero"`
	UnModifiedSinceConstraint *time.Time                `json:",omitzero"`
	SSEAwsKmsKeyId            string                    `json:",omitzero" check:"len=1..2000"` //nolint:revive // the API's spelling
	TargetKeyPrefix           string                    `json:",omitzero" check:"len=1..1024"`
	ObjectLockLegalHoldStatus ObjectLockLegalHoldStatus `json:",omitzero"`
	ObjectLockMode            ObjectLockMode            `json:",omitzero"`
	ObjectLockRetainUntilDate *time.Time                `json:",omitzero"`
	BucketKeyEnabled          *bool                     `json:",omitzero"`
	ChecksumAlgorithm         ChecksumAlgorithm         `json:",omitzero"`
}

// ObjectMetadata is what a copy gives its objects instead of the source's.
// ContentLength, ContentMD5 and RequesterCharged are accepted, described back
// and otherwise ignored, as the model deprecates them.
type ObjectMetadata struct {
	CacheControl       string            `json:",omitzero" check:"len=1..1024"`
	ContentDisposition string            `json:",omitzero" check:"len=1..1024"`
	ContentEncoding    string            `json:",omitzero" check:"len=1..1024"`
	ContentLanguage    string            `json:",omitzero" check:"len=1..1024"`
	UserMetadata       map[string]string `json:",omitzero" check:"items=0..8192,keylen=1..1024,len=0..1024"`
	ContentLength      *int64            `json:",omitzero" check:"range=0.."`
	ContentMD5         string            `json:",omitzero" check:"len=1..1024"`
	ContentType        string            `json:",omitzero" check:"len=1..1024"`
	HttpExpiresDate    *time.Time        `json:",omitzero"` //nolint:revive // the API's spelling
	RequesterCharged   *bool             `json:",omitzero"`
	SSEAlgorithm       SSEAlgorithm      `json:",omitzero"`
}

// S3PutObjectAcl sets the ACL of every object.
type S3PutObjectAcl struct { //nolint:revive // the API's spelling
	AccessControlPolicy *AccessControlPolicy `json:",omitzero" required:"true"`
}

// AccessControlPolicy is either a list of grants or a canned ACL.
type AccessControlPolicy struct {
	AccessControlList       *AccessControlList      `json:",omitzero"`
	CannedAccessControlList CannedAccessControlList `json:",omitzero"`
}

// AccessControlList is an owner and who else may do what.
type AccessControlList struct {
	Owner  *Owner  `json:",omitzero" required:"true"`
	Grants []Grant `json:",omitzero"`
}

// Owner is an object's owner, by canonical id.
type Owner struct {
	ID          string `json:",omitzero" check:"len=1..1024"`
	DisplayName string `json:",omitzero" check:"len=1..1024"`
}

// Grant gives one grantee one permission.
type Grant struct {
	Grantee    *Grantee   `json:",omitzero"`
	Permission Permission `json:",omitzero"`
}

// Grantee names who is granted: an account by id or address, or a group by URI.
type Grantee struct {
	TypeIdentifier GranteeType `json:",omitzero"`
	Identifier     string      `json:",omitzero" check:"len=1..1024"`
	DisplayName    string      `json:",omitzero" check:"len=1..1024"`
}

// S3PutObjectTagging replaces the tags of every object. A TagSet that is empty
// but not nil clears them.
type S3PutObjectTagging struct {
	TagSet []Tag `json:",omitzero" required:"true"`
}

// Tag is a tag of an object or of a job.
type Tag struct {
	Key   string `check:"len=1..128,pattern=tag" required:"true"`
	Value string `check:"len=0..256,pattern=tag" required:"true"`
}

// S3DeleteObjectTagging removes the tags of every object.
type S3DeleteObjectTagging struct{}

// S3InitiateRestoreObject asks for every archived object to be restored.
type S3InitiateRestoreObject struct {
	ExpirationInDays *int32 `json:",omitzero" check:"range=0.."`
	GlacierJobTier   Tier   `json:",omitzero"`
}

// S3PutObjectLegalHold sets the legal hold of every object.
type S3PutObjectLegalHold struct {
	LegalHold *LegalHold `json:",omitzero" required:"true"`
}

// LegalHold is on or off.
type LegalHold struct {
	Status ObjectLockLegalHoldStatus `json:",omitzero" required:"true"`
}

// S3PutObjectRetention sets the retention of every object; a Retention with
// neither mode nor date removes it.
type S3PutObjectRetention struct {
	BypassGovernanceRetention *bool      `json:",omitzero"`
	Retention                 *Retention `json:",omitzero" required:"true"`
}

// Retention is how firmly and until when an object is kept.
type Retention struct {
	RetainUntilDate *time.Time     `json:",omitzero"`
	Mode            ObjectLockMode `json:",omitzero"`
}

// S3ReplicateObject applies the source bucket's replication rules to every object.
type S3ReplicateObject struct{}

// S3ComputeObjectChecksum computes a checksum of every object into the report.
type S3ComputeObjectChecksum struct {
	ChecksumAlgorithm ChecksumAlgorithm `json:",omitzero"`
	ChecksumType      ChecksumType      `json:",omitzero"`
}

// S3UpdateObjectEncryption re-encrypts every object under another key.
type S3UpdateObjectEncryption struct {
	ObjectEncryption *ObjectEncryption `json:",omitzero" required:"true"`
}

// ObjectEncryption is the encryption wanted.
type ObjectEncryption struct {
	SSEKMS *UpdateSSEKMS `json:",omitzero" xml:"SSE-KMS" required:"true"`
}

// UpdateSSEKMS names the KMS key to encrypt with.
type UpdateSSEKMS struct {
	KMSKeyArn        string `json:",omitzero" check:"len=20..2048,pattern=kmsKey" required:"true"`
	BucketKeyEnabled *bool  `json:",omitzero"`
}
