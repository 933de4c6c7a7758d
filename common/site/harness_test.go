package site

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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

// A testClock starts at the real time and stands still. Only advance moves it.
type testClock struct {
	start time.Time
	added atomic.Int64
}

func newClock() *testClock { return &testClock{start: time.Now()} }

func (c *testClock) now() time.Time          { return c.start.Add(time.Duration(c.added.Load())) }
func (c *testClock) advance(d time.Duration) { c.added.Add(int64(d)) }

// A fixture is a site with a listening socket and a client connection.
type fixture struct {
	t     testing.TB
	site  *Site
	dir   string
	clock *testClock
	addr  netip.AddrPort
	conn  net.Conn      // the connection that do uses
	in    *bufio.Reader // reads from conn
	// starved makes every open of a file fail as if there were no descriptors left.
	starved atomic.Bool
}

// The account of the tests.
const (
	testUser   = "anna"
	testPass   = "open sesame"
	testSecret = "a secret that only tests know"
)

func withAccount(c Config) Config {
	c.User, c.Pass, c.Secret, c.TokenLife = testUser, testPass, []byte(testSecret), time.Hour
	return c
}

// serveSite starts a site that serves a new folder with the given files. The keys of files
// are names, the values contents. A name that ends with a slash is a folder. The content
// "-> x" makes a link to x.
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
	t.Cleanup(func() { // runs after the cleanup of listen, when no handler is running
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f.listen()
	f.dial()
	return f
}

// longAgo is the modification time of the files of a fixture.
var longAgo = time.Date(2020, time.May, 17, 12, 0, 0, 0, time.UTC)

// put creates a file, a folder or a link, as in serveSite.
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
	must(os.Chtimes(path, longAgo, longAgo))
}

// listen accepts connections until the test ends. It serves each in a goroutine.
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
		Handler: f.site.Handle, Early: f.site.Early, Log: panicLog{f.t},
		IdleTimeout: 10 * time.Second, HeaderTimeout: 10 * time.Second,
		BodyTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, TierTimeout: 10 * time.Second,
	}
	if f.site.book == nil {
		cfg.Tier = testTier
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

// A panicLog fails the test if a handler panics.
type panicLog struct{ t testing.TB }

func (panicLog) Log(*h1.Entry) {}

func (l panicLog) Panic(v any, stack []byte) { l.t.Errorf("the handler panicked: %v\n%s", v, stack) }

// dial replaces the connection of f with a new one.
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

// A reply is a response as a client receives it.
type reply struct {
	Status int
	Fields []string // "Name: value", in the order of arrival
	Body   string
}

// get returns the values of all fields with the given name, joined by " | ".
func (r reply) get(name string) string {
	var values []string
	for _, line := range r.Fields {
		if n, v, _ := strings.Cut(line, ": "); strings.EqualFold(n, name) {
			values = append(values, v)
		}
	}
	return strings.Join(values, " | ")
}

// undated returns the reply without its Date, which may change between two requests.
func (r reply) undated() reply {
	r.Fields = slices.DeleteFunc(slices.Clone(r.Fields), func(line string) bool { return strings.HasPrefix(line, "Date: ") })
	return r
}

// do sends a request on the connection of f and reads the response. lines are field lines.
// If one of them is empty, the lines after it are the body.
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
	if method == "HEAD" || r.Status < 200 || r.Status == 204 || r.Status == 304 {
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

// openFiles returns how many descriptors of this process are open for dir and for the files
// in it.
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
