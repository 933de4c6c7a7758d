//go:build !race

package site

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/h1"
	"fourways.example/common/sock"
)

// A pair is a connection with both of its ends. One goroutine uses both, and the client's
// end makes only system calls, so every allocation is one of the server.
type pair struct {
	conn   *h1.Conn
	client int
	buf    []byte
}

func newPair(tb testing.TB, s *Site) *pair {
	tb.Helper()
	l, err := sock.Socket(unix.AF_INET)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, err := range []error{l.Bind(netip.MustParseAddrPort("127.0.0.1:0")), l.NoDelay(), l.Listen(1)} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	addr := l.Addr()
	if err := unix.Connect(client, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		tb.Fatal(err)
	}
	accepted, err := l.Accept(0)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := &h1.Config{
		Handler: s.Handle, IdleTimeout: time.Minute, HeaderTimeout: time.Minute,
		BodyTimeout: time.Minute, WriteTimeout: time.Minute,
	}
	p := &pair{cfg.NewWorker().Open(accepted), client, make([]byte, 256<<10)}
	tb.Cleanup(func() {
		_ = p.conn.Close()
		_ = unix.Close(client)
	})
	return p
}

// exchange sends one request and reads the response. The response is valid until the next
// exchange.
func (p *pair) exchange(request []byte) ([]byte, error) {
	if _, err := unix.Write(p.client, request); err != nil {
		return nil, err
	}
	answered := false
	for !answered || p.conn.Want() == h1.Write {
		switch p.conn.Want() {
		case h1.Read:
			if err := p.conn.Fill(); err != nil {
				return nil, err
			}
		case h1.Write:
			answered = true
			if err := p.conn.Flush(); err != nil {
				return nil, err
			}
		case h1.Close:
			return nil, net.ErrClosed
		}
	}
	n, err := unix.Read(p.client, p.buf)
	return p.buf[:n], err
}

func request(lines ...string) []byte {
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// ordinary lists the header fields of a browser.
var ordinary = []string{
	"Host: localhost:8080",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	"Accept-Language: en,de;q=0.5",
	"Accept-Encoding: gzip, deflate, br",
	"Referer: http://localhost:8080/",
	"Cookie: theme=dark; session=0123456789abcdef; auth_jwt=not.a.token",
	"Connection: keep-alive",
}

// hot returns the requests that must not allocate, and the statuses of their responses that
// are not 200.
func hot(tb testing.TB) (s *Site, requests map[string][]byte, want map[string]string) {
	f := serveSite(tb, withAccount(Config{}), map[string]string{
		"index.html": "<h1>hello</h1>", "big.bin": big, "private/x.html": "<h1>secret</h1>",
	})
	tag := f.get("/index.html").get("ETag")
	token := f.token()
	all := func(line string, more ...string) []byte {
		return request(append(append([]string{line + " HTTP/1.1"}, ordinary...), more...)...)
	}
	requests = map[string][]byte{
		"small":       all("GET /index.html"),
		"index":       all("GET /"),
		"head":        all("HEAD /index.html"),
		"large":       all("GET /big.bin"),
		"range":       all("GET /big.bin", "Range: bytes=100-199"),
		"multipart":   all("GET /big.bin", "Range: bytes=0-9,100-199,-5"),
		"tag":         all("GET /index.html", "If-None-Match: "+tag),
		"date":        all("GET /index.html", "If-Modified-Since: Sun, 17 May 2020 12:00:00 GMT"),
		"private":     request("GET /private/x.html HTTP/1.1", "Host: x", "Cookie: a=b; auth_jwt="+token),
		"private 403": all("GET /private/x.html"),
		"healthz":     all("GET /healthz"),
		"echo":        []byte("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"),
		"loadavg":     all("GET /loadavg"),
		"meminfo":     all("GET /meminfo"),
		"video":       all("GET /api/video"),
		"server":      all("GET /api/server"),
		"no claims":   request("GET /api/login HTTP/1.1", "Host: x", "Cookie: a=b"),
		"claims":      request("GET /api/login HTTP/1.1", "Host: x", "Cookie: auth_jwt="+token),
		"options":     all("OPTIONS /"),
		"405":         all("DELETE /"),
	}
	want = map[string]string{
		"range": "206", "multipart": "206", "tag": "304", "date": "304", "private 403": "403", "options": "204", "405": "405",
	}
	f.clock.advance(2 * settled)
	return f.site, requests, want
}

// TestNoAllocations serves requests from memory and from open files. Neither the
// connection, nor the parser, nor the site may allocate memory for them.
func TestNoAllocations(t *testing.T) {
	s, requests, want := hot(t)
	for name, req := range requests {
		t.Run(name, func(t *testing.T) {
			// Verifying a token that is not valid allocates, and a request for /private
			// verifies its token. So this request gets a cookie that is not a token.
			if name == "private 403" {
				req = bytes.ReplaceAll(req, []byte("auth_jwt=not.a.token"), []byte("x=y"))
			}
			status := want[name]
			if status == "" {
				status = "200"
			}
			p := newPair(t, s)
			n := testing.AllocsPerRun(200, func() {
				reply, err := p.exchange(req)
				if err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 "+status)) {
					t.Fatalf("%.60q: %v", reply, err)
				}
			})
			if n != 0 {
				t.Errorf("%v allocations for a request, want none", n)
			}
		})
	}
}

func BenchmarkHandle(b *testing.B) {
	s, requests, _ := hot(b)
	for _, name := range []string{"small", "large", "range", "tag", "private", "private 403", "loadavg"} {
		b.Run(name, func(b *testing.B) {
			p := newPair(b, s)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.exchange(requests[name]); err != nil && err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
