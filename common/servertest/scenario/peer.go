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

// A Peer is one client of a scenario: a connection whose every step goes into the transcript. A
// wait of a Peer has no time-out in the usual sense; it ends with bytes, with the end of the
// connection, or when the kernel says that no bytes will come (see watch).
type Peer struct {
	Name string // A, B, …

	s       *S
	Conn    *net.TCPConn  // nil where the server did not let it in
	client  *wire.Client  // the same connection, read through peerReader
	atLeast time.Duration // how long a wait lasts at least

	got   []byte // the first bytes received
	total int64
}

// keepBytes is how much a transcript keeps of what a client received.
const keepBytes = 256 << 10

// What a wait of a Peer can end with.
var (
	ErrSilent = errors.New("nothing")
	errSpins  = errors.New("nothing, while the server uses up a CPU")
)

var errNotConnected = errors.New("not connected")

// Connect makes a connection. A server that refuses it is seen at the next step: the caller need not look.
func (s *S) Connect(name string) *Peer { return s.ConnectWith(name, process.DialOptions{}) }

// ConnectWith is Connect with something special about it.
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

// Crowd makes n connections that are one line in the transcript.
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

// Join is ConnectWith without a step.
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

// Abandon is Close without a step.
func (p *Peer) Abandon() {
	if p.Conn != nil {
		_ = p.Conn.Close()
	}
}

// AtLeast has the peer wait this long before it believes that nothing will come: for a server
// whose clock is to do something.
func (p *Peer) AtLeast(d time.Duration) *Peer {
	p.atLeast = d
	return p
}

// Client is the peer as it is without a transcript, for what that can do.
func (p *Peer) Client() *wire.Client {
	if p.Conn == nil {
		p.s.Fatalf("%s is not connected", p.Name)
	}
	return p.client
}

// Send writes data at once; what describes it.
func (p *Peer) Send(what, data string) *Peer {
	p.s.Step("%s sends %s", p.Name, what)
	p.Put(data)
	return p
}

// SendLater writes data beside the caller, for more than fits on the way. The channel is closed when all is
// sent, or nothing more can be.
func (p *Peer) SendLater(what, data string) <-chan struct{} {
	p.s.Step("%s sends %s", p.Name, what)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Put(data)
	}()
	return done
}

// Put is Send without a step. A server that has gone is noticed by reading.
func (p *Peer) Put(data string) {
	if p.Conn == nil {
		return
	}
	_ = p.Conn.SetWriteDeadline(time.Now().Add(2 * process.Patience))
	p.client.Put(data)
}

// SendPieces sends data in as many segments as there are cuts, each read by the server before the
// next leaves, so that it is a piece for the server's recv(2) as well. A server that has stopped
// reading is sent the rest anyway.
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

// Drip sends data one byte at a time. It stops where the server has something to say: the rest
// would be of no use.
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

// Silent says that nothing has arrived, not even an end.
func (p *Peer) Silent() bool {
	return p.Conn != nil && p.client.Silent()
}

// AwaitRead waits until the server has read all that was sent, and says whether it has.
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

// peerReader reads for a Peer, keeps what it read, and gives up when nothing will come.
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

// Answer reads one response. resp is nil if none came, or no whole one.
func (p *Peer) Answer() (resp *wire.Response, err error) { return p.AnswerTo("GET") }

// AnswerTo is Answer for a request of another method.
func (p *Peer) AnswerTo(method string) (resp *wire.Response, err error) {
	p.s.Step("%s reads the answer", p.Name)
	resp, err = p.Take(method)
	saw := InWords(resp, err)
	if bad := new(wire.Malformed); err != nil && resp != nil && len(resp.Body) > 0 && !errors.As(err, &bad) {
		saw = fmt.Sprintf("%d %s, %d of %s bytes, then %s", resp.Status, resp.Reason, len(resp.Body), resp.Get("Content-Length"), saw)
	}
	p.s.Saw("%s", saw)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Take reads one response without a step.
func (p *Peer) Take(method string) (*wire.Response, error) {
	if p.Conn == nil {
		return nil, errNotConnected
	}
	return p.client.TryRead(method)
}

// Answers reads responses for as long as they come, n at most, and gives each to check, which may be
// nil. It returns how many there were and passed.
func (p *Peer) Answers(n int, check func(i int, resp *wire.Response) error) (passed int) {
	p.s.Step("%s reads %d answers", p.Name, n)
	for i := range n {
		resp, err := p.Take("GET")
		if err == nil && check != nil {
			err = check(i, resp)
		}
		if err != nil {
			p.s.Saw("%d; then %s", i, InWords(nil, err))
			return i
		}
	}
	p.s.Saw("%d, in order", n)
	return n
}

// End waits for the end of the connection. It is "the end" when it came in order.
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

// TakeEnd is End without a step.
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

// CloseWrite ends the peer's sending side.
func (p *Peer) CloseWrite() {
	p.s.Step("%s says that it will send no more", p.Name)
	p.EndSending()
}

// EndSending is CloseWrite without a step.
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

// Reset leaves without a word: the connection is reset.
func (p *Peer) Reset() {
	p.s.Step("%s resets the connection", p.Name)
	if p.Conn != nil {
		_ = p.Conn.SetLinger(0)
		_ = p.Conn.Close()
	}
}

func (p *Peer) stream() Stream {
	return Stream{Name: p.Name, Bytes: mask(p.got), Total: p.total}
}

// InWords puts an outcome into words that are the same in every run.
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

// brief quotes what may be long.
func brief(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q…", s[:40])
	}
	return fmt.Sprintf("%q", s)
}

// changing is what is different in every run and has nothing to say.
var changing = regexp.MustCompile(`Date: [^\r]*|auth_jwt=[^;\r]*|"(?:iat|exp)": ?\d+|Last-Modified: [^\r]*|ETag: [^\r]*`)

// mask hides what is different in every run, keeping the number of bytes.
func mask(b []byte) []byte {
	return changing.ReplaceAllFunc(bytes.Clone(b), func(m []byte) []byte {
		i := bytes.IndexAny(m, ":=") + 1
		return append(m[:i:i], strings.Repeat("*", len(m)-i)...)
	})
}
