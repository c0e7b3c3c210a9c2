// Package e2e drives the real binary with real clients against a real S3 server
// and reads the result back. It holds tests only. The binary is built as the
// tests are: with the race detector if they have it.
package e2e
