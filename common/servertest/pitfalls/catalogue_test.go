package pitfalls

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/variants"
)

// catalogue is every pitfall that this project promises to prove, by where it lies. What has a scenario is
// played by the stages' own tests; what is about Go, or about measuring, has tests of its own beside it.
var catalogue = map[string]string{
	"stage1-iterative": `short-read leftover unbuffered short-write pointer no-truncate extra-bytes first-eof
		epipe-retry sigpipe-stdout exit-on-error no-timeout nagle no-keepalive-close reset-eats-response extra-read-blocks stale-pool`,
	"stage2-threadpool": "head-of-line thread-per-connection goroutines-are-not-threads unbounded-queue lost-worker",
	"stage3-dualstack":  "ipv4-only first-address alternate-accept dual-bind-clash v6only-default one-family-machine mapped-address",
	"stage4-epoll": `pool-exhausted blocking-fd no-epollout always-epollout shared-epoll stale-fd accept-in-loop
		emfile-spin unbalanced stale-event fifo-blocks slowloris blocking-tier tier-pool`,
	"common/servertest/pitfalls/goside":    "blocked-calls-pin-threads goroutines-do-not-bound-threads eintr-is-yours no-deadlines",
	"common/servertest/pitfalls/measuring": "closed-loop same-core",
}

// TestCatalogue sees that nothing of it is lost.
func TestCatalogue(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	for dir, ids := range catalogue {
		for _, id := range strings.Fields(ids) {
			readme := filepath.Join(repo.Root, filepath.FromSlash(dir), "testdata", "pitfalls", id, "README.md")
			text, err := os.ReadFile(readme)
			if err != nil {
				t.Error(err)
				continue
			}
			if !strings.HasPrefix(string(text), "# "+id+": ") {
				t.Errorf("%s/%s: README.md does not begin with its name", dir, id)
			}
			if _, ok := ScenarioOf(id); ok != strings.HasPrefix(dir, "stage") {
				t.Errorf("%s/%s: there is a scenario, %t", dir, id, ok)
			}
		}
	}
}
