package lambda_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"stevedore/internal/lambda/lambdatest"
)

// bootstrap is the function's program, built by TestMain.
var bootstrap string

func TestMain(m *testing.M) {
	if os.Getenv("STEVEDORE_TEST_PARENT") != "" {
		parent() // TestFunctionsEndWithTheirParent starts and kills it
	}
	os.Exit(lambdatest.Main(func(program string) { bootstrap = program }, func() int {
		code := m.Run()
		// The HTTP server lingers for half a second over a body that it has refused.
		if err := goleak.Find(goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")); err != nil && code == 0 {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
		return code
	}))
}
