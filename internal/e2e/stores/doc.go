// Package stores runs every operation of a job, with each of its main
// parameters, on the S3 servers that people really run, reads every effect back
// and writes down what came of it: the tables in docs/stores.md. It holds tests
// only, behind the build tag stores:
//
//	make test-stores              # all servers; those that are missing are fetched
//	go test -tags stores ./internal/e2e/stores -args -stores devstore,moto
//	go test -tags stores ./internal/e2e/stores -args -update
//
// A run fails if a cell is worse than the one in the document, and whenever an
// object that a job should not change has other bytes afterwards.
package stores
