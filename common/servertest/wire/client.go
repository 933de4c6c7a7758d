// Package wire is the HTTP client of the tests, written directly on a TCP socket. It reads responses
// strictly: it reports a byte after the body, a second Content-Length or a reset, which net/http would
// hide. It can also send a request in pieces, slowly or incompletely, as a network or an attacker may.
//
// The client reports failures to a [TB], so every kind of test can use it.
package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// A Client is one connection to a server. A method that returns an error leaves it to the caller to
// fail; every other method ends the case when something goes wrong.
//
// Only the goroutine of the case may call the methods. SendLater and SendRandomly start a goroutine that
// writes while the case goes on.
type Client struct {
	T       TB
	Conn    *net.TCPConn
	R       *bufio.Reader // over Conn
	written atomic.Int64  // bytes that the kernel has taken
	sent    bytes.Buffer  // up to 1 KiB of the bytes sent last, for messages
	waiting time.Duration // how long to wait for the server, see Patience
}

// A TB is the case, or another kind of test, that uses a Client. The Client reports failures to it.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any) // ends the case
	WaitedInVain()                     // counts a wait that timed out
	Lenient() bool                     // whether the server only has to answer, correctly or not
	Tolerates(claim string) bool       // whether a breach of this claim does not matter, see ReadTolerantly
}

// NewClient returns a client on conn that reads from r, usually conn itself. It waits for the server for
// as long as waiting says.
func NewClient(t TB, conn *net.TCPConn, r io.Reader, waiting time.Duration) *Client {
	return &Client{T: t, Conn: conn, R: bufio.NewReader(r), waiting: waiting}
}

// Patience sets how long the client waits for the server.
func (c *Client) Patience(d time.Duration) *Client {
	c.waiting = d
	return c
}

// Send sends data. It ignores a write error: a server that has refused the request may have closed the
// connection already. The caller sees in the response whether the server was right to do so.
func (c *Client) Send(data string) *Client {
	c.note(data)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.waiting))
	c.Put(data)
	return c
}

// SendLater sends data in a goroutine of its own and closes the channel when it is done. It is for more
// bytes than the socket buffers hold: the server may read the rest only after the client has read.
func (c *Client) SendLater(data string) <-chan struct{} {
	c.note(data)
	done := make(chan struct{})
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.waiting))
	go func() {
		defer close(done)
		c.Put(data)
	}()
	return done
}

// Put sends data and reports whether the kernel has taken all of it. Unlike Send it sets no deadline and
// does not keep data for messages.
func (c *Client) Put(data string) bool {
	n, err := io.WriteString(c.Conn, data)
	c.written.Add(int64(n))
	return err == nil
}

func (c *Client) note(data string) {
	if c.sent.Len()+len(data) > 1024 {
		c.sent.Reset()
	}
	c.sent.WriteString(data[:min(len(data), 1024)])
}

// Request sends a complete request without a body. It adds a Host field.
func (c *Client) Request(method, target string, fields ...string) *Client {
	return c.Send(Request(method, target, "", fields...))
}

// Post sends a request with a body of known length.
func (c *Client) Post(target, body string, fields ...string) *Client {
	return c.Send(Request("POST", target, body, fields...))
}

// Request returns a complete request. It has a Content-Length if there is a body or the method is POST.
func Request(method, target, body string, fields ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, target)
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	if body != "" || method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

// TryRead reads the response to a request with the given method, strictly, and returns an error instead
// of ending the case.
func (c *Client) TryRead(method string) (*Response, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	return ReadTolerantly(c.R, method, nil, c.T.Tolerates)
}

// Read reads the response to a request that is not HEAD, strictly.
func (c *Client) Read() *Response {
	c.T.Helper()
	return c.ReadTo("GET")
}

// ReadTo reads the response to a request with the given method, strictly.
func (c *Client) ReadTo(method string) *Response {
	c.T.Helper()
	resp, err := c.TryRead(method)
	if err != nil {
		c.T.Fatalf("%v%s", err, c.About(resp))
	}
	return resp
}

