package objectstore

// Encryption is how an object is encrypted at rest, as far as the store says.
type Encryption struct {
	Algorithm string // AES256, aws:kms or aws:kms:dsse; empty: none, or the customer's
	KMSKey    string // id or ARN, with the latter two
	BucketKey bool
	// Customer says that the customer's own key is used (SSE-C). S3 answers HEAD with 400 if it does not come along, so this
	// is seen only on stores that do not mind.
	Customer bool
}

// Encryption reads it off the headers.
func (h *Head) Encryption() Encryption {
	const sse = "x-amz-server-side-encryption"
	return Encryption{
		Algorithm: h.Get(sse), KMSKey: h.Get(sse + "-aws-kms-key-id"), BucketKey: h.Get(sse+"-bucket-key-enabled") == "true",
		Customer: h.Get(sse+"-customer-algorithm") != "",
	}
}

// Replication is the status of that name: PENDING, COMPLETED, FAILED, REPLICA; empty if there was none. Stores write
// COMPLETE as well.
func (h *Head) Replication() string {
	if status := h.Get("x-amz-replication-status"); status != "COMPLETE" {
		return status
	}
	return "COMPLETED"
}
