package h1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// tier is another tier whose replies a test writes.
type tier struct {
	t *testing.T
	l *net.TCPListener
}

// newTier makes a tier, and a handler that asks it PING for paths that begin with /ask. The
// question of a GET may be asked again, and that of a POST may not.
func newTier(t *testing.T, s *setup) *tier {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.cfg.Tier = netip.MustParseAddrPort(l.Addr().String())
	s.cfg.TierTimeout = 20 * time.Second
	s.cfg.Handler = func(w *Response, r *Request) {
		reply := r.Reply()
		switch {
		case !strings.HasPrefix(string(r.Path), "/ask"):
			echo(w, r)
		case reply == nil:
			w.Ask(Question{Bytes: []byte("PING\r\n"), Replies: 1, Again: r.Method == GET, Keep: string(r.Path)})
		default:
			b := fmt.Appendf(w.Build(), "%v %d", reply.Keep, reply.Outcome)
			for _, v := range reply.Values {
				b = fmt.Appendf(b, " %s", v.Text)
			}
			w.Built(b)
			if strings.HasSuffix(string(r.Path), "reject") {
				reply.Reject()
			}
		}
	}
	return &tier{t, l}
}

// accept returns the next connection to the tier.
func (t *tier) accept() *tierPeer {
	t.t.Helper()
	t.l.SetDeadline(time.Now().Add(20 * time.Second))
	c, err := t.l.Accept()
	if err != nil {
		t.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.t.Cleanup(func() { c.Close() })
	return &tierPeer{t.t, c, bufio.NewReader(c)}
}

type tierPeer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// question reads one question.
func (p *tierPeer) question() {
	p.t.Helper()
	if line, err := p.r.ReadString('\n'); err != nil || line != "PING\r\n" {
		p.t.Fatalf("the tier reads %q, %v", line, err)
	}
}

func (p *tierPeer) say(text string) {
	p.t.Helper()
	if _, err := p.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// reset closes the connection with a reset.
func (p *tierPeer) reset() {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
}

// next reads the next answer of the server.
func (c *client) next(r *bufio.Reader) string {
	c.t.Helper()
	var text strings.Builder
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%q, then %v", text.String(), err)
		}
		text.WriteString(line)
		fmt.Sscanf(line, "Content-Length: %d", &length)
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	for i := range body {
		body[i], _ = r.ReadByte()
	}
	return answers(c.t, text.String()+string(body))[0].String()
}

// asked is one client of a server with a tier.
type asked struct {
	*tier
	c *client
	r *bufio.Reader
	w *Worker
}

func newAsked(t *testing.T, nonblocking bool) *asked {
	s := newSetup(t, nonblocking)
	ti := newTier(t, s)
	c, cl := s.pair()
	done := background(c)
	t.Cleanup(func() { cl.Close(); <-done })
	return &asked{ti, cl, bufio.NewReader(cl), s.worker}
}

func (a *asked) want(want string) {
	a.t.Helper()
	if got := a.c.next(a.r); got != want {
		a.t.Errorf("%q, want %q", got, want)
	}
}

// askNew sends a request. It wants the question on a new connection to the tier, which replies.
func (a *asked) askNew(request, path string) *tierPeer {
	a.t.Helper()
	a.c.send(request)
	p := a.accept()
	p.question()
	p.say("+ok\r\n")
	a.want("200 " + path + " 0 ok")
	return p
}

// TestAskTier checks a question and its reply, and that the connection to the tier is used again.
func TestAskTier(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		a := newAsked(t, nonblocking)
		a.c.send(get("/ask1"))
		p := a.accept()
		p.question()
		for _, b := range strings.Split("$2\r\nab\r\n", "") {
			p.say(b)
		}
		a.want("200 /ask1 0 ab")
		a.c.send(post("/ask2", "x"))
		p.question()
		p.say("-LOADING data\r\n")
		a.want("200 /ask2 1 LOADING data")
		a.c.send(get("/ask3"))
		p.question()
		p.say("+ok\r\n")
		a.want("200 /ask3 0 ok")
	})
}

// TestAskPipelined checks that questions of pipelined requests are asked in turn, and that the
// responses before them do not wait for the tier.
func TestAskPipelined(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		a := newAsked(t, nonblocking)
		a.c.send(get("/1") + get("/2") + get("/ask1") + get("/3") + post("/ask2", "body") + get("/ask3") + get("/4"))
		a.want("200 GET /1")
		a.want("200 GET /2")
		p := a.accept()
		for i := 1; i <= 3; i++ {
			p.question()
			p.say(fmt.Sprintf("$1\r\n%d\r\n", i))
			a.want(fmt.Sprintf("200 /ask%d 0 %d", i, i))
			if i == 1 {
				a.want("200 GET /3")
			}
		}
		a.want("200 GET /4")
	})
}

