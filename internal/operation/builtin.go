package operation

import (
	"maps"
	"slices"
	"strings"

	"stevedore/internal/job"
)

// The functions that are built in. Any client reaches them by LambdaInvoke: a
// FunctionArn in whose name one of these stands needs no function anywhere.
const (
	deleteObjectFunction = "stevedore-delete-object"
	headObjectFunction   = "stevedore-head-object"
	mergeTagsFunction    = "stevedore-merge-tags"
)

// newBuiltin returns the built-in function of that name. The error is a
// *job.FailedError.
func newBuiltin(name string, args map[string]string, env Env) (Operation, error) {
	switch name {
	case deleteObjectFunction:
		return newDeleteObject(args, env)
	case headObjectFunction:
		return newHeadObject(args, env)
	case mergeTagsFunction:
		return newMergeTags(args, env)
	}
	return nil, refuse("ResourceNotFoundException", "There is no built-in function "+name+"; there are "+
		strings.Join([]string{deleteObjectFunction, headObjectFunction, mergeTagsFunction}, ", "))
}

// unknownArgument refuses a job with arguments that its function does not know:
// one that is misspelt would do something else than was meant.
func unknownArgument(function string, args map[string]string, known func(string) bool) error {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if !known(name) {
			return refuse("InvalidRequest", function+" does not know the user argument "+name)
		}
	}
	return nil
}

// succeed is the outcome of a task that has something to say.
func succeed(message string, attempts int) job.Outcome {
	return job.Outcome{HTTPStatus: 200, Message: limit(message, maxResult), Attempts: attempts}
}
