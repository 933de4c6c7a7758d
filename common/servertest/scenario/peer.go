package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// A Peer is one client of a scenario: a connection whose every step goes into the transcript. A Peer's
// waits have no fixed time-out. A wait ends when bytes arrive, when the connection ends, or when a Watch
// finds that no bytes will come.
type Peer struct {
	Name string // A, B, …

	s       *S
	Conn    *net.TCPConn  // nil if the connection was refused
	client  *wire.Client  // the same connection, read through peerReader
	atLeast time.Duration // the minimum time to wait for bytes

	got   []byte // the first keepBytes bytes received
	total int64  // bytes received
}

// keepBytes bounds the received bytes that a transcript keeps for each client.
const keepBytes = 256 << 10

// Errors with which a Peer's wait can end.
var (
	ErrSilent = errors.New("nothing")
	errSpins  = errors.New("nothing, while the server keeps a CPU busy")
)

var errNotConnected = errors.New("not connected")

// Connect opens a connection. If the server refuses it, the peer's next read reports that.
func (s *S) Connect(name string) *Peer { return s.ConnectWith(name, process.DialOptions{}) }

// ConnectWith is like Connect, with options.
func (s *S) ConnectWith(name string, o process.DialOptions) *Peer {
	what := ""
	if o.IPv6 {
		what = " by IPv6"
	}
	if o.RecvBuf > 0 {
		what += fmt.Sprintf(", with a receive buffer of %d bytes", o.RecvBuf)
	}
	s.Step("%s connects%s", name, what)
	p := s.Join(name, o)
	if p.Conn == nil {
		s.Saw("refused")
	} else {
		s.Saw("connected")
	}
	return p
}

// Crowd opens n connections in one step of the transcript.
func (s *S) Crowd(name string, n int, o process.DialOptions) []*Peer {
	s.Step("%d clients connect: %s1 to %s%d", n, name, name, n)
	var all []*Peer
	in := 0
	for i := range n {
		p := s.Join(fmt.Sprintf("%s%d", name, i+1), o)
		all = append(all, p)
		if p.Conn != nil {
			in++
		}
	}
	if in == n {
		s.Saw("connected")
	} else {
		s.Saw("%d connected", in)
	}
	return all
}

// Join is like ConnectWith, but adds no step to the transcript.
func (s *S) Join(name string, o process.DialOptions) *Peer {
	p := &Peer{Name: name, s: s}
	conn, err := s.Server.Dial(o)
	if err == nil {
		p.Conn = conn
		p.client = wire.NewClient(s, conn, (*peerReader)(p), s.patience())
		s.OnEnd(p.Abandon)
	}
	s.peers = append(s.peers, p)
	return p
}

// Abandon is like Close, but adds no step to the transcript.
func (p *Peer) Abandon() {
	if p.Conn != nil {
		_ = p.Conn.Close()
	}
}

// AtLeast sets the minimum time that the peer waits before it decides that nothing will come. A scenario
// needs it if the server acts only when one of its time-outs ends.
func (p *Peer) AtLeast(d time.Duration) *Peer {
	p.atLeast = d
	return p
}

// Client returns the peer's wire.Client, whose methods add no steps to the transcript.
func (p *Peer) Client() *wire.Client {
	if p.Conn == nil {
		p.s.Fatalf("%s is not connected", p.Name)
	}
	return p.client
}

// Send writes data in one call. what describes it in the transcript.
func (p *Peer) Send(what, data string) *Peer {
	p.s.Step("%s sends %s", p.Name, what)
	p.Put(data)
	return p
}

// SendLater writes data in a goroutine, for more bytes than the socket buffers hold. It closes the channel when
// everything is sent or a write fails.
func (p *Peer) SendLater(what, data string) <-chan struct{} {
	p.s.Step("%s sends %s", p.Name, what)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Put(data)
	}()
	return done
}

// Put is like Send, but adds no step to the transcript. It ignores errors: if the server has closed the
// connection, the next read reports that.
func (p *Peer) Put(data string) {
	if p.Conn == nil {
		return
	}
	_ = p.Conn.SetWriteDeadline(time.Now().Add(2 * process.Patience))
	p.client.Put(data)
}

// SendPieces sends data in several segments, cut at the given positions. It sends each only after the server has
// read the previous one, so that the server's recv(2) gets the same pieces. If the server stops reading,
// SendPieces sends the rest anyway.
func (p *Peer) SendPieces(what, data string, cuts ...int) *Peer {
	p.s.Step("%s sends %s", p.Name, what)
	from := 0
	for _, to := range append(cuts, len(data)) {
		p.Put(data[from:to])
		from = to
		p.AwaitRead()
	}
	return p
}

// Drip sends data one byte at a time. It stops when the server has responded before the last byte.
func (p *Peer) Drip(what, data string) *Peer {
	p.s.Step("%s sends %s", p.Name, what)
	for i := range len(data) {
		p.Put(data[i : i+1])
		p.AwaitRead()
		if i < len(data)-1 && !p.Silent() {
			break
		}
	}
	return p
}

// Silent reports whether nothing has arrived, neither bytes nor the end of the connection.
func (p *Peer) Silent() bool {
	return p.Conn != nil && p.client.Silent()
}

// AwaitRead waits until the server has read all bytes sent, and reports whether it has.
func (p *Peer) AwaitRead() bool {
	if p.Conn == nil {
		return false
	}
	read := false
	w := p.s.Watch(0)
	for !read {
		read = p.client.AllRead()
		if !read && w.Tick() != nil {
			return false
		}
	}
	return true
}