// TestTierFailures checks the outcome of each failure of the tier, that it closes no client, and that
// the next question uses another connection.
func TestTierFailures(t *testing.T) {
	for _, c := range []struct {
		name, path, say string
		outcome         Outcome
		reset           bool
	}{
		{"no RESP", "/ask", "HTTP/1.1 400\r\n", Garbled, false},
		{"two replies", "/ask", "+a\r\n+b\r\n", Garbled, false},
		{"rejected", "/ask-reject", "+a\r\n", Replied, false},
		{"closed before the reply", "/ask", "", Lost, false},
		{"closed in the reply", "/ask", "$5\r\nab", Lost, false},
		{"reset", "/ask", "$5\r\nab", Lost, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, nonblocking bool) {
				a := newAsked(t, nonblocking)
				a.c.send(get(c.path))
				p := a.accept()
				p.question()
				if c.say != "" {
					p.say(c.say)
				}
				switch {
				case c.reset:
					p.reset()
				case c.outcome == Lost:
					p.Close()
				}
				for range maxRepeats { // a question without a byte of its reply is asked again
					if c.outcome == Lost && c.say == "" {
						p = a.accept()
						p.question()
						p.Close()
					}
				}
				want := fmt.Sprintf("200 %s %d", c.path, c.outcome)
				if c.outcome == Replied {
					want += " a"
				}
				a.want(want)
				a.askNew(get("/ask2"), "/ask2")
			})
		})
	}
}

// TestTierRefuses checks a tier that does not listen.
func TestTierRefuses(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		a := newAsked(t, nonblocking)
		a.l.Close()
		a.c.send(get("/ask1") + post("/ask2", "x") + get("/3"))
		a.want(fmt.Sprintf("200 /ask1 %d", Refused))
		a.want(fmt.Sprintf("200 /ask2 %d", Refused))
		a.want("200 GET /3")
	})
}

// TestTierTimeOut checks a tier that is silent, and one that stops in the middle of a reply.
func TestTierTimeOut(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		for _, say := range []string{"", "$5\r\nab"} {
			s := newSetup(t, nonblocking)
			ti := newTier(t, s)
			s.cfg.TierTimeout = 50 * time.Millisecond
			c, cl := s.pair()
			done := background(c)
			a := &asked{ti, cl, bufio.NewReader(cl), s.worker}
			a.c.send(get("/ask"))
			p := a.accept()
			p.question()
			if say != "" {
				p.say(say)
			}
			a.want(fmt.Sprintf("200 /ask %d", TimedOut))
			cl.Close()
			<-done
			// An event loop may still watch the descriptor.
			if dead := len(s.worker.deadTier); nonblocking != (dead == 1) {
				t.Errorf("%d connections to the tier wait for Next", dead)
			}
			s.worker.Next()
			if _, err := p.r.ReadString('\x00'); err == nil {
				t.Error("the connection to the tier stays open")
			}
			if s.worker.askers != 0 || len(s.worker.freeTier) != 0 {
				t.Errorf("%d askers, %d free connections", s.worker.askers, len(s.worker.freeTier))
			}
		}
	})
}

// TestStaleTier checks questions on a connection that the tier has closed while it was free, or has
// said something on that nobody asked for.
func TestStaleTier(t *testing.T) {
	for name, spoil := range map[string]func(p *tierPeer){
		"closed": func(p *tierPeer) { p.Close() },
		"reset":  func(p *tierPeer) { p.reset() },
		"bytes":  func(p *tierPeer) { p.say("+late\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, nonblocking bool) {
				a := newAsked(t, nonblocking)
				spoil(a.askNew(get("/ask1"), "/ask1"))
				a.askNew(post("/ask2", "x"), "/ask2")
			})
		})
	}
}

// TestAskAgain checks a connection that the tier closes when it has read the question, as if it had been
// closed while the question was on its way. A GET is asked again, maxRepeats times. A POST is not.
func TestAskAgain(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		a := newAsked(t, nonblocking)
		p := a.askNew(get("/ask1"), "/ask1")
		a.c.send(post("/ask2", "x"))
		p.question()
		p.Close()
		a.want(fmt.Sprintf("200 /ask2 %d", Lost))

		p = a.askNew(get("/ask1"), "/ask1")
		a.c.send(get("/ask3"))
		p.question()
		p.Close()
		p = a.accept()
		p.question()
		p.say("+ok\r\n")
		a.want("200 /ask3 0 ok")

		a.c.send(get("/ask4"))
		p.question()
		p.Close()
		for range maxRepeats {
			p = a.accept()
			p.question()
			p.Close()
		}
		a.want(fmt.Sprintf("200 /ask4 %d", Lost))
	})
}

