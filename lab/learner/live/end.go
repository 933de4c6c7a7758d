package live

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/process"
)

// smallBuffer is the receive buffer of a client that does not read, in bytes, so that the server's buffers fill up.
const smallBuffer = 16 << 10

// An end is a client's end of one connection.
type end struct {
	kind  *kind
	stage int

	mu      sync.Mutex
	conn    *net.TCPConn // nil before the connection is made, and after a refusal
	local   netip.AddrPort
	from    time.Time     // since when the client waits for its next answer
	wants   int           // answers that have not come yet
	answers int           // answers that have come
	status  int           // of the last answer
	rested  time.Duration // how long the client has read nothing after its request
	took    time.Duration // how long the last answer took
	bytes   int64         // bytes that the client has read
	reading bool
	refused string // why there is no connection
	over    string // how the connection ended

	heard     chan struct{} // closed by the first answer, or when there will be none
	heardOnce sync.Once
}

// listenTime is how long a client that asks all stages waits for one of them before it asks the next. Answers that came at
// the same time would measure how the servers share the CPUs.
const listenTime = 20 * time.Millisecond

// listen waits a moment for the answer, if there is a request.
func (e *end) listen() {
	e.mu.Lock()
	asked := e.wants > 0 && e.reading
	e.mu.Unlock()
	if !asked {
		return
	}
	select {
	case <-e.heard:
	case <-time.After(listenTime):
	}
}

func (e *end) hears() { e.heardOnce.Do(func() { close(e.heard) }) }

// connect makes the connection and sends the first bytes. The reader starts if the kind reads.
func (e *end) connect(s *process.Server) {
	o := process.DialOptions{IPv6: e.kind.ipv6}
	if e.kind.small {
		o.RecvBuf = smallBuffer
	}
	start := time.Now()
	conn, err := s.Dial(o)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err != nil:
		e.refused = refusal(err)
		return
	case e.over != "": // it has hung up meanwhile
		_ = conn.Close()
		return
	}
	e.conn = conn
	e.local = conn.LocalAddr().(*net.TCPAddr).AddrPort()
	e.send(e.kind.first, start)
	if e.kind.reads {
		e.read()
	}
}

// refusal says in words why a client cannot connect.
func refusal(err error) string {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EAFNOSUPPORT):
		return "this machine has no IPv6"
	}
	return err.Error()
}

// send sends bytes; the clock of an answer began at from. The caller holds the lock.
func (e *end) send(text string, from time.Time) {
	if text == "" {
		return
	}
	if _, err := io.WriteString(e.conn, text); err != nil {
		return // the reader reports it
	}
	if n := requests(text); n > 0 {
		if e.wants == 0 {
			e.from = from
		}
		e.wants += n
	}
}

// step sends the client on: it sends what is left, or begins to read.
func (e *end) step() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil || e.over != "" {
		return
	}
	e.send(e.kind.then, time.Now())
	if !e.reading {
		e.rested = time.Since(e.from)
		e.read()
	}
}

// hangUp closes the connection.
func (e *end) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over != "" || e.refused != "" {
		return
	}
	e.over = "has hung up"
	if e.conn != nil {
		_ = e.conn.Close()
	}
}

// read starts to read answers. The caller holds the lock.
func (e *end) read() {
	e.reading = true
	conn := e.conn
	go func() {
		err := e.readAll(conn)
		e.mu.Lock()
		defer e.mu.Unlock()
		_ = conn.Close()
		e.hears()
		if e.over != "" {
			return
		}
		switch {
		case errors.Is(err, unix.ECONNRESET):
			e.over = "reset by the server"
		case e.wants > 0:
			e.over = "closed by the server without an answer"
		default:
			e.over = "closed by the server"
		}
	}()
}

// readAll reads answers until the connection ends.
func (e *end) readAll(conn net.Conn) error {
	r := bufio.NewReader(io.TeeReader(conn, counter{e}))
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		e.answered(resp.StatusCode)
	}
}

func (e *end) answered(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status, e.took = status, time.Since(e.from)
	e.answers++
	if e.wants = max(0, e.wants-1); e.wants == 0 {
		e.hears()
	}
}

// counter counts the bytes that an end has read.
type counter struct{ e *end }

func (c counter) Write(p []byte) (int, error) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.e.bytes += int64(len(p))
	return len(p), nil
}

// connecting is the outcome of a connection that is not made yet.
const connecting = "connects"

// mood is how an outcome looks, in addition to its words.
type mood string

const (
	good    mood = "good"    // answered
	waiting mood = "waiting" // wants an answer and has none
	bad     mood = "bad"     // refused, reset, or closed without an answer
	quiet   mood = "quiet"   // wants nothing
)

// outcome says in words what the client sees. done reports that nothing more will happen.
func (e *end) outcome(now time.Time) (text string, m mood, done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	answer := e.answer()
	switch {
	case e.refused != "":
		return e.refused, bad, true
	case e.over != "" && e.wants > 0:
		return e.over, bad, true
	case e.over != "" && answer != "":
		return answer, good, true
	case e.over != "":
		return e.over, quiet, true
	case e.conn == nil:
		return connecting, waiting, false
	case e.wants > 0 && e.kind.unread != "" && !e.reading:
		return e.kind.unread, quiet, false
	case e.wants > 0 && e.kind.unread != "":
		return fmt.Sprintf("has read %d MiB", e.bytes>>20), waiting, false
	case e.wants > 0:
		return "no answer for " + seconds(now.Sub(e.from)), waiting, false
	case answer != "":
		return answer, good, false
	}
	return e.kind.silent, quiet, false
}

// answer says in words which answer the client has had, or "". The caller holds the lock.
func (e *end) answer() string {
	switch {
	case e.answers == 0:
		return ""
	case e.status != http.StatusOK:
		return fmt.Sprintf("status %d %s", e.status, soon(e.took))
	case e.kind.unread != "":
		return fmt.Sprintf("read all %d MiB; had paused for %s", e.bytes>>20, seconds(e.rested))
	case e.kind.again && e.over == "":
		return "answered; stays connected"
	case e.kind.id == "half":
		return fmt.Sprintf("answered %s after the other half", short(e.took))
	case e.answers > 1 && !e.kind.again:
		return fmt.Sprintf("%d answers %s", e.answers, soon(e.took))
	}
	return "answered " + soon(e.took)
}

// exact returns how long the last answer took, for the reader who wants to know what "at once" means.
func (e *end) exact() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answers == 0 {
		return ""
	}
	return short(e.took)
}

// atOnce is below which time a person does not notice a wait.
const atOnce = 100 * time.Millisecond

// soon says how long an answer took. Milliseconds that change with each observation would draw the eye to nothing.
func soon(d time.Duration) string {
	if d < atOnce {
		return "at once"
	}
	return "after " + seconds(d)
}

// seconds formats a wait for people: 0.7 s.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%.1f\u00a0s", d.Truncate(100*time.Millisecond).Seconds())
}

// short formats a time for people: 0.4 ms, 12 ms, 3.2 s.
func short(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
}
