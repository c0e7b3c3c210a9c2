package job

// The enumerations of the API model. Values names the legal ones, for Check; the
// empty string means that the member was not given.
type (
	// CannedAccessControlList is a canned ACL.
	CannedAccessControlList string
	// MetadataDirective says whether a copy keeps the source's metadata.
	MetadataDirective string
	// StorageClass is the storage class of an object.
	StorageClass string
	// ObjectLockLegalHoldStatus is whether a legal hold is on.
	ObjectLockLegalHoldStatus string
	// ObjectLockMode is how firm a retention is: GOVERNANCE can be bypassed, COMPLIANCE cannot.
	ObjectLockMode string
	// ChecksumAlgorithm is a checksum over an object's bytes.
	ChecksumAlgorithm string
	// ChecksumType is over the whole object or over its parts' checksums.
	ChecksumType string
	// SSEAlgorithm is the server-side encryption of a copy.
	SSEAlgorithm string
	// GranteeType is how a grantee is named.
	GranteeType string
	// Permission is what a grant allows.
	Permission string
	// Tier is how fast a restore goes.
	Tier string
	// ManifestFormat is the format of a manifest the user gives.
	ManifestFormat string
	// GeneratedManifestFormat is the format of a manifest we generate.
	GeneratedManifestFormat string
	// Field is a column of a CSV manifest.
	Field string
	// ReportFormat is the format of the completion report.
	ReportFormat string
	// ReportScope is which tasks the report lists.
	ReportScope string
	// ReplicationStatus is the replication status of an object, as a filter.
	ReplicationStatus string
)

// Values the code branches on.
const (
	MetadataCopy    MetadataDirective = "COPY"
	MetadataReplace MetadataDirective = "REPLACE"

	SSEAlgorithmAES256 SSEAlgorithm = "AES256"
	SSEAlgorithmKMS    SSEAlgorithm = "KMS"

	GranteeID    GranteeType = "id"
	GranteeEmail GranteeType = "emailAddress"
	GranteeURI   GranteeType = "uri"

	PermissionFullControl Permission = "FULL_CONTROL"
	PermissionRead        Permission = "READ"
	PermissionWrite       Permission = "WRITE"
	PermissionReadACP     Permission = "READ_ACP"
	PermissionWriteACP    Permission = "WRITE_ACP"

	ChecksumCRC64NVME ChecksumAlgorithm = "CRC64NVME"
	ChecksumComposite ChecksumType      = "COMPOSITE"

	ManifestCSV       ManifestFormat = "S3BatchOperations_CSV_20180820"
	ManifestInventory ManifestFormat = "S3InventoryReport_CSV_20161130"

	GeneratedManifestCSV GeneratedManifestFormat = "S3InventoryReport_CSV_20211130"

	FieldIgnore    Field = "Ignore"
	FieldBucket    Field = "Bucket"
	FieldKey       Field = "Key"
	FieldVersionID Field = "VersionId"

	ReportCSV   ReportFormat = "Report_CSV_20180820"
	AllTasks    ReportScope  = "AllTasks"
	FailedTasks ReportScope  = "FailedTasksOnly"
)

// Values names the legal values.
func (CannedAccessControlList) Values() []string {
	return []string{
		"private", "public-read", "public-read-write", "aws-exec-read",
		"authenticated-read", "bucket-owner-read", "bucket-owner-full-control",
	}
}

// Values names the legal values.
func (MetadataDirective) Values() []string { return []string{"COPY", "REPLACE"} }

// Values names the legal values.
func (StorageClass) Values() []string {
	return []string{
		"STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER",
		"INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR",
	}
}

// Values names the legal values.
func (ObjectLockLegalHoldStatus) Values() []string { return []string{"OFF", "ON"} }

// Values names the legal values.
func (ObjectLockMode) Values() []string { return []string{"COMPLIANCE", "GOVERNANCE"} }

// Values names the legal values.
func (ChecksumAlgorithm) Values() []string {
	return []string{
		"CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME",
		"SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128",
	}
}

// Values names the legal values.
func (ChecksumType) Values() []string { return []string{"FULL_OBJECT", "COMPOSITE"} }

// Values names the legal values.
func (SSEAlgorithm) Values() []string { return []string{"AES256", "KMS"} }

// Values names the legal values.
func (GranteeType) Values() []string { return []string{"id", "emailAddress", "uri"} }

// Values names the legal values.
func (Permission) Values() []string {
	return []string{"FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"}
}

// Values names the legal values.
func (Tier) Values() []string { return []string{"BULK", "STANDARD"} }

// Values names the legal values.
func (ManifestFormat) Values() []string {
	return []string{string(ManifestCSV), string(ManifestInventory)}
}

// Values names the legal values.
func (GeneratedManifestFormat) Values() []string { return []string{string(GeneratedManifestCSV)} }

// Values names the legal values.
func (Field) Values() []string { return []string{"Ignore", "Bucket", "Key", "VersionId"} }

// Values names the legal values.
func (ReportFormat) Values() []string { return []string{string(ReportCSV)} }

// Values names the legal values.
func (ReportScope) Values() []string { return []string{"AllTasks", "FailedTasksOnly"} }

// Values names the legal values.
func (ReplicationStatus) Values() []string {
	return []string{"COMPLETED", "FAILED", "REPLICA", "NONE"}
}

// Values names the legal values.
func (OperationName) Values() []string {
	return []string{
		"LambdaInvoke", "S3PutObjectCopy", "S3PutObjectAcl", "S3PutObjectTagging",
		"S3DeleteObjectTagging", "S3InitiateRestoreObject", "S3PutObjectLegalHold",
		"S3PutObjectRetention", "S3ReplicateObject", "S3ComputeObjectChecksum",
		"S3UpdateObjectEncryption",
	}
}