// TestAskWithBudget asks with a budget of one call. When the budget is used up, an event loop watches FD, so there must be
// a connection to the tier already.
func TestAskWithBudget(t *testing.T) {
	s := newSetup(t, true)
	ti := newTier(t, s)
	c, cl := s.pair()
	defer c.Close()
	cl.send(get("/ask"))
	c.SetBudget(1)
	err := serve(c)
	if fd := c.FD(); err != ErrBudget && err != sock.ErrAgain || !c.asks() || fd < 0 || fd == c.sock.FD() {
		t.Fatalf("after one call: %v, state %d, FD %d; want ErrBudget or ErrAgain, and the descriptor of a connection to the tier", err, c.state, fd)
	}
	done := background(c)
	p := ti.accept()
	p.question()
	p.say("+ok\r\n")
	if got, want := cl.next(bufio.NewReader(cl)), "200 /ask 0 ok"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	cl.Close()
	<-done
}

// TestTierFailed checks what becomes of a question after an error of its connection.
func TestTierFailed(t *testing.T) {
	again := []connState{asking, asking} // of a question that may be asked twice, and of another
	over := []connState{responding, responding}
	for _, c := range []struct {
		name    string
		err     error
		reused  bool
		sent    int
		heard   bool
		repeats int
		want    []connState
		outcome Outcome
	}{
		{"end of the stream, nothing sent", io.EOF, false, 0, false, 0, again, 0},
		{"end of the stream", io.EOF, false, 3, false, 0, []connState{asking, responding}, Lost},
		{"EPIPE", unix.EPIPE, false, 3, false, 0, []connState{asking, responding}, Lost},
		{"ECONNRESET", os.NewSyscallError("recv", unix.ECONNRESET), false, 3, false, 0, []connState{asking, responding}, Lost},
		{"refused", os.NewSyscallError("getsockopt", unix.ECONNREFUSED), false, 0, false, 0, over, Refused},
		{"another error, fresh connection", unix.ETIMEDOUT, false, 3, false, 0, over, Lost},
		{"another error, used connection", unix.ETIMEDOUT, true, 3, false, 0, []connState{asking, responding}, Lost},
		{"another error, used connection, nothing sent", unix.ETIMEDOUT, true, 0, false, 0, again, 0},
		{"a part of the reply is here", io.EOF, true, 6, true, 0, over, Lost},
		{"the last repeat", io.EOF, true, 6, false, maxRepeats - 1, []connState{asking, responding}, Lost},
		{"no repeat left", io.EOF, true, 6, false, maxRepeats, over, Lost},
		{"no repeat left, nothing sent", io.EOF, true, 0, false, maxRepeats, over, Refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, want := range c.want {
				s := newSetup(t, true)
				newTier(t, s)
				conn, cl := s.pair()
				method := []string{get("/ask"), post("/ask", "x")}[i]
				cl.send(method)
				conn.SetBudget(1)
				if err := serve(conn); err != ErrBudget && err != sock.ErrAgain || !conn.asks() {
					t.Fatalf("%v, state %d", err, conn.state)
				}
				q := conn.ex.question
				q.tier.reused, q.sent, q.heard, q.repeats = c.reused, c.sent, c.heard, c.repeats
				err := conn.failed(c.err)
				if err != nil || conn.state != want {
					t.Errorf("%.4s: %v, state %d; want state %d", method, err, conn.state, want)
				}
				if want == responding && q.reply.Outcome != c.outcome {
					t.Errorf("%.4s: outcome %d, want %d", method, q.reply.Outcome, c.outcome)
				}
				if want == asking && (q.tier != nil || q.sent != 0 || q.repeats != c.repeats+1) {
					t.Errorf("%.4s: it keeps its connection: %v; %d bytes sent, %d repeats", method, q.tier != nil, q.sent, q.repeats)
				}
				conn.Close()
			}
		})
	}
}