// peerReader reads for a Peer, keeps the bytes read, and gives up when a Watch finds that nothing will come.
type peerReader Peer

func (p *peerReader) Read(b []byte) (int, error) {
	w := p.s.Watch(p.atLeast)
	for {
		_ = p.Conn.SetReadDeadline(time.Now().Add(tickTime))
		n, err := p.Conn.Read(b)
		p.got = append(p.got, b[:min(n, keepBytes-len(p.got))]...)
		p.total += int64(n)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := w.look(); err != nil {
			return 0, err
		}
	}
}

// Answer reads the response to a GET. resp is nil if no complete response arrives.
func (p *Peer) Answer() (resp *wire.Response, err error) { return p.AnswerTo("GET") }

// AnswerTo is like Answer, for a request with another method.
func (p *Peer) AnswerTo(method string) (resp *wire.Response, err error) {
	p.s.Step("%s reads the response", p.Name)
	resp, err = p.Take(method)
	saw := InWords(resp, err)
	if bad := new(wire.Malformed); err != nil && resp != nil && len(resp.Body) > 0 && !errors.As(err, &bad) {
		saw = fmt.Sprintf("%d %s and a part of the body, then %s", resp.Status, resp.Reason, saw)
	}
	p.s.Saw("%s", saw)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Take is like AnswerTo, but adds no step to the transcript.
func (p *Peer) Take(method string) (*wire.Response, error) {
	if p.Conn == nil {
		return nil, errNotConnected
	}
	return p.client.TryRead(method)
}

// Answers reads up to n responses, and calls check for each unless check is nil. It stops at the first error,
// and returns the number of responses before it.
func (p *Peer) Answers(n int, check func(i int, resp *wire.Response) error) (passed int) {
	p.s.Step("%s reads %d responses", p.Name, n)
	for i := range n {
		resp, err := p.Take("GET")
		if err == nil && check != nil {
			err = check(i, resp)
		}
		if err != nil {
			p.s.Saw("%d, then %s", i, InWords(nil, err))
			return i
		}
	}
	p.s.Saw("%d, in order", n)
	return n
}

// End waits for the end of the connection. It returns an error if more bytes, a reset or nothing comes instead.
func (p *Peer) End() error {
	p.s.Step("%s waits for the end of the connection", p.Name)
	err := p.TakeEnd()
	if err == nil {
		p.s.Saw("the end")
	} else {
		p.s.Saw("%s", InWords(nil, err))
	}
	return err
}

// TakeEnd is like End, but adds no step to the transcript.
func (p *Peer) TakeEnd() error {
	if p.Conn == nil {
		return errNotConnected
	}
	rest, err := p.client.TryEnd()
	if len(rest) > 0 {
		return fmt.Errorf("more bytes: %s", brief(string(rest)))
	}
	return err
}

// CloseWrite shuts down the peer's sending side.
func (p *Peer) CloseWrite() {
	p.s.Step("%s shuts down its sending side", p.Name)
	p.EndSending()
}

// EndSending is like CloseWrite, but adds no step to the transcript.
func (p *Peer) EndSending() {
	if p.Conn != nil {
		_ = p.Conn.CloseWrite()
	}
}

// Close closes the connection.
func (p *Peer) Close() {
	p.s.Step("%s closes", p.Name)
	p.Abandon()
}

// Reset resets the connection.
func (p *Peer) Reset() {
	p.s.Step("%s resets the connection", p.Name)
	if p.Conn != nil {
		_ = p.Conn.SetLinger(0)
		_ = p.Conn.Close()
	}
}

func (p *Peer) stream() Stream {
	port := 0
	if p.Conn != nil {
		port = p.Conn.LocalAddr().(*net.TCPAddr).Port
	}
	return Stream{Name: p.Name, Port: port, Bytes: mask(p.got), Total: p.total}
}

// InWords describes an outcome in words that are the same in every run.
func InWords(resp *wire.Response, err error) string {
	var bad *wire.Malformed
	switch {
	case err == nil:
		out := fmt.Sprintf("%d %s", resp.Status, resp.Reason)
		switch {
		case len(resp.Body) == 0:
		case len(resp.Body) <= 40:
			out += fmt.Sprintf(": %s", brief(string(mask(resp.Body))))
		default:
			out += fmt.Sprintf(", %d bytes", len(resp.Body))
		}
		return out
	case errors.Is(err, ErrSilent):
		return ErrSilent.Error()
	case errors.Is(err, errSpins):
		return errSpins.Error()
	case errors.As(err, &bad):
		return bad.Error()
	case wire.Closed(err):
		return "the end of the connection"
	case errors.Is(err, syscall.ECONNRESET):
		return "a reset"
	}
	return err.Error()
}

// brief quotes s, and cuts it after 40 bytes.
func brief(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q…", s[:40])
	}
	return fmt.Sprintf("%q", s)
}

// changing matches the parts of a response that differ in every run for no reason of interest.
var changing = regexp.MustCompile(`Date: [^\r]*|auth_jwt=[^;\r]*|"(?:iat|exp)": ?\d+|Last-Modified: [^\r]*|ETag: [^\r]*`)

// mask replaces the parts that differ in every run with stars, and keeps the number of bytes.
func mask(b []byte) []byte {
	return changing.ReplaceAllFunc(bytes.Clone(b), func(m []byte) []byte {
		i := bytes.IndexAny(m, ":=") + 1
		return append(m[:i:i], strings.Repeat("*", len(m)-i)...)
	})
}
