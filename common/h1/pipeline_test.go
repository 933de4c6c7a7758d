package h1

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fourways.example/common/sock"
)

// serveCalls serves a non-blocking connection with a budget of n calls.
func serveCalls(t *testing.T, c *Conn, n int) {
	t.Helper()
	c.Ready()
	c.SetBudget(n)
	if err := serve(c); err != nil && err != sock.ErrAgain && err != ErrBudget {
		t.Fatal(err)
	}
}

// TestResponsesShareASend sends requests in one piece. One read and one write must be enough.
func TestResponsesShareASend(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string // after one read and one write
		state    connState
		later    string // sent then
		rest     []string
	}{
		{"complete requests", get("/a") + post("/b", "body") + get("/c"), []string{"200 GET /a", "200 POST /b body", "200 GET /c"}, idle, get("/d"), []string{"200 GET /d"}},
		{"a part of a head", get("/a") + get("/b") + "GET /c HT", []string{"200 GET /a", "200 GET /b"}, readingHead, "TP/1.1\r\nHost: h\r\n\r\n", []string{"200 GET /c"}},
		{"a part of a body", get("/a") + "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo", []string{"200 GET /a"}, readingBody, "dy" + get("/c"), []string{"200 POST /b body", "200 GET /c"}},
		{"an empty line", get("/a") + "\r\n", []string{"200 GET /a"}, idle, get("/b"), []string{"200 GET /b"}},
		{"a close in the middle", get("/a") + get("/close") + get("/c"), []string{"200 GET /a", "200 GET /close"}, draining, "", nil},
		{"a refusal in the middle", get("/a") + "GET /\x01 HTTP/1.1\r\n" + get("/c"), []string{"200 GET /a", "400"}, draining, "", nil},
		{"a panic in the middle", get("/a") + get("/panic") + get("/c"), []string{"200 GET /a", "500", "200 GET /c"}, idle, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, true)
			conn, client := s.pair()
			defer conn.Close()
			client.send(c.in)
			serveCalls(t, conn, 2)
			check := func(want []string) {
				t.Helper()
				got := answers(t, client.here())
				if len(got) != len(want) {
					t.Fatalf("%d responses %q, want %q", len(got), got, want)
				}
				for i := range got {
					if !strings.HasPrefix(got[i].String(), want[i]) {
						t.Errorf("response %d is %q, want %q", i, got[i], want[i])
					}
				}
			}
			check(c.want)
			if conn.state != c.state {
				t.Errorf("state %d, want %d", conn.state, c.state)
			}
			if c.later != "" {
				client.send(c.later)
				serveCalls(t, conn, 10)
				check(c.rest)
			}
			if n := len(s.journal().entries); n != len(c.want)+len(c.rest) {
				t.Errorf("the log has %d entries: %q", n, s.journal().entries)
			}
		})
	}
}

// TestContinueEndsTheSend checks that 100 Continue follows the responses before it.
func TestContinueEndsTheSend(t *testing.T) {
	s := newSetup(t, true)
	conn, client := s.pair()
	defer conn.Close()
	client.send(get("/a") + "POST /b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	serveCalls(t, conn, 10)
	first, interim, _ := strings.Cut(client.here(), "GET /a")
	if !strings.HasPrefix(first, "HTTP/1.1 200 ") || interim != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Errorf("%q, then %q", first, interim)
	}
	client.send("body")
	serveCalls(t, conn, 10)
	wantAnswers(t, answers(t, client.here()), "200 POST /b body")
}

// TestSharedSendIsBounded checks how many responses share a send.
func TestSharedSendIsBounded(t *testing.T) {
	for _, c := range []struct{ body, want int }{
		{1, maxAnswers},
		{6000, 3},     // after two there is still room, and the third is whole
		{onePiece, 0}, // the head of the first, and its body in another send
	} {
		s := newSetup(t, true)
		s.cfg.Handler = func(w *Response, _ *Request) { w.Bytes(make([]byte, c.body)) }
		conn, client := s.pair()
		client.send(strings.Repeat(get("/"), 2*maxAnswers))
		serveCalls(t, conn, 2)
		if got := client.here(); strings.Count(got, "HTTP/1.1 200 OK") != max(c.want, 1) || len(got) > 2*onePiece {
			t.Errorf("bodies of %d bytes: %d responses in the first send, %d bytes; want %d", c.body, strings.Count(got, "HTTP/1.1 200 OK"), len(got), c.want)
		}
		conn.Close()
	}
}

// TestSharedSendIsCut cuts a send after some responses. Each has its own entry in the log, with
// its own bytes.
func TestSharedSendIsCut(t *testing.T) {
	var log entries
	s := newSetup(t, true)
	s.cfg.Log = &log
	s.sendBuffer = 4608
	s.cfg.Handler = func(w *Response, _ *Request) { w.Bytes(make([]byte, 6000)) }
	conn, client := s.pair()
	client.send(get("/0") + get("/1") + get("/2"))
	serveCalls(t, conn, 10)
	taken := len(client.here())
	conn.Close()
	if len(log) != 3 {
		t.Fatalf("%d entries: %v", len(log), log)
	}
	sum := 0
	for i, e := range log {
		if e.target != fmt.Sprint("/", i) || e.status != 200 {
			t.Errorf("entry %d is %+v", i, e)
		}
		sum += e.bytes
	}
	if sum != taken || log[0].cut || !log[2].cut || !slices.IsSortedFunc(log, func(a, b logged) int { return b.bytes - a.bytes }) {
		t.Errorf("the client has %d bytes, the log says %+v", taken, log)
	}
}

// A logged is what a test wants to know of an entry of the log.
type logged struct {
	target string
	status int
	bytes  int
	cut    bool
}

type entries []logged

func (l *entries) Log(e *Entry) {
	*l = append(*l, logged{string(e.Target), e.Status, int(e.Bytes), e.Cut})
}
func (*entries) Panic(any, []byte) {}
