package h1

import (
	"io"
	"time"
)

// Class is a class of deadlines. All deadlines of one class are equally far away when they
// are set. If a server keeps a list for each class, each list is therefore in order.
type Class uint8

const (
	ClassIdle      Class  = iota // no request has begun
	ClassHead                    // a request head is arriving
	ClassBody                    // a body is arriving
	ClassWrite                   // a response is being sent: the next probe
	ClassProbeSoon               // a response is sent but not acknowledged: the next probe
	ClassProbe                   // the same, after the first probes
	ClassTier                    // the other tier is asked
	ClassDrain                   // the last response is sent, and the client still sends
	ClassNone                    // the connection is closed and has no deadline
	Classes        = iota        // how many classes there are
)

const (
	// drainTime is how long the server reads and drops bytes after the last response.
	drainTime = 2 * time.Second
	// A client acknowledges a response within a round trip, unless it reads slowly. So the
	// first 10 probes follow each other quickly. Later probes are rare, because probing
	// 10,000 clients that read nothing must cost next to nothing.
	probeSoon  = 10 * time.Millisecond
	probesSoon = 10
	probeLater = 250 * time.Millisecond
)

// classes is the class of deadline of each state. In settling, lingering and unheard, the
// first probes have ClassProbeSoon instead.
var classes = [...]Class{
	idle: ClassIdle, readingHead: ClassHead, readingBody: ClassBody, continuing: ClassBody,
	waiting: ClassTier, asking: ClassTier, hearing: ClassTier,
	responding: ClassWrite, draining: ClassDrain,
	settling: ClassProbe, lingering: ClassProbe, unheard: ClassProbe, closed: ClassNone,
}

// Deadline returns when to call Expire, and the class of this deadline. It is the end of
// the time-out, or the time of the next probe in the states that are probed.
func (c *Conn) Deadline() (Class, time.Time) {
	class, at := c.deadline()
	return class, start.Add(time.Duration(at))
}

// deadline returns the same as Deadline, but the time as a value of now().
func (c *Conn) deadline() (Class, int64) {
	cfg := c.worker.cfg
	switch class := classes[c.state]; class {
	case ClassWrite:
		return class, c.probedAt + int64(cfg.probeTime())
	case ClassProbe:
		if c.probes < probesSoon {
			return ClassProbeSoon, c.probedAt + int64(min(probeSoon, cfg.probeTime()))
		}
		return class, c.probedAt + int64(min(probeLater, cfg.probeTime()))
	default:
		return class, c.since + int64(c.timeout())
	}
}

// timeout returns the length of the time-out that is running.
func (c *Conn) timeout() time.Duration {
	cfg := c.worker.cfg
	switch c.state {
	case idle:
		return cfg.IdleTimeout
	case readingHead:
		return cfg.HeaderTimeout
	case readingBody, continuing:
		return cfg.BodyTimeout
	case waiting, asking, hearing:
		return cfg.TierTimeout
	case draining:
		return drainTime
	}
	return cfg.WriteTimeout
}

// left returns the time until the Deadline.
func (c *Conn) left() time.Duration {
	_, at := c.deadline()
	return time.Duration(at - now())
}

// enter changes the state. It starts a new time-out only if the class changes, so more
// bytes of a head or a body do not extend its time.
func (c *Conn) enter(to connState) {
	at := c.since
	if classes[c.state] != classes[to] {
		at = now()
	}
	c.enterAt(to, at)
}

// enterAt is enter for a caller that has just read the clock.
func (c *Conn) enterAt(to connState, at int64) {
	if classes[c.state] != classes[to] {
		c.since, c.probedAt, c.probes = at, at, 0
	}
	c.state = to
}

// Expire does what is due at the Deadline. Then Want returns what the connection wants.
func (c *Conn) Expire() {
	switch c.state {
	case idle:
		// The server may be late: it must answer a request that has arrived by now.
		if n, err := c.sock.Unread(); err == nil && n > 0 {
			c.sock.Ready()
			return
		}
		c.leave(0)
	case readingHead, readingBody:
		c.catchUp()
	case continuing:
		c.refuse(errTooSlow)
	case draining:
		c.closeWhenAcked()
	case responding, settling, lingering, unheard:
		c.expectProgress()
	case waiting, asking, hearing:
		c.expireQuestion()
	}
}

// catchUp handles the time-out of a head or a body. The server may be late, so catchUp
// first reads the bytes that have arrived by now. It does not read bytes that arrive later:
// otherwise a client that keeps sending would never time out. If the head or the body is
// still incomplete, the request is refused.
func (c *Conn) catchUp() {
	class := classes[c.state]
	c.sock.Ready()
	n, err := c.sock.Unread()
	for err == nil && n > 0 && classes[c.state] == class {
		var got int
		got, err = c.receive(&io.LimitedReader{R: &c.sock, N: int64(n)})
		n -= got
	}
	if classes[c.state] == class {
		c.refuse(errTooSlow)
	}
}

// expectProgress asks the kernel whether the client has acknowledged more bytes, and aborts
// if there was no progress for the whole write time-out. It does not rely on events: the
// kernel reports the socket writable only when a third of its queue is free, so a slow
// client could look like one that does not read at all.
func (c *Conn) expectProgress() {
	c.probedAt = now()
	c.probes = min(c.probes+1, probesSoon)
	if c.progressed() {
		c.since = c.probedAt
	}
	switch {
	case c.state != responding && c.acked == c.sent:
		c.acknowledged()
	case c.probedAt-c.since >= int64(c.timeout()):
		c.abort()
	case c.state == unheard && c.sock.Err() != nil:
		c.enter(closed) // a reset, which no event reports in this state
	}
}

// acknowledged changes the state when the client has acknowledged everything.
func (c *Conn) acknowledged() {
	c.bulky = false
	switch c.state {
	case settling:
		c.enter(idle)
		return
	case lingering:
		// After a close, the kernel answers unread or later bytes with a reset. The client
		// might see the reset before it has read the response.
		if n, _ := c.sock.Unread(); n > 0 || c.drained > 0 {
			c.sock.Ready()
			c.enter(draining)
			return
		}
	}
	c.enter(closed)
}

// progressed asks the kernel how many bytes are unacknowledged, and updates acked. It
// reports whether the client has acknowledged more than at the last probe.
func (c *Conn) progressed() bool {
	unacked, err := c.sock.Unacked()
	if err != nil {
		return false
	}
	before := c.acked
	c.acked = c.sent - int64(unacked)
	return c.acked > before
}

// abort closes the connection to a client that does not read, with a reset.
func (c *Conn) abort() {
	if c.state == responding {
		c.log(true)
	}
	_ = c.sock.Abort() // if this fails, the kernel only keeps the bytes longer
	c.enter(closed)
}

var start = time.Now()

// now returns the nanoseconds since the program began, by the monotonic clock. It needs 8
// bytes in a connection, where a time.Time would need 24.
func now() int64 { return int64(time.Since(start)) }
