package h1

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"fourways.example/common/sock"
	"fourways.example/common/stream"
	"golang.org/x/sys/unix"
)

// shortHead is a request head like that of a load generator, and longHead one like that of
// a browser.
const shortHead = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nA:\r\n\r\n"

var longHead = "GET /assets/app.7c1d2f.js?v=3 HTTP/1.1\r\nHost: www.example.org\r\nConnection: keep-alive\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
	"Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n" +
	"Referer: https://www.example.org/index.html\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n" +
	"Cookie: session=" + strings.Repeat("0123456789abcdef", 7) + "; theme=dark\r\n\r\n"

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"45", shortHead}, {"700", longHead}} {
		b.Run(c.name, func(b *testing.B) {
			var (
				in  stream.Buffer
				p   Parser
				req Request
			)
			b.SetBytes(int64(len(c.head)))
			b.ReportAllocs()
			r := bytes.NewReader(nil)
			head := []byte(c.head)
			for b.Loop() {
				r.Reset(head)
				if _, err := in.Fill(r); err != nil {
					b.Fatal(err)
				}
				p.Reset(&req, &in)
				if done, err := p.Parse(&in); !done || err != nil {
					b.Fatal(done, err)
				}
				in.Discard()
			}
		})
	}
}

func BenchmarkParseChunked(b *testing.B) {
	var (
		in  stream.Buffer
		p   Parser
		req Request
	)
	body := []byte(chunks(strings.Repeat("400\r\n"+strings.Repeat("x", 0x400)+"\r\n", 16) + "0\r\n\r\n"))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	r := bytes.NewReader(nil)
	for b.Loop() {
		r.Reset(body)
		p.Reset(&req, &in)
		for done := false; !done; {
			if _, err := in.Fill(r); err != nil {
				b.Fatal(err)
			}
			var err error
			if done, err = p.Parse(&in); err != nil {
				b.Fatal(err)
			}
		}
		in.Discard()
	}
}

// BenchmarkExchange measures one request and its response over a socketpair. The two system
// calls of the client are included.
func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct {
		name, head  string
		nonblocking bool
	}{
		{"45/blocking", shortHead, false},
		{"45/nonblocking", shortHead, true},
		{"700/blocking", longHead, false},
		{"700/nonblocking", longHead, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg := testConfig()
			cfg.Log = nil
			body := make([]byte, 1024)
			cfg.Handler = func(w *Response, _ *Request) { w.Bytes(body) }
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(fds[1])
			if err := unix.SetNonblock(fds[0], c.nonblocking); err != nil {
				b.Fatal(err)
			}
			conn := cfg.NewWorker().Open(sock.FromFD(fds[0], netip.AddrPort{}, c.nonblocking))
			defer conn.Close()
			b.ReportAllocs()
			head, answer := []byte(c.head), make([]byte, 4096)
			for b.Loop() {
				unix.Write(fds[1], head)
				conn.Ready()
				if err := conn.Fill(); err != nil {
					b.Fatal(err)
				}
				if err := conn.Flush(); err != nil {
					b.Fatal(err)
				}
				unix.Read(fds[1], answer)
			}
		})
	}
}
