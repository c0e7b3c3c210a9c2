package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"stevedore/internal/devstore"
)

const (
	account = "123456789012"
	access  = "stevedore"
	secret  = "stevedore-secret"
	role    = "arn:aws:iam::" + account + ":role/any"
)

// binary is the path of the stevedore under test, set by TestMain.
var binary string

func TestMain(m *testing.M) {
	if code, ran := devstore.Main(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "stevedore-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "stevedore")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "stevedore/cmd/stevedore")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build stevedore:", err)
		return 1
	}
	return m.Run()
}
