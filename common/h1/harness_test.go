package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// both runs a test with a blocking and with a non-blocking connection.
func both(t *testing.T, test func(t *testing.T, nonblocking bool)) {
	t.Run("blocking", func(t *testing.T) { test(t, false) })
	t.Run("nonblocking", func(t *testing.T) { test(t, true) })
}

// journal is a Logger that keeps the entries as text.
type journal struct {
	mu      sync.Mutex
	entries []string
	panics  []string
}

func (j *journal) Log(e *Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := fmt.Sprintf("%s %s %s %d", e.Method, e.Target, e.Version, e.Status)
	if e.Cut {
		line += " cut"
	}
	if e.Took < 0 || e.Took > time.Hour || time.Since(e.Time) > time.Hour || e.Bytes <= 0 && !e.Cut {
		line += fmt.Sprintf(" took %v at %v, %d bytes", e.Took, e.Time, e.Bytes)
	}
	j.entries = append(j.entries, line)
}

func (j *journal) Panic(value any, stack []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.panics = append(j.panics, fmt.Sprint(value))
	if !bytes.Contains(stack, []byte("harness_test.go")) {
		j.panics = append(j.panics, "the stack does not show the handler")
	}
}

// testConfig returns a Config with time-outs that no test reaches by accident.
func testConfig() *Config {
	return &Config{
		Handler: echo, Log: new(journal),
		IdleTimeout: time.Minute, HeaderTimeout: time.Minute, BodyTimeout: time.Minute, WriteTimeout: time.Minute,
	}
}

// echo responds with the method, the path and the body of the request. Some paths change the
// response.
func echo(w *Response, r *Request) {
	switch string(r.Path) {
	case "/204":
		w.Status = 204
		w.Bytes([]byte("dropped"))
		return
	case "/304":
		w.Status = 304
		w.Bytes([]byte("dropped"))
		return
	case "/panic":
		w.Field("X-Lost", "1")
		w.Bytes([]byte("lost"))
		panic("on purpose")
	case "/close":
		w.Close()
	}
	w.Field("Content-Type", "text/plain")
	b := w.Build()
	b = fmt.Appendf(b, "%v %s", r.Method, r.Path)
	if r.Body != nil {
		b = append(append(b, ' '), r.Body...)
	}
	w.Built(b)
}

// setup holds what the connections of a test share.
type setup struct {
	t           testing.TB
	cfg         *Config
	worker      *Worker
	nonblocking bool
	sendBuffer  int
}

func newSetup(t testing.TB, nonblocking bool) *setup {
	cfg := testConfig()
	return &setup{t: t, cfg: cfg, worker: cfg.NewWorker(), nonblocking: nonblocking}
}

func (s *setup) journal() *journal { return s.cfg.Log.(*journal) }

// pair returns a connection over a socketpair(2), and its client.
func (s *setup) pair() (*Conn, *client) {
	s.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.nonblocking {
		if err := unix.SetNonblock(fds[0], false); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.sendBuffer > 0 {
		if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, s.sendBuffer); err != nil {
			s.t.Fatal(err)
		}
	}
	peer := netip.MustParseAddrPort("192.0.2.1:1234")
	c := s.worker.Open(sock.FromFD(fds[0], peer, s.nonblocking))
	return &c, s.client(fds[1])
}

// tcp is like pair, but over TCP on the loopback interface, where the kernel counts the
// acknowledged bytes. The client has a small receive buffer.
func (s *setup) tcp(sendTimeout time.Duration) (*Conn, *client) {
	s.t.Helper()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	l, err := sock.Socket(unix.AF_INET)
	must(err)
	defer l.Close()
	must(l.NoDelay())
	must(l.OOBInline())
	must(l.SendTimeout(sendTimeout))
	must(l.Bind(netip.MustParseAddrPort("127.0.0.1:0")))
	must(l.Listen(1))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096))
	must(unix.Connect(fd, &unix.SockaddrInet4{Port: int(l.Addr().Port()), Addr: l.Addr().Addr().As4()}))
	must(unix.SetNonblock(fd, true))
	flags := 0
	if s.nonblocking {
		flags = unix.SOCK_NONBLOCK
	}
	accepted, err := l.Accept(flags)
	must(err)
	c := s.worker.Open(accepted)
	return &c, s.client(fd)
}

