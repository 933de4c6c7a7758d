// Package slow marks the tests of lab that take too long for `make test`.
package slow

import (
	"os"
	"strings"
	"testing"

	"fourways.example/common/servertest/process"
)

// Env is "1" if slow tests run. `make slow` sets it.
const Env = "SLOW"

// Prefix begins the name of every slow test, so that `make slow` can select them.
const Prefix = "TestSlow"

// Test must be the first call of a slow test. It skips the test unless `make slow` runs it.
func Test(t testing.TB) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), Prefix) {
		t.Fatalf("%s is a slow test, but `make slow` runs only tests whose names begin with %s; rename it", t.Name(), Prefix)
	}
	if os.Getenv(Env) != "1" {
		const reason = "needs `make slow`: it takes too long for `make test`"
		process.NoteSkip(reason)
		t.Skip(reason)
	}
}
