package h1_test

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"fourways.example/common/h1"
	"fourways.example/common/sock"
	"fourways.example/common/stream"
	"golang.org/x/sys/unix"
)

// If the parser needs more bytes, Parse returns false and no error. The next call
// continues at the byte where the parser stopped.
func ExampleParser() {
	var (
		in  stream.Buffer
		p   h1.Parser
		req h1.Request
	)
	p.Reset(&req, &in)
	for _, piece := range []string{"PO", "ST /a%20b HTTP/1.1\r\nHo", "st: example.org\r\nContent-Length: 5\r\n\r\nhel", "lo"} {
		in.Fill(strings.NewReader(piece))
		done, err := p.Parse(&in)
		fmt.Printf("%d bytes: done %v, %v\n", in.End(), done, err)
	}
	fmt.Printf("%v %s: %s\n", req.Method, req.Path, req.Body)
	// Output:
	// 2 bytes: done false, <nil>
	// 24 bytes: done false, <nil>
	// 65 bytes: done false, <nil>
	// 67 bytes: done true, <nil>
	// POST /a b: hello
}

// If the parser refuses a request, the error contains the status code of the answer.
func ExampleError() {
	var (
		in  stream.Buffer
		p   h1.Parser
		req h1.Request
	)
	p.Reset(&req, &in)
	in.Fill(strings.NewReader("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"))
	_, err := p.Parse(&in)
	fmt.Println(err)
	fmt.Println(err.(*h1.Error).Status)
	// Output:
	// h1: Bad Request: the request has both Content-Length and Transfer-Encoding
	// 400
}

// A server runs this loop for each connection. On a blocking socket, Fill and Flush wait for
// the client.
func ExampleConn() {
	cfg := &h1.Config{
		Handler: func(w *h1.Response, r *h1.Request) {
			w.Field("Content-Type", "text/plain")
			w.Built(fmt.Appendf(w.Build(), "you asked for %s", r.Path))
		},
		IdleTimeout: time.Second, HeaderTimeout: time.Second, BodyTimeout: time.Second, WriteTimeout: time.Second,
	}
	fds, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	unix.Write(fds[1], []byte("GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.0\r\n\r\n"))

	c := cfg.NewWorker().Open(sock.FromFD(fds[0], netip.AddrPort{}, false))
	for c.Want() != h1.Close {
		var err error
		if c.Want() == h1.Read {
			err = c.Fill()
		} else {
			err = c.Flush()
		}
		if err != nil {
			fmt.Println(err)
			break
		}
	}
	c.Close()

	client := os.NewFile(uintptr(fds[1]), "client")
	answers, _ := io.ReadAll(client)
	client.Close()
	for line := range strings.Lines(string(answers)) {
		if !strings.HasPrefix(line, "Date:") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// HTTP/1.1 200 OK
	// Content-Length: 18
	// Content-Type: text/plain
	//
	// you asked for /oneHTTP/1.1 200 OK
	// Connection: close
	// Content-Length: 18
	// Content-Type: text/plain
	//
	// you asked for /two
}