// Want reads a response and compares its status.
func (c *Client) Want(status int) *Response {
	c.T.Helper()
	return c.WantTo("GET", status)
}

// WantTo is Want for a request with any method.
func (c *Client) WantTo(method string, status int) *Response {
	c.T.Helper()
	resp := c.ReadTo(method)
	if resp.Status != status {
		c.T.Fatalf("answered %d %s, want %d%s", resp.Status, resp.Reason, status, c.About(resp))
	}
	return resp
}

// WantBody reads a response and compares its status and its body.
func (c *Client) WantBody(status int, body string) *Response {
	c.T.Helper()
	resp := c.Want(status)
	if string(resp.Body) != body {
		c.T.Fatalf("the body is %s, want %s%s", Quote(string(resp.Body)), Quote(body), c.About(nil))
	}
	return resp
}

// WantBodyOK reads the response of /healthz and returns the client.
func (c *Client) WantBodyOK() *Client {
	c.T.Helper()
	c.WantBody(200, "ok")
	return c
}

// Stream reads a response and passes its body to a function instead of keeping it.
func (c *Client) Stream(body func(*Response, io.Reader) error) (*Response, error) {
	return ReadTolerantly(c.R, "GET", func(r *Response, in io.Reader) error {
		return body(r, &patientReader{c: c, in: in})
	}, c.T.Tolerates)
}

// patientReader gives each read a deadline of its own, so that a long response does not time out as long
// as bytes arrive.
type patientReader struct {
	c  *Client
	in io.Reader
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.c.Conn.SetReadDeadline(time.Now().Add(p.c.waiting))
	return p.in.Read(b)
}

// AwaitAnswer waits for the first byte of a response and leaves the response to be read.
// It must not ask for more: the whole answer of a small server may be 20 bytes long.
func (c *Client) AwaitAnswer() {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	if _, err := c.R.Peek(1); err != nil {
		c.T.Fatalf("no response: %v%s", err, c.About(nil))
	}
}

// WantKept checks that the connection is kept alive: it sends one more request and reads the response.
// That also finds stray bytes after the responses before.
func (c *Client) WantKept() {
	c.T.Helper()
	resp, err := c.Request("GET", "/healthz").TryRead("GET")
	if c.T.Lenient() && resp != nil && (resp.Status == 200 || resp.Status == 404) {
		return // the connection is kept alive; other cases check the response of /healthz
	}
	if err != nil {
		c.T.Fatalf("the connection is not kept alive: %v%s", err, c.About(resp))
	}
	if resp.Status != 200 || string(resp.Body) != "ok" && strings.TrimSpace(string(resp.Body)) != "ok" {
		c.T.Fatalf("the next request on the connection is answered %v", resp)
	}
}

// WantContinue reads a 100 and checks that no other byte has arrived after it.
func (c *Client) WantContinue() {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	resp, problems, err := readHead(c.R, c.T.Tolerates)
	switch {
	case err != nil:
		c.T.Fatalf("no 100 response: %v%s", err, c.About(nil))
	case resp.Status != 100 || len(problems) > 0:
		c.T.Fatalf("answered %d, want 100 %s%s", resp.Status, strings.Join(problems, "; "), c.About(resp))
	}
	if !c.Silent() {
		c.T.Fatalf("more than the 100 comes before the body is sent%s", c.About(nil))
	}
}

// WantEnd checks that the server ends the connection with a FIN and sends no byte before it.
func (c *Client) WantEnd() {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	rest := make([]byte, 512)
	n, err := c.R.Read(rest)
	switch {
	case n > 0:
		c.T.Fatalf("more bytes instead of the end of the connection: %s%s", Quote(string(rest[:n])), c.About(nil))
	case !Closed(err):
		c.T.Fatalf("the connection does not end: %v%s", err, c.About(nil))
	}
}

