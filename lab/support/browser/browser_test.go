// Package browser tests the pages of docs/site, as each stage serves them, with a headless Chromium.
package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
)

const (
	name     = "ada"
	password = "correct horse"

	// patience bounds a single step, which takes milliseconds on an idle machine.
	patience = 15 * time.Second
	// visit bounds all steps with one stage, and limit bounds all stages together.
	visit = 30 * time.Second
	limit = 80 * time.Second
	// compile bounds the build of one server, with an empty build cache.
	compile = 3 * time.Minute

	// pollEvery is the time between two checks of a condition on a page.
	pollEvery = 20 * time.Millisecond
)

// TestStartPage logs in, opens the private page, seeks in a video and logs out.
func TestStartPage(t *testing.T) {
	chromium := findChromium(t)
	root := site(t)
	var programs []*process.Program // built first, so that the builds do not use up limit
	for stage := 1; stage <= 4; stage++ {
		programs = append(programs, build(t, stage))
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ctx = startChromium(t, ctx, chromium)
	for i, program := range programs {
		stage := i + 1
		t.Run(filepath.Base(program.Path), func(t *testing.T) {
			var flags []string
			if stage == 1 {
				// Chromium may open a second connection at any time. Stage 1 serves it only after the
				// first one has been idle for this time.
				flags = []string{"--idle-timeout=1s"}
			}
			server := serve(t, program, root, flags...)
			ctx, cancel := context.WithTimeout(ctx, visit)
			defer cancel()
			p := open(t, ctx, "http://"+server.Addr())
			p.frontPage(stage)
			if stage == 1 {
				p.oneConnection("/", "/style.css", "/script.js", "/api/login")
			}
			p.wrongPassword()
			p.logIn()
			p.privatePage()
			p.video()
			p.farVideo()
			p.logOut()
			p.reportErrors()
		})
	}
}

// findChromium returns the path of Chromium. Without Chromium it skips the test, but with CI=true it fails the test.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	record.Missing(t, "needs Chromium: apt-get install chromium")
	return ""
}

// startChromium starts the browser. The end of the test stops the browser and removes its files.
func startChromium(t *testing.T, ctx context.Context, path string) context.Context {
	t.Helper()
	// t.TempDir would fail the test if a process still writes there at its end. Its name is also too long: the
	// path of a Unix socket has at most 107 bytes.
	home, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	options := append(
		chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// A home of its own, because the user's may be read-only or have settings. For the profile chromedp makes
		// a new folder each time, and removes it.
		chromedp.Env("HOME="+home, "TMPDIR="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_RUNTIME_DIR="+home),
		// The sandbox does not start for root, nor in most containers. It protects from foreign pages, which
		// host-resolver-rules makes unreachable.
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	ctx, cancel := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel) // kills the browser and waits for its end
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(cancelBrowser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", path, err)
	}
	return ctx
}

// build builds a stage's server.
func build(t *testing.T, stage int) *process.Program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), compile)
	defer cancel()
	folders, err := filepath.Glob("../../../stage" + string(rune('0'+stage)) + "-*")
	if err != nil || len(folders) != 1 {
		t.Fatalf("stage %d: got the folders %q, want one", stage, folders)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(folders[0]))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	cmd.Dir = folders[0]
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", folders[0], err, out)
	}
	return &process.Program{Path: path, Stage: stage}
}

// serve starts a server, and stops it at the end of the test. The server must not have written to stderr.
func serve(t *testing.T, program *process.Program, root string, flags ...string) *process.Server {
	t.Helper()
	server, err := program.Begin(process.Config{
		Root:  root,
		Flags: flags,
		Env:   []string{"USER_NAME=" + name, "USER_PASS=" + password, "SECRET=for this test alone"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
		if said := strings.TrimSpace(server.Stderr.String()); said != "" {
			t.Errorf("on stderr:\n%s", said)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", server.Stdout)
		}
	})
	return server
}
