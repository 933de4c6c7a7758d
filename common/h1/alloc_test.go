//go:build !race

package h1_test

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fourways.example/common/accesslog"
	"fourways.example/common/h1"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// file is an h1.File like an entry in the cache of a site.
type file struct {
	f     *os.File
	lines []byte
}

func (f *file) FD() int  { return int(f.f.Fd()) }
func (f *file) Release() {}

func (f *file) size() int64 { return 1024 }

// request has eight fields, two cookies among them.
const request = " HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
	"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\n" +
	"Connection: keep-alive\r\nCookie: theme=dark; auth_jwt=eyJhbGciOiJIUzI1NiJ9.e30.x\r\nIf-None-Match: \"x\"\r\n"

// TestRequestsDoNotAllocate serves files, small answers and bodies, with the access log on,
// on blocking and non-blocking sockets. No request may allocate memory.
func TestRequestsDoNotAllocate(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1024); err != nil {
		t.Fatal(err)
	}
	cached := &file{f, []byte("Content-Type: text/html; charset=utf-8\r\nETag: \"y\"\r\n")}
	handler := func(w *h1.Response, r *h1.Request) {
		if _, ok := r.Get("If-None-Match"); !ok {
			panic("the request has no If-None-Match field")
		}
		cookies := 0
		for v := range r.Values("cookie") {
			cookies += len(v)
		}
		switch string(r.Path) {
		case "/file name":
			w.RawFields(cached.lines)
			w.File(cached, 0, cached.size())
		case "/memory":
			w.RawFields(cached.lines)
			w.Bytes(cached.lines)
		case "/api":
			w.Field("Content-Type", "application/json")
			b := append(w.Build(), `{"cookies":`...)
			b = strconv.AppendInt(b, int64(cookies), 10)
			w.Built(append(b, '}'))
		case "/echo":
			w.FieldBytes("Content-Type", []byte("text/plain"))
			w.Bytes(r.Body)
		case "/error":
			w.Error(404, "not here")
		}
	}
	for _, c := range []struct{ name, text string }{
		{"file", "GET /file%20name?query" + request + "\r\n"},
		{"memory", "GET /memory" + request + "\r\n"},
		{"HEAD", "HEAD /file%20name" + request + "\r\n"},
		{"API", "GET /api" + request + "\r\n"},
		{"body", "POST /echo" + request + "Content-Length: 5\r\n\r\nhello"},
		{"chunked body", "POST /echo" + request + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"100 Continue", "POST /echo" + request + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n¶hello"},
		{"error", "GET /error" + request + "\r\n"},
		{"unknown method", "BREW /" + request + "\r\n"},
		{"absolute form", "GET http://[2001:db8::1]/api" + request + "\r\n"},
	} {
		for _, nonblocking := range []bool{false, true} {
			mode := " blocking"
			if nonblocking {
				mode = " nonblocking"
			}
			t.Run(c.name+mode, func(t *testing.T) {
				out := accesslog.NewOutput(io.Discard)
				defer accesslog.Close(time.Second, out)
				log := accesslog.New(out, out)
				cfg := &h1.Config{
					Handler: handler, Log: log,
					IdleTimeout: time.Minute, HeaderTimeout: time.Minute, BodyTimeout: time.Minute, WriteTimeout: time.Minute,
				}
				conn, client := pair(t, cfg, nonblocking)
				pieces := [][]byte{}
				for piece := range strings.SplitSeq(c.text, "¶") {
					pieces = append(pieces, []byte(piece))
				}
				answer := make([]byte, 8192)
				got := 0
				once := func() {
					for _, piece := range pieces {
						if n, err := unix.Write(client, piece); n != len(piece) {
							t.Fatal(n, err)
						}
						conn.Ready()
						for begun := false; !begun || conn.Want() != h1.Read; begun = true {
							var err error
							if conn.Want() == h1.Read {
								err = conn.Fill()
							} else {
								err = conn.Flush()
							}
							if err != nil {
								t.Fatal(err)
							}
						}
						if nonblocking { // an event loop reads until nothing is left
							if err := conn.Fill(); err != sock.ErrAgain {
								t.Fatal(err)
							}
						}
					}
					n, err := unix.Read(client, answer)
					if err != nil {
						t.Fatal(err)
					}
					got = n
				}
				if n := testing.AllocsPerRun(200, once); n != 0 {
					t.Errorf("%v allocations for each request, want none", n)
				}
				if !strings.HasPrefix(string(answer[:got]), "HTTP/1.1 ") {
					t.Errorf("got %q, want an HTTP response", answer[:got])
				}
			})
		}
	}
}

// pair returns a connection over a socketpair and the descriptor of the client's end.
func pair(t testing.TB, cfg *h1.Config, nonblocking bool) (*h1.Conn, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], nonblocking); err != nil {
		t.Fatal(err)
	}
	conn := cfg.NewWorker().Open(sock.FromFD(fds[0], netip.MustParseAddrPort("[2001:db8::2]:1234"), nonblocking))
	t.Cleanup(func() {
		conn.Close()
		unix.Close(fds[1])
	})
	return &conn, fds[1]
}
