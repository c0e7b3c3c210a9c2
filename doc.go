// Package stevedore is the root of the module and holds no code, only the test
// of its architecture. Start reading in internal/job, then go down the line:
//
//	request → job → plan → chunk → task → outcome → segment → report
//
// docs/design.md tells the whole story.
package stevedore