// TestTierQueue checks the bounds: TierConns questions at a time, maxWaiting in the queue in order, and
// no more.
func TestTierQueue(t *testing.T) {
	s := newSetup(t, true)
	ti := newTier(t, s)
	var conns []*Conn
	var clients []*client
	open := func() *Conn {
		c, cl := s.pair()
		clients = append(clients, cl)
		conns = append(conns, c)
		cl.send(get("/ask"))
		if err := serve(c); err != sock.ErrAgain {
			t.Fatal(err)
		}
		return c
	}
	const more = 20
	for range TierConns + more {
		open()
	}
	var peers []*tierPeer
	for range TierConns {
		peers = append(peers, ti.accept())
	}
	if s.worker.waiting.Len() != more || s.worker.Next() != -1 {
		t.Fatalf("%d questions wait", s.worker.waiting.Len())
	}
	for _, c := range conns {
		fd := c.sock.FD()
		if c.state == waiting && (c.FD() != -1 || c.Want() != Read) || c.state != waiting && (c.FD() == fd || c.FD() < 0) {
			t.Errorf("state %d: FD %d, the client's is %d", c.state, c.FD(), fd)
		}
		if class, _ := c.Deadline(); class != ClassTier {
			t.Errorf("class %d", class)
		}
	}
	run := func(c *Conn) {
		for c.asks() {
			events := int16(unix.POLLIN)
			if c.Want() == Write {
				events = unix.POLLOUT
			}
			if n, err := sock.Poll([]unix.PollFd{{Fd: int32(c.FD()), Events: events}}, 10*time.Second); n != 1 {
				t.Fatal(n, err)
			}
			c.Ready()
			if err := serve(c); err != sock.ErrAgain {
				t.Fatal(err)
			}
			if c.state == hearing {
				return
			}
		}
	}
	for _, c := range conns[:TierConns] {
		run(c)
	}
	for i, cl := range clients[:TierConns] {
		c := conns[i]
		peers[i].question()
		peers[i].say("+ok\r\n")
		run(c)
		if got := cl.here(); !strings.HasSuffix(got, "/ask 0 ok") {
			t.Errorf("client %d: %q", i, got)
		}
		fd := s.worker.Next()
		next := conns[TierConns+i]
		if fd != next.sock.FD() {
			t.Errorf("the next client is %d, want %d", fd, next.sock.FD())
		}
		if err := serve(next); err != sock.ErrAgain || next.state != hearing {
			t.Errorf("%v, state %d", err, next.state)
		}
	}
	// The queue is full.
	for s.worker.waiting.Len() < maxWaiting {
		s.worker.waiting.PushBack(&question{})
	}
	c := open()
	if got := clients[len(clients)-1].here(); c.asks() || !strings.HasSuffix(got, fmt.Sprintf("/ask %d", Busy)) {
		t.Errorf("state %d, %q", c.state, got)
	}
	for s.worker.waiting.Len() > more-TierConns {
		s.worker.waiting.Remove(s.worker.waiting.Back())
	}
	for _, c := range conns {
		c.Close()
	}
	if s.worker.waiting.Len() != 0 || s.worker.askers != 0 || len(s.worker.freeTier) != 0 {
		t.Errorf("%d wait, %d askers, %d free", s.worker.waiting.Len(), s.worker.askers, len(s.worker.freeTier))
	}
	s.worker.Next()
	for _, p := range peers {
		p.question() // of the second client
		if _, err := p.r.ReadByte(); err == nil {
			t.Error("a connection to the tier stays open")
		}
	}
}

// TestReplyMemory checks that a response made from a reply counts for maxMemory, until it is sent.
func TestReplyMemory(t *testing.T) {
	for _, full := range []bool{false, true} {
		s := newSetup(t, true)
		ti := newTier(t, s)
		s.cfg.Handler = func(w *Response, r *Request) {
			if reply := r.Reply(); reply == nil {
				w.Ask(Question{Bytes: []byte("PING\r\n"), Replies: 1})
			} else {
				w.Built(append(w.Build(), reply.Values[0].Text...))
			}
		}
		const size = 500_000
		used := int64(1000)
		if full {
			used = maxMemory - 100_000
		}
		s.cfg.memory.Store(used)
		c, cl := s.pair()
		done := background(c)
		r := bufio.NewReader(cl)
		for range 2 {
			cl.send(get("/ask"))
			p := ti.accept()
			p.question()
			p.say(fmt.Sprintf("$%d\r\n%s\r\n", size, strings.Repeat("x", size)))
			switch got := cl.next(r); {
			case full && !strings.HasPrefix(got, "503 "), !full && len(got) != size+len("200 "):
				t.Errorf("full: %v: %.100q", full, got)
			}
			p.say("+late\r\n") // so that the next question uses a new connection
		}
		cl.Close()
		<-done
		if got := s.cfg.memory.Load(); got != used {
			t.Errorf("full: %v: %d bytes remain counted", full, got-used)
		}
	}
}