// client is the client's end of a connection. It has a deadline, so that no test hangs.
type client struct {
	net.Conn
	t testing.TB
}

func (s *setup) client(fd int) *client {
	s.t.Helper()
	f := os.NewFile(uintptr(fd), "client")
	c, err := net.FileConn(f)
	if err != nil {
		s.t.Fatal(err)
	}
	f.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	s.t.Cleanup(func() { c.Close() })
	return &client{c, s.t}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("the client cannot send: %v", err)
	}
}

// endSending is shutdown(2) with SHUT_WR.
func (c *client) endSending() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// here returns the bytes that have arrived already, without waiting. At the end of the stream
// it returns "".
func (c *client) here() string {
	c.t.Helper()
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}
	p := make([]byte, 1<<20)
	n := 0
	raw.Read(func(fd uintptr) bool {
		n, _ = unix.Read(int(fd), p)
		return true
	})
	return string(p[:max(0, n)])
}

// all reads to the end of the stream.
func (c *client) all() string {
	c.t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		c.t.Fatalf("the client reads %d bytes, %.1000q, and then %v", len(b), b, err)
	}
	return string(b)
}

// serve is the function serve of all stages.
func serve(c *Conn) error {
	for {
		var err error
		switch c.Want() {
		case Read:
			err = c.Fill()
		case Write:
			err = c.Flush()
		case Close:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// drive serves a connection until it is over, and closes it. It waits as stages 1 to 3 do if
// the connection is blocking, and as stage 4 does if not. As stage 4, it also waits for an event when the budget
// is used up.
func drive(c *Conn) error {
	defer c.Close()
	for {
		err := serve(c)
		if err == sock.ErrAgain || err == ErrBudget && c.sock.Nonblocking() {
			_, at := c.Deadline()
			events := int16(unix.POLLIN)
			if c.Want() == Write {
				events = unix.POLLOUT
			}
			n, err := sock.Poll([]unix.PollFd{{Fd: int32(c.FD()), Events: events}}, max(0, time.Until(at)))
			if err != nil {
				return err
			}
			if c.Ready(); n == 0 {
				c.Expire()
			}
		} else if err != ErrBudget {
			return err
		}
		if err == ErrBudget {
			c.SetBudget(1)
		}
	}
}

// background calls drive on another goroutine. The channel delivers the result.
func background(c *Conn) <-chan error {
	done := make(chan error, 1)
	go func() { done <- drive(c) }()
	return done
}

// answer is one response as the client has parsed it.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// answers parses all responses in text, to the last byte. methods are the methods of the
// requests, in order. A request without one is a GET.
func answers(t testing.TB, text string, methods ...string) (all []answer) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader([]byte(text)))
	for {
		if _, err := r.Peek(1); err == io.EOF {
			return all
		}
		method := "GET"
		if n := len(all); n < len(methods) {
			method = methods[n]
		}
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("answer %d of %q: %v", len(all), text, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("body of answer %d: %v", len(all), err)
		}
		hasLength := res.Header.Get("Content-Length") != ""
		if no := res.StatusCode == 204 || res.StatusCode == 304 || res.StatusCode < 200; hasLength == no {
			t.Errorf("answer %d, with Content-Length: %v", res.StatusCode, hasLength)
		}
		if _, err := http.ParseTime(res.Header.Get("Date")); err != nil && res.StatusCode >= 200 {
			t.Errorf("answer %d: Date: %v", res.StatusCode, err)
		}
		if res.Close { // net/http has removed the field
			res.Header.Set("Connection", "close")
		}
		all = append(all, answer{res.StatusCode, res.Header, string(body)})
	}
}

// wantAnswers compares the status and the body of each answer.
func wantAnswers(t testing.TB, got []answer, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d answers %q, want %d: %q", len(got), got, len(want), want)
		return
	}
	for i := range got {
		if got[i].String() != want[i] {
			t.Errorf("answer %d: %q, want %q", i, got[i], want[i])
		}
	}
}

// counted is a File that counts how often it is released.
type counted struct {
	f        *os.File
	released int
}

func (c *counted) FD() int  { return int(c.f.Fd()) }
func (c *counted) Release() { c.released++ }

// newFile makes a file with these bytes.
func newFile(t testing.TB, data []byte) *counted {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return &counted{f: f}
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

const lastRequest = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