// TryEnd waits for the end of the connection. If bytes come instead, TryEnd returns them and leaves them to
// be read.
func (c *Client) TryEnd() (rest []byte, err error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	_, err = c.R.Peek(1)
	rest, _ = c.R.Peek(c.R.Buffered())
	if Closed(err) {
		err = nil
	}
	return rest, err
}

// WantRefused checks that the request is refused: a response with this status and Connection: close,
// and then the end of the connection.
func (c *Client) WantRefused(status int) *Response {
	c.T.Helper()
	resp := c.Want(status)
	if !resp.Has("Connection", "close") {
		c.T.Errorf("the request is refused without Connection: close%s", c.About(resp))
	}
	c.WantEnd()
	return resp
}

// Silent reports whether the client has read everything that has arrived, and the server has not closed the
// connection. It does not wait: the caller makes sure that the server has had time to answer.
func (c *Client) Silent() bool {
	if c.R.Buffered() > 0 {
		return false
	}
	silent := true
	c.Control(func(fd int) {
		var b [1]byte
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		silent = n <= 0 && err == unix.EAGAIN
	})
	return silent
}

// AllRead reports whether the server has read all bytes that were sent, or its socket is gone.
func (c *Client) AllRead() bool { return kernel.AllRead(c.Conn, c.written.Load()) }

// AwaitRead waits until the server has read all bytes that were sent, or its socket is gone. It looks
// at the server's socket: SIOCOUTQ at the client's waits for the acknowledgement, which may be delayed by
// 40 ms.
func (c *Client) AwaitRead() {
	c.T.Helper()
	if !kernel.Eventually(c.waiting, c.AllRead) {
		c.T.WaitedInVain()
		c.T.Fatalf("the server does not read all that is sent%s", c.About(nil))
	}
}

// AwaitFIN waits until the server's FIN has arrived. It does not matter whether the client has read the
// responses before it.
func (c *Client) AwaitFIN() {
	c.T.Helper()
	if !kernel.Eventually(c.waiting, func() bool {
		state := c.info().State
		return state == unix.BPF_TCP_CLOSE_WAIT || state == unix.BPF_TCP_CLOSE || state == unix.BPF_TCP_LAST_ACK
	}) {
		c.T.WaitedInVain()
		c.T.Fatalf("the server sends no FIN%s", c.About(nil))
	}
}

// Segments returns how many TCP segments with data have arrived.
func (c *Client) Segments() int { return int(c.info().Data_segs_in) }

func (c *Client) info() *unix.TCPInfo {
	info := &unix.TCPInfo{}
	c.Control(func(fd int) {
		if i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info = i
		}
	})
	return info
}

// Control calls f with the descriptor of the connection.
func (c *Client) Control(f func(fd int)) {
	raw, err := c.Conn.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// CloseWrite shuts down the client's sending side.
func (c *Client) CloseWrite() *Client {
	_ = c.Conn.CloseWrite()
	return c
}

// Close closes the connection. A second call does nothing.
func (c *Client) Close() { _ = c.Conn.Close() }

// Reset closes the connection with a RST instead of a FIN.
func (c *Client) Reset() {
	_ = c.Conn.SetLinger(0)
	_ = c.Conn.Close()
}

// About describes for a message what was sent and, if resp is not nil, the response.
func (c *Client) About(resp *Response) string {
	var b strings.Builder
	if c.sent.Len() > 0 {
		fmt.Fprintf(&b, "\n\tsent: %s", Quote(c.sent.String()))
	}
	if resp != nil {
		fmt.Fprintf(&b, "\n\tgot:  %v", resp)
		if len(resp.Body) > 0 && len(resp.Body) < 200 {
			fmt.Fprintf(&b, ": %q", resp.Body)
		}
	}
	return b.String()
}

// Quote quotes s, and shortens it if it is longer than 300 bytes.
func Quote(s string) string {
	if len(s) <= 300 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes) …%q", s[:200], len(s), s[len(s)-40:])
}
