package live

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// TestOutcome checks the words for what a client sees.
func TestOutcome(t *testing.T) {
	now := time.Now()
	connected := &net.TCPConn{}
	for _, row := range []struct {
		kind string
		end  *end
		text string
		mood mood
		done bool
	}{
		{"quick", &end{}, "connects", waiting, false},
		{"ipv6", &end{refused: refusal(unix.ECONNREFUSED)}, "refused", bad, true},
		{"ipv6", &end{refused: refusal(unix.EADDRNOTAVAIL)}, "this machine has no IPv6", bad, true},
		{"quick", &end{conn: connected, wants: 1, from: now.Add(-3249 * time.Millisecond)}, "no answer for 3.2\u00a0s", waiting, false},
		{"quick", &end{conn: connected, answers: 1, status: 200, took: 1234 * time.Microsecond}, "answered at once", good, false},
		{"quick", &end{conn: connected, answers: 1, status: 503, took: time.Millisecond, over: "closed"}, "status 503 at once", good, true},
		{"quick", &end{conn: connected, wants: 1, over: "reset by the server"}, "reset by the server", bad, true},
		{"pipeline", &end{conn: connected, answers: 5, status: 200, took: 12 * time.Millisecond, over: "closed"}, "5 answers at once", good, true},
		{"idle", &end{conn: connected}, "silent", quiet, false},
		{"idle", &end{conn: connected, over: "closed by the server"}, "closed by the server", quiet, true},
		{"half", &end{conn: connected}, "has sent half a request", quiet, false},
		{"quick", &end{conn: connected, answers: 1, status: 200, took: 1290 * time.Millisecond}, "answered after 1.2\u00a0s", good, false},
		{"half", &end{conn: connected, answers: 1, status: 200, took: time.Millisecond, over: "closed"}, "answered 1.0 ms after the other half", good, true},
		{"idle", &end{conn: connected, answers: 1, status: 200, took: time.Millisecond}, "answered; stays connected", good, false},
		{"unread", &end{conn: connected, answers: 1, status: 200, bytes: largeSize, rested: 6543 * time.Millisecond}, "read all 64 MiB; had paused for 6.5\u00a0s", good, false},
		{"unread", &end{conn: connected, wants: 1}, "reads nothing", quiet, false},
		{"unread", &end{conn: connected, wants: 1, reading: true, bytes: 5 << 20}, "has read 5 MiB", waiting, false},
	} {
		row.end.kind = kindOf(row.kind)
		text, m, done := row.end.outcome(now)
		if text != row.text || m != row.mood || done != row.done {
			t.Errorf("%s: %q, %s, %v; want %q, %s, %v", row.kind, text, m, done, row.text, row.mood, row.done)
		}
	}
}

// TestCrowdCell sums up connections of one client that fare differently.
func TestCrowdCell(t *testing.T) {
	k := kindOf("crowd")
	c := &client{kind: k}
	for range 3 {
		c.ends = append(c.ends, &end{kind: k, stage: 2, conn: &net.TCPConn{}})
	}
	c.ends = append(c.ends, &end{kind: k, stage: 2, refused: "refused"})
	got, done := c.cell(2, time.Now())
	if want := (cell{Text: "3 silent, 1 refused", Mood: bad}); got != want || done {
		t.Errorf("%+v, %v; want %+v", got, done, want)
	}
	if got, _ := c.cell(1, time.Now()); got.Text != "not connected" {
		t.Errorf("stage 1: %+v", got)
	}
}

// TestHalves checks that half a request is no request, and that both halves are one.
func TestHalves(t *testing.T) {
	k := kindOf("half")
	if k.first+k.then != get(smallFile, true) || requests(k.first) != 0 || requests(k.then) != 1 {
		t.Errorf("the halves are %q and %q", k.first, k.then)
	}
	if p := kindOf("pipeline"); requests(p.first) != pipelined {
		t.Errorf("the client that pipelines sends %d requests", requests(p.first))
	}
}

// TestLetters checks that the names of clients differ.
func TestLetters(t *testing.T) {
	seen := map[string]bool{}
	for n := range 100 {
		seen[letters(n)] = true
	}
	if len(seen) != 100 || !seen["A"] || !seen["Z"] || !seen["B2"] {
		t.Errorf("%d names: %v", len(seen), seen)
	}
}

// TestProbeAlone checks that a probe without an answer stays the only one, and that the next one follows its end.
func TestProbeAlone(t *testing.T) {
	l, port, err := process.ListenFree()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &process.Server{Port: port}
	p := &probe{}
	for range 3 {
		p.round(s)
		p.mu.Lock()
		p.began = p.began.Add(-probeEvery) // as if the time had passed
		p.mu.Unlock()
	}
	if v, local := p.view(); !v.Waiting || v.Millis < millis(2*probeEvery) || !local.IsValid() {
		t.Errorf("%+v from %v", v, local)
	}
	if q, _ := kernel.Listener(port); q.Unread != 1 {
		t.Errorf("%d probes wait, want 1", q.Unread)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if !kernel.Eventually(process.Patience, func() bool { v, _ := p.view(); return !v.Waiting }) {
		t.Fatal("the probe does not end")
	}
	// The close of a connection with unread bytes may reset it; the probe then says so.
	p.round(s)
	if v, _ := p.view(); !v.Waiting {
		t.Errorf("no new probe follows: %+v", v)
	}
}
