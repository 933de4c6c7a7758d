// Package wire is the one HTTP client of the tests, written on the socket. It reads strictly and
// forgives nothing: net/http would hide what is to be seen here (a byte after the body, a
// second Content-Length, a reset). It also does to a request whatever a network or an attacker may do.
//
// The client does not know what kind of test has it in its hands; it reports to a [TB].
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

// A Client is one connection to a server, in the hands of a case. What goes wrong in its
// methods ends the case; those that return an error leave the judgement to the caller.
//
// Its methods are for the case's goroutine. SendLater alone works beside it.
type Client struct {
	T       TB
	Conn    *net.TCPConn
	R       *bufio.Reader // over Conn
	written atomic.Int64  // bytes that the kernel has taken
	sent    bytes.Buffer  // the last bytes sent, for messages
	waiting time.Duration
}

// A TB is told what goes wrong with a Client: a case, or whatever has one in its hands.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any) // ends the case
	WaitedInVain()                     // something did not happen in time
	Lenient() bool                     // any answer to a question of ours is a sign of life
}

// NewClient makes a connection a client that reads it through r.
func NewClient(t TB, conn *net.TCPConn, r io.Reader, waiting time.Duration) *Client {
	return &Client{T: t, Conn: conn, R: bufio.NewReader(r), waiting: waiting}
}

// Patience changes how long the client waits for an answer.
func (c *Client) Patience(d time.Duration) *Client {
	c.waiting = d
	return c
}

// Send writes all of it. A server that has refused may have gone already: what that means
// is seen by reading, so an error is no failure.
func (c *Client) Send(data string) *Client {
	c.note(data)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.waiting))
	c.Put(data)
	return c
}

// SendLater writes all of it beside the caller, for more bytes than the kernel may take while the
// server is waiting for its client to read. The channel is closed when all is sent.
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

// Put is Send without a note of it, and without a deadline of its own. It says whether all was taken.
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

// Request sends a whole request without a body, with a Host.
func (c *Client) Request(method, target string, fields ...string) *Client {
	return c.Send(Request(method, target, "", fields...))
}

// Post sends a request with a body of known length.
func (c *Client) Post(target, body string, fields ...string) *Client {
	return c.Send(Request("POST", target, body, fields...))
}

// Request makes a request; where there is a body, or POST, it has a Content-Length.
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

// TryRead reads the response to a request.
func (c *Client) TryRead(method string) (*Response, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	return ReadResponse(c.R, method, nil)
}

// Read reads the response to a GET or a POST.
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

// WantBody is Want with a body.
func (c *Client) WantBody(status int, body string) *Response {
	c.T.Helper()
	resp := c.Want(status)
	if string(resp.Body) != body {
		c.T.Fatalf("the body is %s, want %s%s", Quote(string(resp.Body)), Quote(body), c.About(nil))
	}
	return resp
}

// WantBodyOK reads the answer of /healthz.
func (c *Client) WantBodyOK() *Client {
	c.T.Helper()
	c.WantBody(200, "ok")
	return c
}

// Stream reads a response whose body is given to a function instead of being kept.
func (c *Client) Stream(body func(*Response, io.Reader) error) (*Response, error) {
	return ReadResponse(c.R, "GET", func(r *Response, in io.Reader) error {
		return body(r, &patientReader{c: c, in: in})
	})
}

// patientReader gives each read its own deadline: a slow case is not a stuck one.
type patientReader struct {
	c  *Client
	in io.Reader
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.c.Conn.SetReadDeadline(time.Now().Add(p.c.waiting))
	return p.in.Read(b)
}

// AwaitAnswer waits until a response has begun, and leaves it to be read.
func (c *Client) AwaitAnswer() {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	if _, err := c.R.Peek(1); err != nil {
		c.T.Fatalf("no response: %v%s", err, c.About(nil))
	}
}

// WantKept asks one more request of the connection, which also shows that no stray byte lay
// behind the responses before.
func (c *Client) WantKept() {
	c.T.Helper()
	resp, err := c.Request("GET", "/healthz").TryRead("GET")
	if c.T.Lenient() && resp != nil && (resp.Status == 200 || resp.Status == 404) {
		return // it is kept; whether that is a good answer is for the cases about it to say
	}
	if err != nil {
		c.T.Fatalf("the connection is not kept: %v%s", err, c.About(resp))
	}
	if resp.Status != 200 || string(resp.Body) != "ok" && strings.TrimSpace(string(resp.Body)) != "ok" {
		c.T.Fatalf("the next request on the connection is answered %v", resp)
	}
}

