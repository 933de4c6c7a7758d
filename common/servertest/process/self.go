package process

import (
	"os"
	"strings"
	"testing"
)

// SelfEnv tells a test binary to be the server instead.
const SelfEnv = "SERVERTEST_SELF"

// Main is for the TestMain of a stage: its test binary is its server too. So the server
// under test is built by go test, with -race when the test is.
//
//	func TestMain(m *testing.M) { servertest.Main(m, main) }
func Main(m *testing.M, main func()) {
	if os.Getenv(SelfEnv) != "" {
		_ = os.Unsetenv(SelfEnv)
		main()
		os.Exit(0)
	}
	status := m.Run()
	repeatHeadlines()
	os.Exit(status)
}

// Self is the running test binary as a server. TestMain must call Main.
func Self(t testing.TB, stage int) *Program {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// With -race a process sleeps for a second before it exits; the suite ends a hundred.
	race := strings.TrimSpace(os.Getenv("GORACE") + " atexit_sleep_ms=0")
	return &Program{Path: path, Env: []string{SelfEnv + "=1", "GORACE=" + race}, Stage: stage}
}
