// Package browser looks at the start page as its readers do: with a browser. Chromium,
// headless, is driven through docs/site as each of the stages serves it.
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

	// patience bounds a single step, which takes milliseconds where nobody else is busy.
	patience = 15 * time.Second
	// visit bounds all that is done with one stage, limit what the browser does in all.
	visit = 30 * time.Second
	limit = 80 * time.Second
	// compile bounds the building of one server, of which nothing may be in Go's cache yet.
	compile = 3 * time.Minute

	// pollEvery is how often a page is asked.
	pollEvery = 20 * time.Millisecond
)

// TestStartPage logs in, opens the private page, jumps about in a video and logs out.
func TestStartPage(t *testing.T) {
	chromium := find(t)
	root := site(t)
	var programs []*process.Program // built first: how long that takes, says nothing here
	for stage := 1; stage <= 4; stage++ {
		programs = append(programs, build(t, stage))
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ctx = start(t, ctx, chromium)
	for i, program := range programs {
		stage := i + 1
		t.Run(filepath.Base(program.Path), func(t *testing.T) {
			var flags []string
			if stage == 1 {
				// A browser opens a second connection when it likes, and here that one waits
				// until the first has been idle for so long.
				flags = []string{"--idle-timeout=1s"}
			}
			server := serve(t, program, root, flags...)
			ctx, cancel := context.WithTimeout(ctx, visit)
			defer cancel()
			p := open(t, ctx, "http://"+server.Addr())
			p.frontPage()
			if stage == 1 {
				p.oneConnection("/", "/style.css", "/script.js", "/api/login")
			}
			p.wrongPassword()
			p.logIn()
			p.privatePage()
			p.video()
			p.farVideo()
			p.logOut()
			p.complaints()
		})
	}
}

// find is where Chromium is. Without it there is nothing to test here; but on a machine
// that is there for testing, its absence is a mistake.
func find(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	record.Missing(t, "needs Chromium: apt-get install chromium")
	return ""
}

// start starts the browser. It ends with the test, and what it has written goes too.
func start(t *testing.T, ctx context.Context, path string) context.Context {
	t.Helper()
	// Not t.TempDir: a straggler may still write there when the test is over, and the path
	// of a Unix socket in it may be at most 107 bytes long.
	home, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	options := append(
		chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// Its own home, for the user's may be read-only, or full of settings. The profile is
		// a new empty folder each time: chromedp sees to that, and removes it.
		chromedp.Env("HOME="+home, "TMPDIR="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_RUNTIME_DIR="+home),
		// The sandbox does not start for root, nor in most containers. It guards against
		// strangers' pages, and there are none: see host-resolver-rules.
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	ctx, cancel := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel) // kills it and waits until it is gone
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
		t.Fatalf("stage %d: want one folder, have %q", stage, folders)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(folders[0]))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	cmd.Dir = folders[0]
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", folders[0], err, out)
	}
	return &process.Program{Path: path, Stage: stage}
}

// serve starts a server, and stops it when the test is over. It must have said nothing on
// stderr then.
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