// WantContinue reads a 100, and sees that nothing follows it yet.
func (c *Client) WantContinue() {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	resp, problems, err := readHead(c.R)
	switch {
	case err != nil:
		c.T.Fatalf("no 100: %v%s", err, c.About(nil))
	case resp.Status != 100 || len(problems) > 0:
		c.T.Fatalf("answered %d, want 100 %s%s", resp.Status, strings.Join(problems, "; "), c.About(resp))
	}
	if !c.Silent() {
		c.T.Fatalf("more than a 100 before the body%s", c.About(nil))
	}
}

// WantEnd reads the end of the connection: in order, at once, with no byte before it.
func (c *Client) WantEnd() {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	rest := make([]byte, 512)
	n, err := c.R.Read(rest)
	switch {
	case n > 0:
		c.T.Fatalf("more bytes where the connection should end: %s%s", Quote(string(rest[:n])), c.About(nil))
	case !Closed(err):
		c.T.Fatalf("the connection does not end: %v%s", err, c.About(nil))
	}
}

// TryEnd waits for the end of the connection. Where bytes come instead they are returned, and left
// to be read.
func (c *Client) TryEnd() (rest []byte, err error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.waiting))
	_, err = c.R.Peek(1)
	rest, _ = c.R.Peek(c.R.Buffered())
	if Closed(err) {
		err = nil
	}
	return rest, err
}

// WantRefused reads a refusal: the status, Connection: close, and the end of the server's side.
func (c *Client) WantRefused(status int) *Response {
	c.T.Helper()
	resp := c.Want(status)
	if !resp.Has("Connection", "close") {
		c.T.Errorf("a refusal without Connection: close%s", c.About(resp))
	}
	c.WantEnd()
	return resp
}

// Silent says that nothing has been sent to the client, not even an end. What the server may do
// later is not its business: the caller knows that the server has had its chance.
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

// AllRead says that the server has read all that was sent, or that its socket is gone.
func (c *Client) AllRead() bool {
	end, err := kernel.ServerEnd(c.Conn)
	return err != nil || end.Unread == 0 && end.Received >= uint64(c.written.Load())
}

// AwaitRead waits until the server has read all that was sent: every byte has come in at its
// socket, and none is left there. (SIOCOUTQ would do only after the acknowledgement, which may
// be delayed by 40 ms.) It also returns when the server's socket is gone.
func (c *Client) AwaitRead() {
	c.T.Helper()
	if !kernel.Eventually(c.waiting, c.AllRead) {
		c.T.WaitedInVain()
		c.T.Fatalf("the server does not read what it is sent%s", c.About(nil))
	}
}

// AwaitFIN waits until the end of the server's side has reached this machine's kernel,
// unread responses or not.
func (c *Client) AwaitFIN() {
	c.T.Helper()
	if !kernel.Eventually(c.waiting, func() bool {
		state := c.info().State
		return state == unix.BPF_TCP_CLOSE_WAIT || state == unix.BPF_TCP_CLOSE || state == unix.BPF_TCP_LAST_ACK
	}) {
		c.T.WaitedInVain()
		c.T.Fatalf("the server does not end its side%s", c.About(nil))
	}
}

// Segments is how many segments with data the server has sent.
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

// Control gives the descriptor to f.
func (c *Client) Control(f func(fd int)) {
	raw, err := c.Conn.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// CloseWrite ends the client's sending side.
func (c *Client) CloseWrite() *Client {
	_ = c.Conn.CloseWrite()
	return c
}

// Close closes the connection. It may be called twice.
func (c *Client) Close() { _ = c.Conn.Close() }

// Reset closes the connection with a RST instead of a FIN.
func (c *Client) Reset() {
	_ = c.Conn.SetLinger(0)
	_ = c.Conn.Close()
}

// About says what was sent and what came back, for a message.
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

// Quote shortens what is long.
func Quote(s string) string {
	if len(s) <= 300 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes) …%q", s[:200], len(s), s[len(s)-40:])
}
