package site

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/h1"
	"fourways.example/common/sock"
)

// testClock is a clock that tests move: the real time and what was added to it.
type testClock struct {
	start time.Time
	added atomic.Int64
}

func newClock() *testClock { return &testClock{start: time.Now()} }

func (c *testClock) now() time.Time          { return c.start.Add(time.Duration(c.added.Load())) }
func (c *testClock) advance(d time.Duration) { c.added.Add(int64(d)) }

// fixture is a site behind a real socket. Its clock stands still unless a test moves it.
type fixture struct {
	t     testing.TB
	site  *Site
	dir   string
	clock *testClock
	addr  netip.AddrPort
	conn  net.Conn // the connection that do uses
	// starved makes every open fail as if there were no descriptors left.
	starved atomic.Bool
	in      *bufio.Reader
}

// account that tests log in to.
const (
	testUser   = "anna"
	testPass   = "open sesame"
	testSecret = "a secret that only tests know"
)

func withAccount(c Config) Config {
	c.User, c.Pass, c.Secret, c.TokenLife = testUser, testPass, []byte(testSecret), time.Hour
	return c
}

// serveSite starts a site over a folder with the given files. A name that ends with
// a slash is a folder, a text "-> x" a link to x.
func serveSite(t testing.TB, c Config, files map[string]string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), clock: newClock()}
	for name, text := range files {
		f.put(name, text)
	}
	c.Root, c.now = f.dir, f.clock.now
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f.site = s
	load := s.cache.load
	s.cache.load = func(path string) (*entry, error) {
		if f.starved.Load() {
			return nil, &os.PathError{Op: "openat", Path: path, Err: unix.EMFILE}
		}
		return load(path)
	}
	t.Cleanup(func() { // behind listen's, so when no handler runs any more
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f.listen()
	f.dial()
	return f
}

// long is when the files of a fixture were last changed, if nothing else is said.
var long = time.Date(2020, time.May, 17, 12, 0, 0, 0, time.UTC)

func (f *fixture) put(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	if strings.HasSuffix(name, "/") {
		must(os.MkdirAll(path, 0o755))
		return
	}
	must(os.MkdirAll(filepath.Dir(path), 0o755))
	if to, link := strings.CutPrefix(text, "-> "); link {
		must(os.Symlink(to, path))
		return
	}
	must(os.WriteFile(path, []byte(text), 0o644))
	must(os.Chtimes(path, long, long))
}

// listen accepts connections until the test is over and serves each in a thread.
func (f *fixture) listen() {
	f.t.Helper()
	l, err := sock.Socket(unix.AF_INET)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, err := range []error{l.Bind(netip.MustParseAddrPort("127.0.0.1:0")), l.Listen(128)} {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	f.addr = l.Addr()
	cfg := &h1.Config{
		Handler: f.site.Handle, Log: panicLog{f.t},
		IdleTimeout: 10 * time.Second, HeaderTimeout: 10 * time.Second,
		BodyTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			s, err := l.Accept(0)
			if err != nil {
				return
			}
			all.Go(func() { serveConn(cfg, s) })
		}
	})
	f.t.Cleanup(func() {
		_ = f.conn.Close()
		_ = l.Shutdown()
		all.Wait()
		_ = l.Close()
	})
}

func serveConn(cfg *h1.Config, s sock.Conn) {
	c := cfg.NewWorker().Open(s)
	defer func() { _ = c.Close() }()
	for {
		var err error
		switch c.Want() {
		case h1.Read:
			err = c.Fill()
		case h1.Write:
			err = c.Flush()
		case h1.Close:
			return
		}
		if err != nil {
			return
		}
	}
}

// panicLog makes a handler's panic a failure of the test.
type panicLog struct{ t testing.TB }

func (panicLog) Log(*h1.Entry) {}

func (l panicLog) Panic(v any, stack []byte) { l.t.Errorf("the handler panicked: %v\n%s", v, stack) }

func (f *fixture) dial() {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr.String())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	if f.conn != nil {
		_ = f.conn.Close()
	}
	f.conn, f.in = conn, bufio.NewReader(conn)
}

// reply is a response as a client sees it.
type reply struct {
	Status int
	Fields []string // "Name: value", in order
	Body   string
}

// get returns the values of a field, joined by " | ".
func (r reply) get(name string) string {
	var values []string
	for _, line := range r.Fields {
		if n, v, _ := strings.Cut(line, ": "); strings.EqualFold(n, name) {
			values = append(values, v)
		}
	}
	return strings.Join(values, " | ")
}

// do sends a request on the fixture's connection and reads the response. lines are
// field lines; what follows an empty one is the body.
func (f *fixture) do(method, target string, lines ...string) reply {
	f.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: test\r\n", method, target)
	body := ""
	for i, line := range lines {
		if line == "" {
			body = strings.Join(lines[i+1:], "")
			fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
			break
		}
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n" + body)
	if _, err := io.WriteString(f.conn, b.String()); err != nil {
		f.t.Fatalf("%s %s: %v", method, target, err)
	}
	r, err := readReply(f.in, method)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, target, err)
	}
	if r.get("Connection") == "close" {
		f.dial()
	}
	return r
}

func (f *fixture) get(target string, lines ...string) reply {
	f.t.Helper()
	return f.do("GET", target, lines...)
}

func readReply(in *bufio.Reader, method string) (r reply, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return r, err
	}
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d ", &r.Status); err != nil {
		return r, fmt.Errorf("status line %q: %w", line, err)
	}
	for {
		if line, err = in.ReadString('\n'); err != nil {
			return r, err
		}
		if line = strings.TrimSuffix(line, "\r\n"); line == "" {
			break
		}
		r.Fields = append(r.Fields, line)
	}
	if method == "HEAD" || r.Status == 204 || r.Status == 304 {
		return r, nil
	}
	n, err := strconv.Atoi(r.get("Content-Length"))
	if err != nil {
		return r, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(in, body)
	r.Body = string(body)
	return r, err
}

// openFiles counts this process's descriptors of dir and what lies in it.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}
