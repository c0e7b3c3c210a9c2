// Package lambdatest builds a function for tests: a real custom-runtime binary,
// as a user of LambdaInvoke would have it, which does what the key of its task
// says.
package lambdatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the function in functiontest into dir and returns its path. It is
// for TestMain: once is enough for all tests of a package.
func Build(dir string) (string, error) {
	program := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-o", program, "stevedore/internal/lambda/lambdatest/functiontest") //nolint:noctx // go test has its own time limit
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build function: %w\n%s", err, out)
	}
	return program, nil
}

// Main builds the function, tells set where it is, runs the tests and removes it
// again. It returns the exit code.
func Main(set func(program string), run func() int) int {
	dir, err := os.MkdirTemp("", "function-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program, err := Build(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	set(program)
	return run()
}
