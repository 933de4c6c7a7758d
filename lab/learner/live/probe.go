package live

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"fourways.example/common/servertest/process"
)

const (
	// probeEvery is the time between the beginnings of two probes of a server.
	probeEvery = 500 * time.Millisecond
	// probePatience is how long an observation waits for a new probe: a probe that is answered at once never appears
	// among the connections.
	probePatience = 60 * time.Millisecond
)

// A probe is a client that connects, asks for /healthz and leaves. There is one at a time for each server, so
// that probes without an answer do not pile up.
type probe struct {
	mu    sync.Mutex
	began time.Time      // of the probe under way or the last one
	local netip.AddrPort // of the probe under way
	done  chan struct{}  // closed when the probe under way has ended; nil before the first
	took  time.Duration
	err   error
}

// A probeView is the last probe's result, or how long the one under way has waited.
type probeView struct {
	Waiting bool    `json:"waiting"`
	Millis  float64 `json:"ms"`
	Exact   string  `json:"exact"`
	Text    string  `json:"text"` // "at once", "0.7 s", or why there is no answer
	Failed  bool    `json:"failed"`
	Port    int     `json:"port"` // of the probe while it waits
}

// round starts a probe if it is time for one, and waits a moment for its end.
func (p *probe) round(s *process.Server) {
	p.mu.Lock()
	busy := p.done != nil && !closed(p.done)
	if !busy && time.Since(p.began) >= probeEvery {
		p.began, p.local, p.done = time.Now(), netip.AddrPort{}, make(chan struct{})
		go p.run(s, p.done)
		busy = true
	}
	done, fresh := p.done, time.Since(p.began) < probePatience
	p.mu.Unlock()
	if busy && fresh {
		select {
		case <-done:
		case <-time.After(probePatience):
		}
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// run asks once.
func (p *probe) run(s *process.Server, done chan struct{}) {
	defer close(done)
	start := time.Now()
	conn, err := s.Dial(process.DialOptions{})
	if err == nil {
		p.mu.Lock()
		p.local = conn.LocalAddr().(*net.TCPAddr).AddrPort()
		p.mu.Unlock()
		err = ask(conn)
		_ = conn.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took, p.err = time.Since(start), err
}

// ask asks for /healthz and reads to the end of the connection, so that the server's end is over too.
func ask(conn net.Conn) error {
	if _, err := io.WriteString(conn, get("healthz", true)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

// view returns the result, and the address of a probe that still waits.
func (p *probe) view() (v probeView, local netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		return probeView{Text: "not tried yet"}, local
	}
	if !closed(p.done) {
		wait := time.Since(p.began)
		text := seconds(wait)
		if wait < atOnce && p.took > 0 && p.err == nil {
			text = strings.TrimPrefix(soon(p.took), "after ") // of the last one: it is too early for a word about this one
		}
		return probeView{Waiting: true, Millis: millis(wait), Text: text, Port: int(p.local.Port())}, p.local
	}
	if p.err != nil {
		return probeView{Failed: true, Text: refusal(p.err)}, local
	}
	return probeView{Millis: millis(p.took), Text: strings.TrimPrefix(soon(p.took), "after "), Exact: short(p.took)}, local
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
