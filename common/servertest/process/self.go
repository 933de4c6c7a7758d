package process

import (
	"os"
	"strings"
	"testing"
)

// SelfEnv is the environment variable that makes a test binary run as the server.
const SelfEnv = "SERVERTEST_SELF"

// Main runs the tests or, in a process that was started as a server, main. A stage calls it in TestMain. The
// test binary is the server too, so go test builds the server with the same flags, such as -race.
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

// Self returns the running test binary as a server program. TestMain must call Main.
func Self(t testing.TB, stage int) *Program {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// With -race a process sleeps for 1 s before it exits. The suite starts about a hundred servers.
	race := strings.TrimSpace(os.Getenv("GORACE") + " atexit_sleep_ms=0")
	return &Program{Path: path, Env: []string{SelfEnv + "=1", "GORACE=" + race}, Stage: stage}
}
