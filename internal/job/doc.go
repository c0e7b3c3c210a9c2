// Package job holds the nouns every station of the line speaks of: what was
// asked for (Spec), how far it has come (Job, Status), how it is cut up (Chunk,
// Segment) and how a task ended (Outcome).
//
//	request -> job -> plan -> chunk -> task -> outcome -> segment -> report
//
// Members that appear in the S3 Control API carry the API's names, so that one
// noun serves the XML on the wire, the record in the job store and the JSON of
// the command line; what the model demands of each member stands in its tag
// (see Check). The package imports the standard library only.
package job
